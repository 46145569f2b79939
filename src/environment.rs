//! The environment as a value, so that nothing below `main` reads the process's.
//!
//! Pure.

use std::ffi::{OsStr, OsString};

use crate::system;

/// The environment as a value. An empty variable is as good as unset.
#[derive(Clone, Debug)]
pub(crate) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    pub(crate) fn new(variables: Vec<(OsString, OsString)>) -> Self {
        Self(variables)
    }

    /// A variable's value; the first one's, where a name stands there twice, as `getenv` has it.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let is_it =
            |(known, _): &&(OsString, OsString)| system::is_same_variable(known, OsStr::new(name));
        let (_, value) = self.0.iter().find(is_it)?;
        (!value.is_empty()).then_some(value)
    }

    /// All of it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// A variable's text; one that is not UTF-8 counts as unset, as curl and the runtimes of
    /// other tools treat it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }
}

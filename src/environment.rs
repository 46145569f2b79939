//! The environment as a value, so that nothing below `main` reads the process's.
//!
//! Pure.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

/// The environment as a value. An empty variable is as good as unset.
#[derive(Clone, Debug)]
pub(crate) struct Environment(HashMap<OsString, OsString>);

impl Environment {
    pub(crate) fn new(variables: Vec<(OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value)
    }

    /// All of it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }

    /// A variable's text; one that is not UTF-8 counts as unset, as curl and the runtimes of
    /// other tools treat it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }
}

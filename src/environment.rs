//! The environment as a value, so that nothing below `main` reads the process's.
//!
//! Pure.

use std::ffi::{OsStr, OsString};

use crate::system;

/// The environment as a value. An empty variable is as good as unset.
#[derive(Clone)]
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

    /// All of it, for a command, whose last value of a name wins: so the first one comes last.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter().rev().map(|(name, value)| (name, value))
    }

    /// A variable's text; one that is not UTF-8 counts as unset, as curl and the runtimes of
    /// other tools treat it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_values_of_a_name_the_first_one_counts_here_and_for_a_command() {
        let variables = [("A", "first"), ("A", "second")];
        let own = variables.map(|(name, value)| (name.into(), value.into()));
        let env = Environment::new(own.into());
        assert_eq!(env.text("A"), Some("first"));
        let mut command = std::process::Command::new("x");
        command.envs(env.all());
        let given: Vec<_> = command.get_envs().collect();
        assert_eq!(given, [(OsStr::new("A"), Some(OsStr::new("first")))]);
    }
}

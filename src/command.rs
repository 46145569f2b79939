//! Programs: `-- COMMAND`, and those that identity providers have.
//!
//! Looks into the file system, and runs nothing.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process;

use crate::environment::Environment;
use crate::error::Error;
use crate::system::{self, NoProgram};
use crate::words::shown;

/// A program that was found, with its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    path: PathBuf,
    name: OsString,
    args: Vec<OsString>,
}

impl Command {
    /// Looks a program up as `env` does: a name with a separator is a path, any other is looked
    /// for in `PATH`.
    ///
    /// # Errors
    /// `usage`, with exit status 127 where there is no such program and 126 where it cannot be
    /// run.
    pub(crate) fn find(words: &[OsString], env: &Environment) -> Result<Self, Error> {
        let (name, args) = words
            .split_first()
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Error::usage("there is no command behind --"))?;
        let path = look_up(name, env.get("PATH")).map_err(|why| {
            let (how, status) = match why {
                NoProgram::Missing => ("is not found", 127),
                NoProgram::NotExecutable => ("cannot be executed", 126),
            };
            let shown = shown(Path::new(name));
            Error::usage(format!("the command {shown} {how}")).exits_with(status)
        })?;
        Ok(Self {
            path,
            name: name.clone(),
            args: args.to_vec(),
        })
    }

    /// The command, in the environment of this program.
    pub(crate) fn prepare(self, env: &Environment) -> process::Command {
        let mut command = system::command(&self.path, &self.name);
        command.args(self.args).env_clear().envs(env.all());
        command
    }
}

fn look_up(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, NoProgram> {
    let as_path = Path::new(name);
    if as_path.components().count() > 1 || as_path.is_absolute() {
        return system::program(as_path);
    }
    let mut why = NoProgram::Missing;
    for folder in system::folders(path) {
        match system::program(&folder.join(name)) {
            Err(NoProgram::Missing) => {}
            Err(NoProgram::NotExecutable) => why = NoProgram::NotExecutable,
            found => return found,
        }
    }
    Err(why)
}

//! Programs: `-- COMMAND`, and those that identity providers have.
//!
//! Looks into the file system, and runs nothing.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process;

use crate::environment::Environment;
use crate::error::Error;
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
        let path = look_up(name, env.get("PATH"))?;
        Ok(Self {
            path,
            name: name.clone(),
            args: args.to_vec(),
        })
    }

    /// The command, in the environment of this program.
    pub(crate) fn prepare(self, env: &Environment) -> process::Command {
        let mut command = process::Command::new(&self.path);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(&mut command, &self.name);
        #[cfg(not(unix))]
        let _ = &self.name;
        command.args(self.args).env_clear().envs(env.all());
        command
    }
}

/// Where programs are looked for without a `PATH`, as the system's own `execvp` does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

fn look_up(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Error> {
    let shown = shown(Path::new(name));
    let not_found = || Error::usage(format!("the command {shown} is not found")).exits_with(127);
    let not_executable =
        || Error::usage(format!("the command {shown} cannot be executed")).exits_with(126);
    if Path::new(name).components().count() > 1 || Path::new(name).is_absolute() {
        let path = PathBuf::from(name);
        return match kind(&path) {
            Kind::Program => Ok(path),
            Kind::NotExecutable => Err(not_executable()),
            Kind::Missing => Err(not_found()),
        };
    }
    let mut error = not_found();
    for directory in std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH))) {
        let path = directory.join(name);
        match kind(&path) {
            Kind::Program => return Ok(path),
            Kind::NotExecutable => error = not_executable(),
            Kind::Missing => {}
        }
    }
    Err(error)
}

enum Kind {
    Program,
    NotExecutable,
    Missing,
}

#[cfg(unix)]
fn kind(path: &Path) -> Kind {
    use std::os::unix::fs::PermissionsExt;
    match path.metadata() {
        Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => Kind::Program,
        Ok(_) => Kind::NotExecutable,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Kind::NotExecutable,
        Err(_) => Kind::Missing,
    }
}

/// Windows adds `.exe` by itself.
#[cfg(not(unix))]
fn kind(path: &Path) -> Kind {
    match path.is_file() || path.with_extension("exe").is_file() {
        true => Kind::Program,
        false => Kind::Missing,
    }
}

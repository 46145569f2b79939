//! Windows' half.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::NoProgram;

/// OpenSSL's variables name no trust here: other programs set them to files that this system does
/// not trust.
pub(crate) const HAS_SSL_CERT_VARIABLES: bool = false;

/// The system's verifier knows what is trusted.
pub(crate) const BUNDLES: &[&str] = &[];
/// As for [`BUNDLES`].
pub(crate) const CERTIFICATES: &str = "";

/// What a program's name ends in, in the order in which the system's shell tries them. It knows
/// some more, which are other programs' documents and cannot be started as a process.
const EXTENSIONS: [&str; 4] = ["com", "exe", "bat", "cmd"];

/// Whether two names are one variable's: `Path` is `PATH`.
pub(crate) fn is_same_variable(one: &OsStr, other: &OsStr) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The folders that programs are looked for in; unlike for the system's shell, the current one is
/// not among them unless it is named.
pub(crate) fn folders(path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path.unwrap_or_default()).filter(|folder| !folder.as_os_str().is_empty())
}

/// The program at a path, whose extension may be left out.
///
/// # Errors
/// Where there is none.
pub(crate) fn program(path: &Path) -> Result<PathBuf, NoProgram> {
    let has_extension = path.extension().is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    });
    if has_extension && path.is_file() {
        return Ok(path.into());
    }
    let with = |extension: &&str| {
        let mut longer = OsString::from(path);
        longer.push(".");
        longer.push(extension);
        PathBuf::from(longer)
    };
    let mut found = EXTENSIONS.iter().map(with).filter(|path| path.is_file());
    found.next().ok_or(match path.exists() {
        true => NoProgram::NotExecutable,
        false => NoProgram::Missing,
    })
}

/// A command. It is told the path that it was found at, and no other name.
pub(crate) fn command(path: &Path, _: &OsStr) -> Command {
    Command::new(path)
}

/// Runs the command and ends with its exit status, since no process can become another one here.
/// Returns only where it cannot be started.
#[expect(
    clippy::exit,
    reason = "an exit status has 32 bits here, of which `ExitCode` takes eight"
)]
pub fn become_command(mut command: Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, all empty, until the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[&str]) -> Self {
            let name = format!("connect-credential-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for file in files {
                std::fs::write(folder.join(file), "").unwrap();
            }
            Self(folder)
        }

        fn program(&self, name: &str) -> Result<String, NoProgram> {
            let found = program(&self.0.join(name))?;
            Ok(found.file_name().unwrap().to_str().unwrap().to_lowercase())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_program_is_found_with_and_without_its_extension() {
        let files = [
            "a.exe",
            "a.bat",
            "b.CMD",
            "python3.11.exe",
            "notes.txt",
            "script",
        ];
        let folder = Folder::new("programs", &files);
        for (name, found) in [
            ("a", Ok("a.exe")),
            ("a.bat", Ok("a.bat")),
            ("A.EXE", Ok("a.exe")),
            ("b", Ok("b.cmd")),
            ("python3.11", Ok("python3.11.exe")),
            ("notes.txt", Err(NoProgram::NotExecutable)),
            ("script", Err(NoProgram::NotExecutable)),
            ("c", Err(NoProgram::Missing)),
            ("a.exe.exe", Err(NoProgram::Missing)),
        ] {
            assert_eq!(folder.program(name), found.map(str::to_owned), "{name}");
        }
    }

    #[test]
    fn a_variable_has_its_name_in_any_case() {
        assert!(is_same_variable(OsStr::new("Path"), OsStr::new("PATH")));
        assert!(!is_same_variable(OsStr::new("PATHS"), OsStr::new("PATH")));
    }

    #[test]
    fn no_program_is_looked_for_in_the_current_folder() {
        assert_eq!(folders(None).count(), 0);
        assert_eq!(folders(Some(OsStr::new(""))).count(), 0);
        let path = OsStr::new(r"C:\bin;;D:\bin");
        let named: Vec<_> = folders(Some(path)).collect();
        assert_eq!(named, [Path::new(r"C:\bin"), Path::new(r"D:\bin")]);
    }
}

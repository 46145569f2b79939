//! Unix's half: Linux, macOS, the BSDs.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::NoProgram;

/// Whether `SSL_CERT_FILE` and `SSL_CERT_DIR` name the trust, as OpenSSL has it.
pub(crate) const HAS_SSL_CERT_VARIABLES: bool = true;

/// The bundles of the large distributions; the first that is there is the system's trust.
pub(crate) const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, Red Hat
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",                 // SUSE
    "/etc/ssl/cert.pem",                      // FreeBSD, OpenBSD
    "/usr/local/share/certs/ca-root-nss.crt", // FreeBSD's package
];

/// Where certificates stand one by one, for a system without a bundle.
pub(crate) const CERTIFICATES: &str = "/etc/ssl/certs";

/// Where programs are looked for without a `PATH`, as the system's own `execvp` does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Whether two names are one variable's.
pub(crate) fn is_same_variable(one: &OsStr, other: &OsStr) -> bool {
    one == other
}

/// The folders that programs are looked for in; an empty name is the current one's.
pub(crate) fn folders(path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    let folders = std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)));
    folders.map(|folder| match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder,
    })
}

/// The program at a path.
///
/// # Errors
/// Where there is none.
pub(crate) fn program(path: &Path) -> Result<PathBuf, NoProgram> {
    match path.metadata() {
        Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => Ok(path.into()),
        Ok(_) => Err(NoProgram::NotExecutable),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(NoProgram::NotExecutable)
        }
        Err(_) => Err(NoProgram::Missing),
    }
}

/// A command that finds itself called by this name, whatever its path.
pub(crate) fn command(path: &Path, name: &OsStr) -> Command {
    let mut command = Command::new(path);
    command.arg0(name);
    command
}

/// The process becomes the command: signals and exit status are its own. Returns only where that
/// fails.
pub fn become_command(mut command: Command) -> io::Error {
    command.exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_the_current_one_and_is_not_searched_for_again() {
        let named: Vec<_> = folders(Some(OsStr::new("/bin::/sbin"))).collect();
        assert_eq!(
            named,
            [Path::new("/bin"), Path::new("."), Path::new("/sbin")]
        );
        assert_eq!(named[1].join("tool"), Path::new("./tool"));
    }
}

//! The subject token: where it comes from, and reading it there.

mod claims;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::error::{Code, Error};
use crate::input;
use crate::secret::{Secret, SubjectToken};
use crate::settings::Environment;
pub(crate) use claims::Claims;

/// The most bytes of an identity token.
const TOKEN_LIMIT: usize = 1024 * 1024;

/// Where the identity token comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Given as it is.
    Token(SubjectToken),
    /// All of stdin.
    Stdin,
    File(PathBuf),
    Provider(Provider),
    /// Nowhere, whether or not the environment was searched.
    Nothing {
        automatic: bool,
    },
}

/// A platform that hands out identity tokens: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {}

impl Provider {
    const ALL: [Self; 0] = [];

    pub(crate) fn name(self) -> &'static str {
        match self {}
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
    }

    /// The names, as a message lists them.
    pub(crate) fn names() -> String {
        let names = ["auto", "none"].into_iter();
        let all: Vec<&str> = names.chain(Self::ALL.into_iter().map(Self::name)).collect();
        all.join(", ")
    }

    /// The provider that the environment speaks of; the network is not asked.
    pub(crate) fn detect(_: &Environment) -> Option<Self> {
        None
    }
}

/// Reads a token from a file, afresh at every run.
///
/// # Errors
/// `identity_token_unreadable`.
pub(crate) fn from_file(path: &Path, deadline: Deadline) -> Result<SubjectToken, Error> {
    let name = format!("the identity token file {}", path.display());
    let bytes = input::read_file(path, TOKEN_LIMIT, deadline)
        .map_err(|why| why.into_error(Code::IdentityTokenUnreadable, name.clone()))?;
    from_bytes(Zeroizing::new(bytes), &name)
}

/// Reads a token from stdin, to its end.
///
/// # Errors
/// `identity_token_unreadable`.
pub(crate) fn from_stdin(stdin: &mut input::Patient) -> Result<SubjectToken, Error> {
    let name = "the identity token on stdin";
    let bytes = input::read_to_end(stdin, TOKEN_LIMIT, 0)
        .map_err(|why| why.into_error(Code::IdentityTokenUnreadable, name.into()))?;
    from_bytes(Zeroizing::new(bytes), name)
}

fn from_bytes(bytes: Zeroizing<Vec<u8>>, name: &str) -> Result<SubjectToken, Error> {
    let unreadable = |why| Error::new(Code::IdentityTokenUnreadable, format!("{name} {why}"));
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("is not text"))?;
    Secret::visible_ascii(text)
        .map(SubjectToken)
        .map_err(|why| unreadable(why.what()))
}

//! What callers send and what they get: one file a format, each pure.

mod env;
mod header;
pub(crate) mod json;
mod key;

use zeroize::Zeroizing;

use crate::cli::Verb;
use crate::error::Error;
use crate::expiry::Expiry;
use crate::secret::ApiKey;
use crate::server::ServerUrl;

/// What a run obtained, whatever it is printed as.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) server: ServerUrl,
    pub(crate) api_key: ApiKey,
    /// Unknown where the server did not say.
    pub(crate) expires_at: Option<Expiry>,
    /// The word before the key in an `Authorization` header.
    pub(crate) scheme: String,
    /// With `--check`, the key's user; a service principal has none.
    pub(crate) checked: Option<Option<String>>,
}

/// The name of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Key,
    Header,
    Env,
}

impl Format {
    const ALL: [Self; 4] = [Self::Json, Self::Key, Self::Header, Self::Env];

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Key => "key",
            Self::Header => "header",
            Self::Env => "env",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The names, as a message lists them.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether a verb means anything here.
    ///
    /// # Errors
    /// `usage` where it does not.
    pub(crate) fn admits(self, verb: &Verb) -> Result<(), Error> {
        match (self, verb) {
            (Self::Json, Verb::Other) => {
                Err(Error::usage("there is no such verb")
                    .hint("the verbs are get, store and erase"))
            }
            (Self::Json, _) => Ok(()),
            _ => Err(
                Error::usage(format!("the format {} has no verbs", self.name()))
                    .hint("get, store and erase go with -f json"),
            ),
        }
    }

    /// The whole of stdout on success.
    pub(crate) fn render(self, credential: &Credential) -> Zeroizing<Vec<u8>> {
        let text = match self {
            Self::Json => json::render(credential),
            Self::Key => key::render(credential),
            Self::Header => header::render(credential),
            Self::Env => env::render(credential),
        };
        Zeroizing::new(text.into_bytes())
    }

    /// The whole of stdout on failure.
    pub(crate) fn render_failure(self, error: &Error) -> Vec<u8> {
        match self {
            Self::Json => json::render_failure(error).into_bytes(),
            Self::Env => env::render_failure(error).into_bytes(),
            Self::Key | Self::Header => Vec::new(),
        }
    }
}

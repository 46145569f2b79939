//! What callers send and what they get: one file a format, each pure.

mod aws;
pub(crate) mod bazel;
mod env;
pub(crate) mod git;
pub(crate) mod github;
mod header;
pub(crate) mod json;
mod key;
pub(crate) mod kubernetes;

use zeroize::Zeroizing;

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

impl Credential {
    /// The value of an `Authorization` header.
    fn authorization(&self) -> String {
        format!("{} {}", self.scheme, self.api_key.expose())
    }
}

/// What the caller asked beside the settings, which decides whether and how it is answered.
#[derive(Debug)]
pub(crate) enum Question {
    /// Nothing more.
    Plain,
    Kubernetes(kubernetes::ApiVersion),
    Git(git::Question),
    Bazel(bazel::Question),
}

impl Question {
    /// Whether there is an answer for this server; a false one is no error.
    ///
    /// # Errors
    /// `bad_request`.
    pub(crate) fn is_about(&self, server: &ServerUrl) -> Result<bool, Error> {
        match self {
            Self::Plain | Self::Kubernetes(_) => Ok(true),
            Self::Git(question) => Ok(question.is_about(server)),
            Self::Bazel(question) => question.check(server).map(|()| true),
        }
    }
}

/// What the request on stdin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Store,
    Erase,
    /// Another word; whether it is an error is the format's to say.
    Other,
}

/// The name of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Kubernetes,
    Aws,
    Git,
    Bazel,
    Key,
    Header,
    Env,
    Github,
}

impl Format {
    pub(crate) const ALL: [Self; 9] = [
        Self::Json,
        Self::Kubernetes,
        Self::Aws,
        Self::Git,
        Self::Bazel,
        Self::Key,
        Self::Header,
        Self::Env,
        Self::Github,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Kubernetes => "kubernetes",
            Self::Aws => "aws",
            Self::Git => "git",
            Self::Bazel => "bazel",
            Self::Key => "key",
            Self::Header => "header",
            Self::Env => "env",
            Self::Github => "github",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The names, as a message lists them.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether a verb is one of this format's; git's rule is to ignore those that it adds later.
    ///
    /// # Errors
    /// `usage` where it is not.
    pub(crate) fn admits(self, verb: Verb) -> Result<(), Error> {
        let verbs = match self {
            Self::Git => return Ok(()),
            Self::Json => "get, store and erase",
            Self::Bazel => "get",
            _ => {
                return Err(
                    Error::usage(format!("the format {} has no verbs", self.name()))
                        .hint("verbs go with -f json, git and bazel"),
                );
            }
        };
        match (self, verb) {
            (_, Verb::Get) | (Self::Json, Verb::Store | Verb::Erase) => Ok(()),
            _ => Err(
                Error::usage(format!("the format {} has no such verb", self.name()))
                    .hint(format!("it has {verbs}")),
            ),
        }
    }

    /// The whole of stdout on success.
    pub(crate) fn render(self, credential: &Credential, question: &Question) -> Zeroizing<Vec<u8>> {
        let text = match (self, question) {
            (Self::Json, _) => json::render(credential),
            (Self::Kubernetes, Question::Kubernetes(version)) => {
                kubernetes::render(credential, *version)
            }
            (Self::Kubernetes, _) => kubernetes::render(credential, Default::default()),
            (Self::Aws, _) => aws::render(credential),
            (Self::Git, Question::Git(question)) => {
                git::render(credential, question.takes_authtype())
            }
            (Self::Git, _) => git::render(credential, false),
            (Self::Bazel, _) => bazel::render(credential),
            (Self::Key, _) => key::render(credential),
            (Self::Header, _) => header::render(credential),
            (Self::Env, _) => env::render(credential),
            (Self::Github, _) => github::render(credential),
        };
        Zeroizing::new(text.into_bytes())
    }

    /// The whole of stdout on failure.
    pub(crate) fn render_failure(self, error: &Error) -> Vec<u8> {
        match self {
            Self::Json => json::render_failure(error).into_bytes(),
            Self::Env => env::render_failure(error).into_bytes(),
            _ => Vec::new(),
        }
    }
}

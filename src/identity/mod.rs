//! The subject token: where it comes from, and reading it there.

mod claims;
mod program;
mod provider;

use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::environment::Environment;
use crate::error::{Code, Error};
use crate::exchange::ACCESS_TOKEN;
use crate::expiry::Expiry;
use crate::http::{Http, Method, Reply, Request};
use crate::input;
use crate::secret::{Secret, SubjectToken};
use crate::words::{Redactor, shown};
pub(crate) use claims::Claims;
pub(crate) use program::run;
pub(crate) use provider::{Fetch, Plan, Provider};

/// The most bytes of an identity token.
const TOKEN_LIMIT: usize = 1024 * 1024;
/// The most bytes of GitHub's description of an event; it sends at most 25 MB.
const EVENT_LIMIT: usize = 32 * 1024 * 1024;
/// How often a provider that says it is not ready yet is asked.
const TRIES: u32 = 3;

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

/// What Connect's user federation issues.
const CONNECT_API_KEY: &str = "urn:posit:connect:api-key";

impl Source {
    /// Whether the exchange is Connect's user federation, which takes a person's token at a place
    /// of its own.
    pub(crate) fn is_federated(&self) -> bool {
        matches!(self, Self::Provider(Provider::Workbench))
    }

    /// The token type to request where none is named.
    pub(crate) fn issues(&self) -> &'static str {
        match self.is_federated() {
            true => CONNECT_API_KEY,
            false => ACCESS_TOKEN,
        }
    }

    /// The variable that a provider's token stands in, where it does.
    pub(crate) fn variable(&self, env: &Environment, audience: &str) -> Option<String> {
        match self {
            Self::Provider(provider) => provider.variable(env, audience),
            _ => None,
        }
    }
}

/// Reads a token from a file, afresh at every run.
///
/// # Errors
/// `identity_token_unreadable`.
pub(crate) fn from_file(path: &Path, deadline: Deadline) -> Result<SubjectToken, Error> {
    let name = format!("the identity token file {}", shown(path));
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

/// How a provider's token is obtained.
///
/// # Errors
/// Those of [`Provider::plan`].
pub(crate) fn plan(
    provider: Provider,
    env: &Environment,
    audience: &str,
    deadline: Deadline,
) -> Result<Plan, Error> {
    provider
        .plan(env, audience, deadline)
        .map_err(|error| match (provider, error.code) {
            (Provider::Github, Code::NoIdentityToken) => error.hints(fork(env, deadline)),
            _ => error,
        })
}

/// Asks a provider for a token over HTTP.
///
/// # Errors
/// `identity_provider_failed`, or `timeout`.
pub(crate) fn fetch(
    provider: Provider,
    fetch: &Fetch,
    http: &Http,
    redactor: &Redactor,
) -> Result<Obtained, Error> {
    let request = Request {
        purpose: "the request for an identity token",
        url: &fetch.url,
        headers: &[(fetch.header.0, fetch.header.1.expose())],
        method: match &fetch.post {
            None => Method::Get,
            Some((media_type, body)) => Method::Post(media_type, body.as_bytes()),
        },
    };
    let mut tries = 1;
    let reply = loop {
        let reply = http
            .send(&request)
            .map_err(|error| of_provider(provider, error))?;
        // GitHub answers like this for a moment after a job has begun.
        let is_pending = reply.status == 403 && contains_ignoring_case(&reply.body, b"pending");
        if !is_pending || tries == TRIES || !http.pause(tries) {
            break reply;
        }
        tries += 1;
    };
    obtained(provider, fetch, &reply, redactor)
}

/// Reads a provider's answer. Pure.
///
/// # Errors
/// `identity_provider_failed`.
pub(crate) fn obtained(
    provider: Provider,
    fetch: &Fetch,
    reply: &Reply,
    redactor: &Redactor,
) -> Result<Obtained, Error> {
    let words = String::from_utf8_lossy(&reply.body);
    let failed = |why: &str| {
        let retryable = matches!(reply.status, 429 | 500..=599);
        let error = provider
            .failed(why)
            .status(reply.status)
            .retryable(retryable);
        match words.trim() {
            "" => error,
            _ if reply.status == 200 => error,
            said => error.hint(format!("it said: {}", redactor.quote(said))),
        }
    };
    if reply.status != 200 {
        return Err(failed(&format!("it answered with HTTP {}", reply.status)));
    }
    let answer: Value = match fetch.member {
        None => Value::String(words.trim().to_owned()),
        Some(_) => serde_json::from_slice(&reply.body)
            .map_err(|_| failed("its answer (HTTP 200) is not JSON"))?,
    };
    let token = match fetch.member {
        None => answer.as_str(),
        Some(member) => answer.get(member).and_then(Value::as_str),
    };
    let member = fetch.member.unwrap_or("token");
    let token = token.ok_or_else(|| failed(&format!("its answer (HTTP 200) has no {member}")))?;
    let subject_token = Secret::visible_ascii(token)
        .map(SubjectToken)
        .map_err(|why| failed(&format!("its token {}", why.what())))?;
    let expires_at = fetch.expiry.and_then(|member| {
        let beside = answer.get(member).and_then(Expiry::read);
        beside.or_else(|| Claims::of(&subject_token)?.moment("exp"))
    });
    Ok(Obtained {
        subject_token,
        expires_at,
    })
}

/// A subject token, as it was obtained.
#[derive(Debug)]
pub(crate) struct Obtained {
    pub(crate) subject_token: SubjectToken,
    /// The token's own expiry, where that is also the key's for want of another.
    pub(crate) expires_at: Option<Expiry>,
}

impl From<SubjectToken> for Obtained {
    fn from(subject_token: SubjectToken) -> Self {
        Self {
            subject_token,
            expires_at: None,
        }
    }
}

/// A failure of HTTP as the provider's; the deadline and a proxy's misuse stay what they are.
fn of_provider(provider: Provider, error: Error) -> Error {
    match error.code {
        Code::Timeout | Code::Usage => error,
        _ => {
            let retryable = error.retryable;
            let told = provider.failed(&error.message).retryable(retryable);
            let told = error.http_status.into_iter().fold(told, Error::status);
            told.hints(error.hints)
        }
    }
}

fn contains_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

/// Holds a provider's token against the audience that was asked for: a token made for another
/// service must not reach this one. An opaque token says nothing, and passes.
///
/// # Errors
/// `identity_provider_failed`, naming both audiences.
pub(crate) fn check_audience(
    provider: Provider,
    token: &SubjectToken,
    audience: &str,
) -> Result<(), Error> {
    let Some(claims) = Claims::of(token) else {
        return Ok(());
    };
    let audiences = claims.audiences();
    if audiences.contains(&audience) {
        return Ok(());
    }
    let quote = |text: &str| Redactor::default().quote(text);
    let made_for = match audiences.as_slice() {
        [] => "no audience".to_owned(),
        audiences => quote(&audiences.join(",")),
    };
    let why = format!(
        "its token is for {made_for} and not for {}, so it was not sent",
        quote(audience)
    );
    Err(provider
        .failed(&why)
        .hint("if that audience is right, ask for it with --audience"))
}

/// What is said where no identity token is to be found.
pub(crate) fn nothing(automatic: bool, env: &Environment, deadline: Deadline) -> Error {
    let error = Error::new(
        Code::NoIdentityToken,
        "there is no identity token to exchange",
    );
    let error = match automatic {
        false => error,
        true => error.hint(
            "looked for the options, CONNECT_IDENTITY_TOKEN, CONNECT_IDENTITY_TOKEN_FILE, \
             and the variables of GitHub, Azure DevOps, GitLab, CircleCI, Bitbucket and Buildkite",
        ),
    };
    let error = match Provider::of_job(env) {
        None => error,
        Some(Provider::Github) => error
            .hints(Provider::Github.help())
            .hints(fork(env, deadline)),
        Some(provider) => error.hints(provider.help()),
    };
    error
        .hint("give one with --identity-token-file FILE or CONNECT_IDENTITY_TOKEN_FILE")
        .hint("or with --identity-token - on stdin, or in CONNECT_IDENTITY_TOKEN")
        .hint("or name a provider with --identity-provider")
}

/// A pull request from a fork gets no identity token, whatever the permissions say.
fn fork(env: &Environment, deadline: Deadline) -> Option<String> {
    let path = Path::new(env.get("GITHUB_EVENT_PATH")?);
    let event = input::read_file(path, EVENT_LIMIT, deadline).ok()?;
    let event: Value = serde_json::from_slice(&event).ok()?;
    let is_fork = event.pointer("/pull_request/head/repo/fork")?.as_bool()?;
    is_fork.then(|| {
        "this run is for a pull request from a fork, which cannot have an identity token".to_owned()
    })
}

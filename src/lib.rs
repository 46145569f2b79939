//! `connect-credential`: exchanges an OIDC identity token for a short-lived Posit Connect API key.
//!
//! The library is the program without its process: [`run`] takes arguments, environment, stdio
//! and clocks as values and returns how the process ends, which may be by [`become_command`].
//! `protocol.md`, here [`protocol`], is the specification for callers; the table of exit statuses is
//! there.

#![cfg_attr(
    any(test, fuzzing),
    allow(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test fails by panicking"
    )
)]

mod asked;
mod beside;
mod check;
mod cli;
mod clock;
mod command;
mod discovery;
mod environment;
mod error;
mod exchange;
mod expiry;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod identity;
mod input;
mod metadata;
mod output;
mod place;
mod proxy;
mod refusal;
mod revocation;
mod run;
mod secret;
mod server;
mod settings;
mod subject;
mod system;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

pub use clock::Clock;
pub use system::become_command;

use beside::side_by_side;
use cli::Typed;
use clock::Deadline;
use command::Command;
use environment::Environment;
use error::{Code, Error};
use expiry::Expiry;
use format::{Credential, Format, Verb, github, kubernetes};
use http::{Http, Method, Request};
use identity::{Claims, Obtained};
use output::{Log, Stderr, append, print};
use place::Place;
use run::Run;
use settings::{Layer, Settings};
use subject::Subject;
use words::Redactor;

#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../protocol.md")]
pub mod protocol {}

/// A call of the program: all that a process has, as values.
pub struct Invocation {
    /// The arguments behind the program's name.
    pub args: Vec<OsString>,
    /// The environment; an empty variable counts as unset.
    pub env: Vec<(OsString, OsString)>,
    /// Standard input, read on a thread and only where the arguments ask for it.
    pub stdin: Box<dyn Read + Send>,
    /// Whether nobody but a person could answer there.
    pub stdin_is_terminal: bool,
    /// Standard output: one whole document in one write, or nothing.
    pub stdout: Box<dyn Write>,
    /// Standard error: empty on success, unless `--verbose` is given.
    pub stderr: Box<dyn Write + Send>,
    /// The clocks.
    pub clock: Clock,
    /// When the program started, which is where its deadline counts from.
    pub started: Instant,
    /// Any number that differs from run to run, for the jitter of waits.
    pub seed: u64,
}

/// How a run ends.
pub enum End {
    /// With this exit status.
    Exit(u8),
    /// By becoming another program: `-- COMMAND`, with the credential in its environment.
    Become(Box<std::process::Command>),
}

impl fmt::Debug for End {
    /// A command's environment has the key, so only its program is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => f.debug_tuple("Exit").field(status).finish(),
            Self::Become(command) => f
                .debug_tuple("Become")
                .field(&command.get_program())
                .finish(),
        }
    }
}

/// Runs the program.
pub fn run(mut invocation: Invocation) -> End {
    let stderr = Stderr::new(invocation.stderr);
    let fail = |error: &Error| {
        stderr.fail(error);
        End::Exit(error.exit_status)
    };
    if let Some(text) = cli::information(&invocation.args) {
        return match print(&mut invocation.stdout, text.as_bytes()) {
            Ok(()) => End::Exit(0),
            Err(error) => fail(&error),
        };
    }
    let typed = cli::parse(&invocation.args);
    let env = Environment::new(invocation.env);
    let format = typed
        .format
        .unwrap_or(match env.get(kubernetes::EXEC_INFO) {
            Some(_) => Format::Kubernetes,
            None => Format::Json,
        });
    // A command's stdout is its own, and nobody knows what the caller of no format reads.
    let tells_failure = typed.command.is_none() && !typed.unknown_format;
    let redactor = Redactor::default();
    let mut run = Run {
        stdin: Some(invocation.stdin),
        stdin_is_terminal: invocation.stdin_is_terminal,
        env,
        clock: invocation.clock,
        started: invocation.started,
        seed: invocation.seed,
        log: Log::new(typed.verbose, &stderr, &redactor),
        redactor,
    };
    match run.answer(typed, format, &mut invocation.stdout) {
        Ok(end) => end,
        Err(error) => {
            if tells_failure && error.code != Code::Output {
                // Whether or not it can be told there, stderr and the exit status tell it.
                let _ = print(&mut invocation.stdout, &format.render_failure(&error));
            }
            fail(&error)
        }
    }
}

impl Run {
    /// Settings, credential, answer.
    fn answer(
        &mut self,
        typed: Typed,
        format: Format,
        stdout: &mut dyn Write,
    ) -> Result<End, Error> {
        if let Some(error) = typed.error {
            return Err(error);
        }
        let command = typed
            .command
            .map(|words| Command::find(&words, &self.env))
            .transpose()?;
        let mut asked = self.asked(typed.options, typed.verb, format, command.is_some())?;
        if matches!(typed.verb, Some(Verb::Store | Verb::Other)) {
            return Ok(End::Exit(0));
        }
        asked.layers.push(Layer::of_environment(&self.env)?);
        let settings = Arc::new(Settings::resolve(&asked.layers, &self.env)?);
        if !asked.question.is_about(&settings.server)? {
            return Ok(End::Exit(0));
        }
        if typed.verb == Some(Verb::Erase) {
            if let Some(key) = &asked.refused_key {
                self.revoke(&settings, key)?;
            }
            return Ok(End::Exit(0));
        }
        if let Some(command) = command {
            let credential = self.credential(&settings)?;
            let command = self.with_credential(command, &credential, &settings);
            return Ok(End::Become(Box::new(command)));
        }
        let variables = match format {
            Format::Github => Some(self.file_of_variables()?),
            _ => None,
        };
        let credential = self.credential(&settings)?;
        print(stdout, &format.render(&credential, &asked.question))?;
        if let Some(file) = variables {
            append(&file, &github::variables(&credential))?;
        }
        Ok(End::Exit(0))
    }

    /// The credential: subject token beside metadata, exchange, check.
    fn credential(&mut self, settings: &Arc<Settings>) -> Result<Credential, Error> {
        let deadline = self.deadline(settings.timeout);
        let http = Arc::new(self.http(settings, deadline)?);
        let (obtained, place) = self.token_and_place(settings, &http, deadline)?;

        let form = settings.terms.form(&obtained.subject_token);
        let reply = http.send(&Request {
            purpose: "the exchange",
            url: place.token_endpoint.url(),
            headers: &[],
            method: Method::Form(&form),
        })?;
        let issued = exchange::issued_key(&reply, &self.redactor).map_err(|error| {
            let claims = Claims::of(&obtained.subject_token);
            let now = (self.clock.utc)();
            refusal::explain(error, claims.as_ref(), &reply, now, &self.redactor)
                .hints(place.elsewhere_hint(&self.redactor))
        })?;
        self.redactor.learn(issued.api_key.secret());
        let kind = issued.issued_token_type;
        let kind = kind.as_deref().unwrap_or("of no stated type");
        self.log.tell(format_args!("a key was issued ({kind})"));

        let checked = match settings.check {
            true => {
                let user = check::user(&http, &place.server, &issued.api_key, &self.redactor)?;
                Some(user)
            }
            false => None,
        };
        Ok(Credential {
            server: place.server,
            api_key: issued.api_key,
            expires_at: match issued.expires_in {
                Some(life) => Some(Expiry::after(reply.sent, life)),
                None => obtained.expires_at,
            },
            scheme: settings.scheme.clone(),
            checked,
        })
    }

    /// The subject token, and where it goes: side by side where both need the network.
    fn token_and_place(
        &mut self,
        settings: &Arc<Settings>,
        http: &Arc<Http>,
        deadline: Deadline,
    ) -> Result<(Obtained, Place), Error> {
        let subject = self.subject(settings, deadline)?;
        let (settings, http) = (settings.clone(), http.clone());
        let (log, redactor) = (self.log.clone(), self.redactor.clone());
        let find = move || Place::find(&settings, &http, &log, &redactor);
        match subject {
            Subject::Token(token) => Ok((token.into(), find()?)),
            Subject::Request(mint) => side_by_side(mint, find),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_a_command_without_its_environment() {
        let mut command = std::process::Command::new("tool");
        command.env("CONNECT_API_KEY", "secret");
        let end = End::Become(Box::new(command));
        assert_eq!(format!("{end:?}"), r#"Become("tool")"#);
    }
}

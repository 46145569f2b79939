//! `connect-credential`: exchanges an OIDC identity token for a short-lived Posit Connect API key.
//!
//! The library is the program without its process: [`run`] takes arguments, environment, stdio
//! and clocks as values and returns the exit status. `protocol.md` is the specification for
//! callers; the table of exit statuses is there.

#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test fails by panicking"
    )
)]

mod check;
mod cli;
mod clock;
mod discovery;
mod error;
mod exchange;
mod expiry;
mod format;
mod http;
mod identity;
mod input;
mod metadata;
mod proxy;
mod refusal;
mod secret;
mod server;
mod settings;
mod words;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use clock::Clock;

use cli::{Typed, Verb};
use clock::Deadline;
use error::{Code, Error};
use expiry::Expiry;
use format::{Credential, Format, json};
use http::{Http, Method, Request, Trust};
use identity::{Claims, Source};
use input::Patient;
use secret::SubjectToken;
use server::{Endpoint, ServerUrl};
use settings::{Environment, Layer, Settings};
use words::Redactor;

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

/// Runs the program and returns its exit status.
pub fn run(mut invocation: Invocation) -> u8 {
    if let Some(text) = cli::information(&invocation.args) {
        let printed = print(&mut invocation.stdout, text.as_bytes());
        return printed.map_or_else(|error| error.code.row().exit_status, |()| 0);
    }
    let typed = cli::parse(&invocation.args);
    let format = typed.format.unwrap_or(Format::Json);
    let tells_failure = !typed.unknown_format;
    let stderr = Arc::new(Mutex::new(invocation.stderr));
    let log = logger(typed.verbose, stderr.clone());
    let mut caller = Caller {
        stdin: Some(invocation.stdin),
        stdin_is_terminal: invocation.stdin_is_terminal,
        env: Environment::new(invocation.env),
        clock: invocation.clock,
        started: invocation.started,
        seed: invocation.seed,
        log,
    };
    let outcome = caller
        .answer(typed, format)
        .and_then(|answer| match answer {
            Some(credential) => print(&mut invocation.stdout, &format.render(&credential)),
            None => Ok(()),
        });
    let Err(error) = outcome else {
        return 0;
    };
    if tells_failure && error.code != Code::Output {
        // Whether or not it can be told there, it is told on stderr and by the exit status.
        let _ = print(&mut invocation.stdout, &format.render_failure(&error));
    }
    tell(
        &mut **stderr.lock().unwrap_or_else(PoisonError::into_inner),
        &error,
    );
    error.code.row().exit_status
}

/// What a run takes from its caller.
struct Caller {
    stdin: Option<Box<dyn Read + Send>>,
    stdin_is_terminal: bool,
    env: Environment,
    clock: Clock,
    started: Instant,
    seed: u64,
    log: Log,
}

/// Where the steps are told, with `--verbose`.
type Log = Arc<dyn Fn(&str) + Send + Sync>;

impl Caller {
    /// What to answer to a call, if anything is to be said.
    fn answer(&mut self, typed: Typed, format: Format) -> Result<Option<Credential>, Error> {
        if let Some(error) = typed.error {
            return Err(error);
        }
        let mut layers = vec![typed.options];
        if let Some(verb) = &typed.verb {
            format.admits(verb)?;
            let request = self.request(&layers)?;
            if *verb != Verb::Get {
                return Ok(None);
            }
            layers.push(request);
        }
        layers.push(Layer::of_environment(&self.env)?);
        let settings = Settings::resolve(&layers, &self.env)?;
        self.credential(&settings).map(Some)
    }

    /// The request on stdin, as a layer of settings.
    fn request(&mut self, layers: &[Layer]) -> Result<Layer, Error> {
        let uses_stdin = layers.iter().any(|layer| {
            layer
                .get(settings::Field::IdentityToken)
                .is_some_and(|token| token == "-")
        });
        if uses_stdin {
            return Err(Error::usage(
                "stdin cannot carry both the request and, for --identity-token -, the token",
            ));
        }
        if self.stdin_is_terminal {
            return Err(
                Error::usage("get reads a request from stdin, which is a terminal")
                    .hint(r#"call it like this: echo '{"version":1}' | connect-credential get"#)
                    .hint("without a verb, options and environment variables are enough"),
            );
        }
        let mut stdin = self.stdin(self.deadline(settings::timeout(layers)))?;
        json::layer(&json::read_request(&mut stdin)?)
    }

    /// The credential, step by step.
    fn credential(&mut self, settings: &Settings) -> Result<Credential, Error> {
        let deadline = self.deadline(settings.timeout);
        let http = self.http(settings, deadline)?;
        let mut redactor = Redactor::default();

        let subject_token = self.subject_token(settings, deadline)?;
        redactor.add(&subject_token.0);
        let place = self.place(settings, &http)?;
        let form = settings.terms.form(&subject_token);
        let reply = http.send(&Request {
            purpose: "the exchange",
            url: place.token_endpoint.url(),
            headers: &[],
            method: Method::Form(&form),
        })?;
        let issued = exchange::issued_key(&reply, &redactor).map_err(|error| {
            let claims = Claims::of(&subject_token);
            let now = (self.clock.utc)();
            let error = refusal::explain(error, claims.as_ref(), &reply, now, &redactor);
            error.hints(place.elsewhere_hint())
        })?;
        redactor.add(issued.api_key.secret());
        (self.log)(&format!(
            "a key was issued ({})",
            issued
                .issued_token_type
                .as_deref()
                .unwrap_or("of no stated type")
        ));
        let mut credential = Credential {
            server: place.server,
            api_key: issued.api_key,
            expires_at: issued
                .expires_in
                .map(|life| Expiry::after(reply.sent, life)),
            scheme: settings.scheme.clone(),
            checked: None,
        };
        if settings.check {
            credential.checked = Some(user(&http, &credential, &redactor)?);
        }
        Ok(credential)
    }

    fn deadline(&self, timeout: std::time::Duration) -> Deadline {
        Deadline::new(self.clock, self.started, timeout)
    }

    fn http(&self, settings: &Settings, deadline: Deadline) -> Result<Http, Error> {
        let trust = match (&settings.cacert, settings.insecure) {
            (_, true) => Trust::Nothing,
            (Some(file), false) => Trust::from_file(file, deadline)?,
            (None, false) => Trust::system(&self.env),
        };
        let proxies = settings.proxies.clone();
        Ok(Http::new(
            deadline,
            proxies,
            trust,
            self.seed,
            self.log.clone(),
        ))
    }

    /// Stdin, to be read at most until the deadline.
    fn stdin(&mut self, deadline: Deadline) -> Result<Patient, Error> {
        let unreadable = || Error::usage("stdin cannot be read");
        let stdin = self.stdin.take().ok_or_else(unreadable)?;
        Patient::new(move || Ok(stdin), deadline).map_err(|_| unreadable())
    }

    fn subject_token(
        &mut self,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<SubjectToken, Error> {
        match &settings.source {
            Source::Token(token) => Ok(token.clone()),
            Source::File(path) => identity::from_file(path, deadline),
            Source::Stdin => identity::from_stdin(&mut self.stdin(deadline)?),
            Source::Provider(provider) => match *provider {},
            Source::Nothing { .. } => Err(Error::new(
                Code::NoIdentityToken,
                "there is no identity token to exchange",
            )
            .hint("give one with --identity-token-file FILE or CONNECT_IDENTITY_TOKEN_FILE")
            .hint("or with --identity-token - on stdin, or in CONNECT_IDENTITY_TOKEN")),
        }
    }

    /// Where to exchange: what the operator named, or what the server's metadata says under the
    /// endpoint rule.
    fn place(&self, settings: &Settings, http: &Http) -> Result<Place, Error> {
        if let Some(named) = &settings.token_endpoint {
            return Ok(Place {
                server: settings.server.clone(),
                token_endpoint: named.clone(),
                elsewhere: None,
            });
        }
        let (server, metadata) = discovery::discover(http, settings.server.clone())?;
        let advertised = metadata.token_endpoint(&server)?;
        let elsewhere = advertised
            .elsewhere
            .map(|origin| Redactor::default().quote(&origin));
        if let Some(origin) = &elsewhere {
            (self.log)(&format!(
                "the metadata names {origin}, and the token stays with {server}"
            ));
        }
        Ok(Place {
            server,
            token_endpoint: advertised.endpoint,
            elsewhere,
        })
    }
}

/// Where the token goes.
struct Place {
    server: ServerUrl,
    token_endpoint: Endpoint,
    /// The origin that the metadata names in vain, where it is not the server's own.
    elsewhere: Option<String>,
}

impl Place {
    /// What a failed exchange may be due to.
    fn elsewhere_hint(&self) -> Option<String> {
        let origin = self.elsewhere.as_ref()?;
        Some(format!(
            "the metadata names {origin} as the token endpoint's origin, and the token was sent to {} \
             instead; if it belongs there, name it with --token-endpoint",
            self.server
        ))
    }
}

/// Uses the new key once, and returns the name of its user.
fn user(
    http: &Http,
    credential: &Credential,
    redactor: &Redactor,
) -> Result<Option<String>, Error> {
    let key = http::authorization("Key", credential.api_key.secret());
    let reply = http.send(&Request {
        purpose: "the check of the new key",
        url: &credential.server.join(check::USER_PATH),
        headers: &[("Authorization", key.expose())],
        method: Method::Get,
    })?;
    check::user(&reply, redactor)
}

/// One write, flushed.
fn print(stdout: &mut dyn Write, bytes: &[u8]) -> Result<(), Error> {
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| {
            Error::new(
                Code::Output,
                format!("stdout cannot be written: {}", error.kind()),
            )
        })
}

/// The lines on stderr. Where even that is impossible, the exit status is left to speak.
fn tell(stderr: &mut dyn Write, error: &Error) {
    let mut lines = format!("connect-credential: {error}\n");
    for hint in &error.hints {
        lines.push_str(&format!("hint: {hint}\n"));
    }
    let _ = stderr.write_all(lines.as_bytes());
}

fn logger(verbose: bool, stderr: Arc<Mutex<Box<dyn Write + Send>>>) -> Log {
    if !verbose {
        return Arc::new(|_| {});
    }
    Arc::new(move |step| {
        let mut stderr = stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = stderr.write_all(format!("connect-credential: {step}\n").as_bytes());
    })
}

//! `connect-credential`: exchanges an OIDC identity token for a short-lived Posit Connect API key.
//!
//! The library is the program without its process: [`run`] takes arguments, environment, stdio
//! and clocks as values and returns the exit status. `protocol.md` is the specification for
//! callers; the table of exit statuses is there.

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
mod caller;
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
mod place;
mod proxy;
mod refusal;
mod revocation;
mod secret;
mod server;
mod settings;
mod system;
mod words;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub use clock::Clock;
pub use system::become_command;

use beside::side_by_side;
use caller::{Caller, Secrets, Stderr, append, logger, print, tell};
use cli::Typed;
use clock::Deadline;
use command::Command;
use environment::Environment;
use error::{Code, Error};
use expiry::Expiry;
use format::{Credential, Format, Verb, github, kubernetes};
use http::{Http, Method, Request};
use identity::{Claims, Fetch, Minted, Plan, Provider, Source};
use place::{Place, PlaceOf};
use secret::Secret;
use settings::{Layer, Settings};
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

/// How a run ends.
#[derive(Debug)]
pub enum End {
    /// With this exit status.
    Exit(u8),
    /// By becoming another program: `-- COMMAND`, with the credential in its environment.
    Become(Box<std::process::Command>),
}

/// Runs the program.
pub fn run(mut invocation: Invocation) -> End {
    let stderr = Arc::new(Mutex::new(Some(invocation.stderr)));
    if let Some(text) = cli::information(&invocation.args) {
        return match print(&mut invocation.stdout, text.as_bytes()) {
            Ok(()) => End::Exit(0),
            Err(error) => fail(&stderr, &error),
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
    let secrets = Secrets::default();
    let mut caller = Caller {
        stdin: Some(invocation.stdin),
        stdin_is_terminal: invocation.stdin_is_terminal,
        env,
        clock: invocation.clock,
        started: invocation.started,
        seed: invocation.seed,
        log: logger(typed.verbose, stderr.clone(), secrets.clone()),
        secrets,
    };
    match caller.answer(typed, format, &mut invocation.stdout) {
        Ok(end) => end,
        Err(error) => {
            if tells_failure && error.code != Code::Output {
                // Whether or not it can be told there, stderr and the exit status tell it.
                let _ = print(&mut invocation.stdout, &format.render_failure(&error));
            }
            fail(&stderr, &error)
        }
    }
}

/// Tells a failure, and ends with its status.
fn fail(stderr: &Stderr, error: &Error) -> End {
    tell(stderr, error);
    End::Exit(error.exit_status)
}

impl Caller {
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
        let settings = Settings::resolve(&asked.layers, &self.env)?;
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

    /// The file that `GITHUB_ENV` names.
    fn file_of_variables(&self) -> Result<PathBuf, Error> {
        let variable = github::FILE;
        let file = self.env.get(variable).map(PathBuf::from).ok_or_else(|| {
            Error::usage(format!(
                "{variable} is not set, which names the file of variables"
            ))
            .hint("-f github is for a step of a GitHub Actions job")
        })?;
        match file.is_file() {
            true => Ok(file),
            false => Err(Error::usage(format!("{variable} does not name a file"))),
        }
    }

    /// The command with the credential in its environment, and without what it was made from.
    fn with_credential(
        &self,
        command: Command,
        credential: &Credential,
        settings: &Settings,
    ) -> std::process::Command {
        let mut command = command.prepare(&self.env);
        command
            .env_remove("CONNECT_IDENTITY_TOKEN")
            .env_remove("CONNECT_IDENTITY_TOKEN_FILE")
            .env("CONNECT_SERVER", credential.server.as_str())
            .env("CONNECT_API_KEY", credential.api_key.expose());
        if let Some(variable) = settings.source.variable(&self.env, &settings.audience) {
            command.env_remove(variable);
        }
        if let Some(cacert) = &settings.cacert {
            command.env("CONNECT_CA_CERTIFICATE", cacert);
        }
        if settings.insecure {
            command.env("CONNECT_INSECURE", "1");
        }
        command
    }

    /// The credential: subject token beside metadata, exchange, check.
    fn credential(&mut self, settings: &Settings) -> Result<Credential, Error> {
        let deadline = self.deadline(settings.timeout);
        let http = Arc::new(self.http(settings, deadline)?);
        let redactor = self.redactor(settings);
        let (minted, place) = self.token_and_place(settings, &http, &redactor, deadline)?;
        let subject_token = minted.subject_token;
        let mut redactor = redactor.with(&subject_token.0);

        let form = settings.terms.form(&subject_token);
        let reply = http.send(&Request {
            purpose: "the exchange",
            url: place.token_endpoint.url(),
            headers: &[],
            method: Method::Form(&form),
        })?;
        let claims = Claims::of(&subject_token);
        let issued = exchange::issued_key(&reply, &redactor).map_err(|error| {
            let now = (self.clock.utc)();
            let error = refusal::explain(error, claims.as_ref(), &reply, now, &redactor);
            error.hints(place.elsewhere_hint(&redactor))
        })?;
        redactor.add(issued.api_key.secret());
        self.learn(issued.api_key.secret());
        (self.log)(&format!(
            "a key was issued ({})",
            issued
                .issued_token_type
                .as_deref()
                .unwrap_or("of no stated type")
        ));
        let expires_at = match issued.expires_in {
            Some(life) => Some(Expiry::after(reply.sent, life)),
            None if settings.source.is_federated() => minted
                .expires_at
                .or_else(|| claims.and_then(|claims| claims.moment("exp"))),
            None => None,
        };
        let mut credential = Credential {
            server: place.server,
            api_key: issued.api_key,
            expires_at,
            scheme: settings.scheme.clone(),
            checked: None,
        };
        if settings.check {
            credential.checked = Some(user(&http, &credential, &redactor)?);
        }
        Ok(credential)
    }

    /// The subject token, and where it goes: side by side where both need the network.
    fn token_and_place(
        &mut self,
        settings: &Settings,
        http: &Arc<Http>,
        redactor: &Redactor,
        deadline: Deadline,
    ) -> Result<(Minted, Place), Error> {
        let place = PlaceOf::new(settings);
        let log = self.log.clone();
        let subject_token = match &settings.source {
            Source::Token(token) => token.clone(),
            Source::File(path) => identity::from_file(path, deadline)?,
            Source::Stdin => identity::from_stdin(&mut self.stdin(deadline)?)?,
            Source::Nothing { automatic } => {
                return Err(identity::nothing(*automatic, &self.env, deadline));
            }
            Source::Provider(provider) => {
                let provider = *provider;
                (self.log)(&format!("the identity provider is {}", provider.name()));
                let plan = identity::plan(provider, &self.env, &settings.audience, deadline)?;
                let token = match plan {
                    Plan::Token(token) => token,
                    Plan::Run(program) => identity::run(provider, program, &self.env, deadline)?,
                    Plan::Fetch(fetch) => {
                        let mint = self.mint(provider, fetch, settings, deadline);
                        let (http, redactor) = (http.clone(), redactor.clone());
                        let find = move || place.find(&http, &log, &redactor);
                        let found = side_by_side(mint, find)?;
                        self.learn(&found.0.subject_token.0);
                        return Ok(found);
                    }
                };
                if let Some(audience) = audience_to_hold(provider, settings) {
                    identity::check_audience(provider, &token, audience)?;
                }
                token
            }
        };
        self.learn(&subject_token.0);
        let place = place.find(http, &log, &redactor.with(&subject_token.0))?;
        Ok((subject_token.into(), place))
    }

    /// The request for a provider's token, to be made on a thread of its own.
    fn mint(
        &self,
        provider: Provider,
        fetch: Fetch,
        settings: &Settings,
        deadline: Deadline,
    ) -> impl FnOnce() -> Result<Minted, Error> + Send + 'static {
        let proxies = match fetch.proxied {
            true => settings.proxies.clone(),
            false => proxy::Proxies::default(),
        };
        let mut redactor = Redactor::default();
        let password = proxies.password_for(&fetch.url);
        for secret in password.iter().chain(&fetch.secret) {
            redactor.add(secret);
            self.learn(secret);
        }
        let http = self.provider_http(proxies, deadline);
        let audience = audience_to_hold(provider, settings).map(str::to_owned);
        move || {
            let minted = identity::fetch(provider, &fetch, &http, &redactor)?;
            if let Some(audience) = audience {
                identity::check_audience(provider, &minted.subject_token, &audience)?;
            }
            Ok(minted)
        }
    }

    /// Revokes a key, where the server has a place for that.
    fn revoke(&self, settings: &Settings, key: &Secret) -> Result<(), Error> {
        let deadline = self.deadline(settings.timeout);
        let http = self.http(settings, deadline)?;
        self.learn(key);
        let redactor = self.redactor(settings).with(key);
        let found = match discovery::discover(&http, settings.server.clone(), &redactor) {
            Err(error) if error.code == Code::UnsupportedServer => return Ok(()),
            found => found?,
        };
        let (server, metadata) = found;
        settings.allowed.check(&server)?;
        let Some(endpoint) = metadata.revocation_endpoint(&server)? else {
            (self.log)("the server does not revoke keys");
            return Ok(());
        };
        let reply = http.send(&Request {
            purpose: "the revocation",
            url: endpoint.url(),
            headers: &[],
            method: Method::Form(&revocation::form(key, settings.terms.client_id.as_deref())),
        })?;
        revocation::confirmed(&reply)
    }

    /// A redactor that knows the secrets of the settings.
    fn redactor(&self, settings: &Settings) -> Redactor {
        let mut redactor = Redactor::default();
        if let Some(password) = settings.proxies.password_for(settings.server.url()) {
            redactor.add(&password);
            self.learn(&password);
        }
        redactor
    }
}

/// The audience that a provider's token must have. Workbench is not asked for one, so its token is
/// held against an audience only where somebody names one.
fn audience_to_hold(provider: Provider, settings: &Settings) -> Option<&str> {
    let is_asked = provider != Provider::Workbench || settings.audience_named;
    is_asked.then_some(&*settings.audience)
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

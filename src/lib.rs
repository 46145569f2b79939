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

mod caller;
mod check;
mod cli;
mod clock;
mod command;
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
mod revocation;
mod secret;
mod server;
mod settings;
mod words;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

pub use clock::Clock;

use caller::{Caller, Log, append, logger, print, tell};
use cli::{Typed, Verb};
use clock::Deadline;
use command::Command;
use error::{Code, Error};
use expiry::Expiry;
use format::{Credential, Format, Question, bazel, git, github, json, kubernetes};
use http::{Http, Method, Request};
use identity::{Claims, Fetch, Plan, Provider, Source};
use secret::{Secret, SubjectToken};
use server::{Endpoint, ServerUrl};
use settings::{Environment, Field, Layer, Settings};
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
    if let Some(text) = cli::information(&invocation.args) {
        let printed = print(&mut invocation.stdout, text.as_bytes());
        return End::Exit(printed.map_or_else(|error| error.exit_status, |()| 0));
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
    let stderr = Arc::new(Mutex::new(invocation.stderr));
    let mut caller = Caller {
        stdin: Some(invocation.stdin),
        stdin_is_terminal: invocation.stdin_is_terminal,
        env,
        clock: invocation.clock,
        started: invocation.started,
        seed: invocation.seed,
        log: logger(typed.verbose, stderr.clone()),
    };
    match caller.answer(typed, format, &mut invocation.stdout) {
        Ok(end) => end,
        Err(error) => {
            if tells_failure && error.code != Code::Output {
                // Whether or not it can be told there, stderr and the exit status tell it.
                let _ = print(&mut invocation.stdout, &format.render_failure(&error));
            }
            tell(&stderr, &error);
            End::Exit(error.exit_status)
        }
    }
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
            let command = command.with(&credential, &settings, &self.env);
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

    /// What the caller asks: the layers of settings above the environment, and the question of
    /// the format.
    fn asked(
        &mut self,
        options: Layer,
        verb: Option<Verb>,
        format: Format,
        for_command: bool,
    ) -> Result<Asked, Error> {
        let mut asked = Asked {
            layers: vec![options],
            question: Question::Plain,
            refused_key: None,
        };
        let Some(verb) = verb else {
            if format == Format::Kubernetes
                && !for_command
                && let Some(info) = self.env.get(kubernetes::EXEC_INFO)
            {
                // What is not UTF-8 is no JSON either, and is told as such.
                let (version, layer) = kubernetes::read_request(&info.to_string_lossy())?;
                asked.question = Question::Kubernetes(version);
                asked.layers.push(layer);
            }
            return Ok(asked);
        };
        format.admits(verb)?;
        let uses_stdin = |layer: &Layer| layer.get(Field::IdentityToken).is_some_and(|t| t == "-");
        if asked.layers.iter().any(uses_stdin) {
            return Err(Error::usage(
                "stdin cannot carry both the request and, for --identity-token -, the token",
            ));
        }
        if verb == Verb::Other {
            return Ok(asked);
        }
        if format == Format::Json && self.stdin_is_terminal {
            return Err(
                Error::usage("a verb reads a request from stdin, which is a terminal")
                    .hint(r#"call it like this: echo '{"version":1}' | connect-credential get"#)
                    .hint("without a verb, options and environment variables are enough"),
            );
        }
        let mut stdin = self.stdin(self.deadline(settings::timeout(&asked.layers)))?;
        match format {
            Format::Git => {
                let question = git::read_request(&mut stdin)?;
                asked.refused_key = question.refused_key();
                asked.question = Question::Git(question);
            }
            Format::Bazel => asked.question = Question::Bazel(bazel::read_request(&mut stdin)?),
            _ => {
                let request = json::read_request(&mut stdin)?;
                asked.layers.push(json::layer(&request)?);
                asked.refused_key = json::refused_key(&request)?;
            }
        }
        Ok(asked)
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

    /// The credential: subject token beside metadata, exchange, check.
    fn credential(&mut self, settings: &Settings) -> Result<Credential, Error> {
        let deadline = self.deadline(settings.timeout);
        let http = Arc::new(self.http(settings, deadline)?);
        let (subject_token, place) = self.token_and_place(settings, &http, deadline)?;
        let mut redactor = self.redactor(settings).with(&subject_token.0);

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
        let expires_at = match issued.expires_in {
            Some(life) => Some(Expiry::after(reply.sent, life)),
            None if settings.source.is_federated() => {
                claims.and_then(|claims| claims.moment("exp"))
            }
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
        deadline: Deadline,
    ) -> Result<(SubjectToken, Place), Error> {
        let place = PlaceOf::new(settings);
        let log = self.log.clone();
        let subject_token = match &settings.source {
            Source::Token(token) => token.clone(),
            Source::File(path) => identity::from_file(path, deadline)?,
            Source::Stdin => identity::from_stdin(&mut self.stdin(deadline)?)?,
            Source::Nothing { automatic } => {
                return Err(identity::nothing(*automatic, &self.env));
            }
            Source::Provider(provider) => {
                let provider = *provider;
                (self.log)(&format!("the identity provider is {}", provider.name()));
                let token = match provider.plan(&self.env, &settings.audience)? {
                    Plan::Token(token) => token,
                    Plan::Run(program) => identity::run(provider, program, &self.env, deadline)?,
                    Plan::Fetch(fetch) => {
                        let mint = self.mint(provider, fetch, settings, deadline);
                        let http = http.clone();
                        return side_by_side(mint, move || place.find(&http, &log));
                    }
                };
                audience_rule(provider, &token, settings)?;
                token
            }
        };
        Ok((subject_token, place.find(http, &log)?))
    }

    /// The request for a provider's token, to be made on a thread of its own.
    fn mint(
        &self,
        provider: Provider,
        fetch: Fetch,
        settings: &Settings,
        deadline: Deadline,
    ) -> impl FnOnce() -> Result<SubjectToken, Error> + Send + 'static {
        let proxies = match fetch.proxied {
            true => settings.proxies.clone(),
            false => proxy::Proxies::default(),
        };
        let mut redactor = Redactor::default();
        redactor.add_all(proxies.password_for(&fetch.url));
        redactor.add_all(fetch.secret.clone());
        let http = self.provider_http(proxies, deadline);
        let audience = (
            settings.audience.clone(),
            holds_audience(provider, settings),
        );
        move || {
            let token = identity::fetch(provider, &fetch, &http, &redactor)?;
            if audience.1 {
                identity::check_audience(provider, &token, &audience.0)?;
            }
            Ok(token)
        }
    }

    /// Revokes a key, where the server has a place for that.
    fn revoke(&self, settings: &Settings, key: &Secret) -> Result<(), Error> {
        let deadline = self.deadline(settings.timeout);
        let http = self.http(settings, deadline)?;
        let found = match discovery::discover(&http, settings.server.clone()) {
            Err(error) if error.code == Code::UnsupportedServer => return Ok(()),
            found => found?,
        };
        let (server, metadata) = found;
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
        redactor.add_all(settings.proxies.password_for(settings.server.url()));
        redactor
    }
}

/// What the caller asks beside the environment.
struct Asked {
    layers: Vec<Layer>,
    question: Question,
    /// With `erase`, the key that the server no longer takes.
    refused_key: Option<Secret>,
}

/// Whether a provider's token is held against the audience. Workbench is not asked for one, so
/// its token is held against an audience only where somebody names one.
fn holds_audience(provider: Provider, settings: &Settings) -> bool {
    provider != Provider::Workbench || settings.audience_named
}

fn audience_rule(
    provider: Provider,
    token: &SubjectToken,
    settings: &Settings,
) -> Result<(), Error> {
    match holds_audience(provider, settings) {
        true => identity::check_audience(provider, token, &settings.audience),
        false => Ok(()),
    }
}

/// Does both at once. The first failure is told without waiting for the other; on a tie it is
/// the token's.
fn side_by_side(
    mint: impl FnOnce() -> Result<SubjectToken, Error> + Send + 'static,
    find: impl FnOnce() -> Result<Place, Error> + Send + 'static,
) -> Result<(SubjectToken, Place), Error> {
    let (minted, token) = mpsc::sync_channel(1);
    let (found, place) = mpsc::sync_channel(1);
    let (done, either) = mpsc::sync_channel(2);
    let unable = |_| Error::new(Code::Unavailable, "no thread can be started");
    let other_done = done.clone();
    // Nobody waits any more for what comes after a failure.
    thread::Builder::new()
        .spawn(move || {
            let _ = minted.send(mint());
            let _ = done.send(());
        })
        .map_err(unable)?;
    thread::Builder::new()
        .spawn(move || {
            let _ = found.send(find());
            let _ = other_done.send(());
        })
        .map_err(unable)?;
    let (mut its_token, mut its_place) = (None, None);
    while its_token.is_none() || its_place.is_none() {
        let lost = |_| Error::new(Code::Unavailable, "a thread ended without a result");
        either.recv().map_err(lost)?;
        if let Ok(minted) = token.try_recv() {
            its_token = Some(minted?);
        }
        if let Ok(found) = place.try_recv() {
            its_place = Some(found?);
        }
    }
    its_token
        .zip(its_place)
        .ok_or_else(|| Error::new(Code::Unavailable, "a thread ended without a result"))
}

/// Below a Connect server's URL, where its user federation takes a person's token.
const FEDERATION: &str = "__api__/v1/oauth/integrations/credentials";

/// The way to where the token goes: what the operator named, Connect's user federation, or what
/// the server's metadata says under the endpoint rule.
struct PlaceOf {
    server: ServerUrl,
    known: Option<Endpoint>,
}

impl PlaceOf {
    fn new(settings: &Settings) -> Self {
        let server = settings.server.clone();
        let known = match &settings.token_endpoint {
            None if settings.source.is_federated() => {
                Some(Endpoint::of_connect(&server, FEDERATION))
            }
            named => named.clone(),
        };
        Self { server, known }
    }

    fn find(self, http: &Http, log: &Log) -> Result<Place, Error> {
        if let Some(token_endpoint) = self.known {
            return Ok(Place {
                server: self.server,
                token_endpoint,
                elsewhere: None,
            });
        }
        let (server, metadata) = discovery::discover(http, self.server)?;
        let advertised = metadata.token_endpoint(&server)?;
        let elsewhere = advertised
            .elsewhere
            .map(|origin| Redactor::default().quote(&origin));
        if let Some(origin) = &elsewhere {
            log(&format!(
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
            "the metadata names {origin} as the token endpoint's origin, and the token was sent to \
             {} instead; if it belongs there, name it with --token-endpoint",
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

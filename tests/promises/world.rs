//! The world of a test: a Connect server, a token, and the program called with both.
//!
//! Every call is held to what is promised of all of them: a whole document or nothing, no secret
//! where it does not belong, no control character, no line without end.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::certs::Ca;
use crate::support::jwt::{github_claims, jwt};
use crate::support::process::{Outcome, Run, Running, Stdin};
use crate::support::server::{Builder, Reply, Server, Step, get, post};

pub const KEY: &str = "Zq83hfkLmn20sQkxPqsA7c1f4a539f0e";
pub const METADATA: &str = "/.well-known/oauth-authorization-server";
pub const TOKEN_ENDPOINT: &str = "/__api__/v1/oauth/token";
pub const USER: &str = "/__api__/v1/user";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A GitHub token for the audience that Connect expects.
pub fn token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| jwt(&github_claims("connect")))
}

/// A new file with this content.
pub fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}-{name}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A new folder.
pub fn folder(name: &str) -> String {
    let path = file(name, "");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    path
}

/// The file of the CA that the servers' certificates are from.
pub fn ca_file() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| file("ca.pem", Ca::shared().pem()))
}

pub fn token_file() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| file("token.jwt", format!("{}\n", token())))
}

/// What a Connect server says of itself.
pub fn metadata() -> Value {
    json!({
        "issuer": "{origin}",
        "token_endpoint": format!("{{origin}}{TOKEN_ENDPOINT}"),
        "grant_types_supported": ["authorization_code", TOKEN_EXCHANGE],
    })
}

pub fn issued() -> Value {
    json!({
        "access_token": KEY,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Key",
        "expires_in": 3600,
    })
}

pub fn discovery() -> Step {
    get(METADATA).reply(Reply::json(200, metadata()))
}

pub fn exchange() -> Step {
    post(TOKEN_ENDPOINT).reply(Reply::json(200, issued()))
}

/// A server that is asked for its metadata and exchanges one token.
pub fn connect() -> Builder {
    Server::tls().step(discovery()).step(exchange())
}

/// A server that exchanges any number of tokens.
pub fn open_connect() -> Builder {
    Server::tls().route(discovery()).route(exchange())
}

/// A server that is asked for its metadata, and answers the exchange like this.
pub fn answering(reply: Reply) -> Builder {
    Server::tls()
        .step(discovery())
        .step(post(TOKEN_ENDPOINT).reply(reply))
}

/// A refusal as OAuth spells it.
pub fn refusing(error: &str, description: &str) -> Builder {
    let refusal = json!({"error": error, "error_description": description});
    answering(Reply::json(400, refusal))
}

/// A call of the program.
pub struct Call {
    run: Run,
    format: String,
    secrets: Vec<String>,
}

/// Whether every call is made with `--verbose`: the whole suite a second time, so that what is
/// told of the steps is held to the same promises in every case.
pub fn is_verbose() -> bool {
    std::env::var_os("TEST_VERBOSE").is_some()
}

/// The program with nothing but these arguments.
pub fn call(args: &[&str]) -> Call {
    let format = args
        .windows(2)
        .find(|pair| matches!(pair[0], "-f" | "--format"))
        .map_or("json", |pair| pair[1]);
    let verbose: &[&str] = if is_verbose() { &["-v"] } else { &[] };
    let run = Run::new(env!("CARGO_BIN_EXE_connect-credential"));
    Call {
        run: run.args(verbose).args(args),
        format: format.into(),
        secrets: vec![token().into(), KEY.into()],
    }
}

/// The program pointed at a URL of a server, with the token itself.
pub fn call_to(url: &str) -> Call {
    call(&[
        "-s",
        url,
        "--cacert",
        ca_file(),
        "--identity-token",
        token(),
    ])
}

/// The program pointed at a server, with the token in a file.
pub fn call_at(server: &Server, args: &[&str]) -> Call {
    call(args)
        .args(&["-s", &server.url(), "--cacert", ca_file()])
        .args(&["--identity-token-file", token_file()])
}

impl Call {
    pub fn args(mut self, args: &[&str]) -> Self {
        self.run = self.run.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.run = self.run.env(name, value);
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdin>) -> Self {
        self.run = self.run.stdin(stdin);
        self
    }

    /// Something else that may be shown nowhere.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// For a test that acts while the program runs; what is promised of every call is then left
    /// to the test.
    pub fn spawn(self) -> Running {
        self.run.spawn()
    }

    /// As `spawn`, for a test of signals.
    pub fn spawn_with_usual_signals(self) -> Running {
        self.run.usual_signals().spawn()
    }

    pub fn run(self) -> Outcome {
        let Self {
            run,
            format,
            secrets,
        } = self;
        let mut outcome = run.run();
        assert!(!outcome.killed, "the program hung: {outcome:#?}");
        assert_eq!(outcome.signal, None, "{outcome:#?}");
        let status = outcome.status.unwrap();
        assert!((0..=6).contains(&status) || status >= 100, "{outcome:#?}");
        for secret in &secrets {
            assert_hidden(secret, &outcome.stderr);
            if status != 0 {
                assert_hidden(secret, &outcome.text());
            }
        }
        assert_clean(&outcome.stderr);
        if is_verbose() {
            outcome.stderr = without_steps(&outcome.stderr, status);
        }
        if status != 0 {
            assert_clean(&outcome.text());
            assert!(
                outcome.stderr.starts_with("connect-credential: "),
                "{outcome:#?}"
            );
            assert_failure(&format, &outcome);
        }
        outcome
    }

    /// Runs it, and expects this failure.
    pub fn fails(self, status: i32, code: &str) -> Outcome {
        let is_json = self.format == "json";
        let outcome = self.run();
        assert_eq!(outcome.status, Some(status), "{outcome:#?}");
        if is_json {
            assert_eq!(outcome.code(), code, "{outcome:#?}");
        }
        outcome
    }

    /// Runs it, and expects success, with nothing on stderr.
    pub fn succeeds(self) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.status, Some(0), "{outcome:#?}");
        assert_eq!(outcome.stderr, "", "{outcome:#?}");
        outcome
    }
}

/// Fails where 12 characters of a secret, as they are or percent-encoded, stand in a text.
pub fn assert_hidden(secret: &str, text: &str) {
    // The claims of a JWT may be told; its signature and its encoded segments may not.
    for piece in secret.as_bytes().windows(12.min(secret.len())) {
        let piece = String::from_utf8_lossy(piece);
        assert!(
            !text.contains(&*piece),
            "{piece} of a secret is shown in:\n{text}"
        );
    }
    let encoded: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for piece in encoded.as_bytes().windows(36.min(encoded.len())) {
        let piece = String::from_utf8_lossy(piece);
        assert!(
            !text.contains(&*piece),
            "{piece} of a secret is shown in:\n{text}"
        );
    }
}

/// Fails at a control character but the line feed, and at a line without end.
pub fn assert_clean(text: &str) {
    for line in text.lines() {
        assert!(
            !line.contains(char::is_control),
            "a control character in {line:?}"
        );
        assert!(line.chars().count() < 4_000, "a line without end: {line:?}");
    }
}

/// What is on stderr without `--verbose`: nothing on success, else the last message and its hints.
fn without_steps(stderr: &str, status: i32) -> String {
    match stderr.rfind("connect-credential: ") {
        Some(message) if status != 0 => stderr[message..].to_owned(),
        _ => String::new(),
    }
}

/// On failure stdout is one whole document or nothing, by the format.
fn assert_failure(format: &str, outcome: &Outcome) {
    match format {
        "json" => {
            let document = outcome.json();
            let error = document["error"].as_object().expect("an error object");
            let keys: Vec<&str> = error.keys().map(String::as_str).collect();
            let all = [
                "code",
                "hints",
                "http_status",
                "message",
                "oauth_error",
                "retryable",
            ];
            assert_eq!(keys, all, "{outcome:#?}");
            assert_eq!(document["version"], 1);
            assert!(outcome.stdout.ends_with(b"}\n"));
        }
        "env" => {
            let expected = format!("(exit {})\n", outcome.status.unwrap());
            assert_eq!(outcome.text(), expected);
        }
        _ => assert_eq!(outcome.text(), ""),
    }
}

/// Whether a program is on the `PATH`.
pub fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether a program is there; where it is not, says which test was not run, and in CI, which
/// installs every program, fails.
pub fn is_installed(program: &str, what: &str) -> bool {
    let is_there = is_on_path(program);
    if !is_there {
        not_run(program, what);
    }
    is_there
}

/// Where a program of the Python clients would be: in the virtual environment that
/// `CONNECT_CREDENTIAL_CLIENTS` names, or in `target/clients`.
pub fn python_program(program: &str) -> PathBuf {
    let folder = std::env::var_os("CONNECT_CREDENTIAL_CLIENTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/clients"),
        PathBuf::from,
    );
    folder.join("bin").join(program)
}

/// Says that a test could not run for want of a program.
pub fn not_run(program: &str, what: &str) {
    assert!(
        std::env::var("CI").is_err(),
        "{program} is not installed: {what}"
    );
    // Past the macros, whose words a test that passes does not show.
    let line = format!("{program} is not installed: {what} was not run\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
}

/// What a reader would have seen. Ports and times differ from run to run.
pub fn transcript(server: &Server, args: &[&str], outcome: &Outcome) -> String {
    let text = format!(
        "$ connect-credential {}\n{}{}exit status {}\n",
        args.join(" "),
        outcome.text(),
        outcome
            .stderr
            .lines()
            .map(|line| format!("stderr: {line}\n"))
            .collect::<String>(),
        outcome.status.unwrap()
    );
    let text = text.replace(&server.url(), "https://connect.example.com");
    steady(&text)
}

/// A text without what differs from run to run: what the token has left, and moments.
pub fn steady(text: &str) -> String {
    let text = with_time_left(text);
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = if is_time(rest) {
            shown.push_str("2026-11-23T22:00:00Z");
            20
        } else {
            shown.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    shown
}

/// The token was made when the first test asked for it; what it has left is then four minutes.
pub fn with_time_left(text: &str) -> String {
    (0..=5).fold(text.to_owned(), |text, left| {
        text.replace(&format!("expires in {left} min"), "expires in 4 min")
    })
}

fn is_time(text: &str) -> bool {
    let shape = "0000-00-00T00:00:00Z";
    text.len() >= shape.len()
        && text
            .bytes()
            .zip(shape.bytes())
            .all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                _ => byte == shape,
            })
}

/// Seconds since 1970, now.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Seconds since 1970 of a time as the program prints it, by a way that is not the program's.
pub fn unix(time: &str) -> u64 {
    let parts: Vec<u64> = time
        .split(['-', 'T', ':', 'Z'])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap())
        .collect();
    let [year, month, day, hour, minute, second] = parts[..] else {
        panic!("{time} is not a time")
    };
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let years: u64 = (1970..year)
        .map(|year| 365 + u64::from(is_leap(year)))
        .sum();
    let lengths = [
        31,
        28 + u64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ];
    let days = years + lengths.iter().take(month as usize - 1).sum::<u64>() + day - 1;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

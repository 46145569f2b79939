//! Any RFC 8693 server: the recipes of `protocol.md`, and what each puts on the wire.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::documents::{PROTOCOL, README};
use crate::support::server::{Reply, Server, post};
use crate::world::*;

/// A recipe of `protocol.md`: its options, and the form behind the token.
fn recipe(name: &str) -> (String, String) {
    let start = format!("| {name} | ");
    let line = PROTOCOL
        .lines()
        .find(|line| line.starts_with(&start))
        .unwrap();
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
    let text = |cell: &str| cell.trim().trim_matches('`').to_owned();
    (text(cells[1]), text(cells[2]))
}

/// Runs a recipe at a server of the test's, holds the form against the recipe's, and returns it
/// with what `-f header` printed.
fn run_recipe(name: &str, target: &str) -> (Vec<(String, String)>, String) {
    let mut answer = issued();
    answer["token_type"] = json!("N_A");
    let server = Server::tls()
        .step(post(target).reply(Reply::json(200, answer)))
        .start();
    let (options, expected) = recipe(name);
    let mut options: Vec<String> = options.split(' ').map(str::to_owned).collect();
    let endpoint = options
        .iter()
        .position(|word| word == "--token-endpoint")
        .unwrap()
        + 1;
    let path: String = options[endpoint].splitn(4, '/').skip(3).collect();
    options[endpoint] = format!("{}/{path}", server.url());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let outcome = call(&options)
        .args(&[
            "-f",
            "header",
            "-c",
            ca_file(),
            "--identity-token-file",
            token_file(),
        ])
        .succeeds();
    let form = server.requests()[0].form();
    let shown: Vec<String> = form[2..].iter().map(|(a, b)| format!("{a}={b}")).collect();
    assert_eq!(shown.join(" "), expected, "{name}");
    (form, outcome.text())
}

#[test]
fn the_recipe_of_the_readme_is_the_protocols() {
    let (options, _) = recipe("Databricks");
    assert!(README.contains(&format!("    connect-credential {options}\n")));
}

fn assert_form(form: &[(String, String)], expected: &[(&str, &str)]) {
    let form: Vec<(&str, &str)> = form.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(form, expected);
}

const GRANT: (&str, &str) = (
    "grant_type",
    "urn:ietf:params:oauth:grant-type:token-exchange",
);
const JWT: (&str, &str) = ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
const ACCESS_TOKEN: (&str, &str) = (
    "requested_token_type",
    "urn:ietf:params:oauth:token-type:access_token",
);

#[test]
fn databricks() {
    let (form, header) = run_recipe("Databricks", "/oidc/v1/token");
    let own = ("subject_token", token());
    assert_form(
        &form,
        &[
            GRANT,
            own,
            JWT,
            ACCESS_TOKEN,
            ("client_id", "ID"),
            ("scope", "all-apis"),
        ],
    );
    assert_eq!(header, format!("Authorization: Bearer {KEY}\n"));
}

#[test]
fn google_sts() {
    let (form, _) = run_recipe("Google STS", "/v1/token");
    let pool = "//iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/POOL\
                /providers/P";
    assert_form(
        &form,
        &[
            GRANT,
            ("subject_token", token()),
            JWT,
            ACCESS_TOKEN,
            ("audience", pool),
            ("scope", "https://www.googleapis.com/auth/cloud-platform"),
        ],
    );
}

#[test]
fn pulumi() {
    let (form, header) = run_recipe("Pulumi", "/api/oauth/token");
    assert_form(
        &form,
        &[
            GRANT,
            ("subject_token", token()),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:id_token",
            ),
            (
                "requested_token_type",
                "urn:pulumi:token-type:access_token:organization",
            ),
            ("audience", "urn:pulumi:org:NAME"),
        ],
    );
    assert_eq!(header, format!("Authorization: token {KEY}\n"));
}

#[test]
fn every_format_works_with_any_server() {
    for (format, words) in [
        ("json", "\"server\":\"https://localhost:"),
        ("kubernetes", "\"token\":"),
        ("aws", "\"AccessKeyId\":\"localhost\""),
        ("git", "password="),
        ("bazel", "\"Bearer "),
        ("env", "CONNECT_SERVER='https://localhost:"),
    ] {
        let server = Server::tls()
            .step(post("/a/token?b=c").reply(Reply::json(200, issued())))
            .start();
        let endpoint = format!("{}/a/token?b=c", server.url());
        let outcome = call(&[
            "-f",
            format,
            "--token-endpoint",
            &endpoint,
            "--scheme",
            "Bearer",
        ])
        .args(&["-c", ca_file(), "--identity-token", token()])
        .succeeds();
        assert!(outcome.text().contains(words), "{format}: {outcome:?}");
    }
}

#[test]
fn an_endpoint_that_was_named_may_be_at_another_origin() {
    let server = Server::tls().start();
    let sts = Server::tls()
        .step(post("/token").reply(Reply::json(200, issued())))
        .start();
    let endpoint = format!("{}/token", sts.url());
    let document = call_at(&server, &["--token-endpoint", &endpoint])
        .succeeds()
        .json();
    assert_eq!(document["server"], format!("{}/", server.url()));
    assert_eq!(server.connections(), 0);

    call_at(&server, &["--token-endpoint", &endpoint])
        .env("CONNECT_ALLOWED_SERVERS", &server.url())
        .fails(2, "server_not_allowed");
    assert_eq!(sts.requests().len(), 1);
}

/// npm's `oidc-provider` with a token-exchange grant, where it is, and two tokens.
struct Independent {
    process: Child,
    origin: String,
    good: String,
    forged: String,
}

impl Independent {
    fn start(what: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc-provider");
        if !is_installed("node", what) {
            return None;
        }
        if !folder.join("node_modules/oidc-provider").is_dir() {
            not_run("oidc-provider (npm ci in tests/oidc-provider)", what);
            return None;
        }
        let mut process = Command::new("node")
            .arg("server.mjs")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Some(Self {
            process,
            origin: text("origin"),
            good: text("good"),
            forged: text("forged"),
        })
    }

    fn exchange(&self, token: &str, args: &[&str]) -> Call {
        call(&["-s", &self.origin, "--insecure", "--identity-token", token])
            .args(args)
            .secret(token)
    }
}

impl Drop for Independent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_independent_server_exchanges_a_real_token_and_refuses_a_forged_one() {
    let Some(server) = Independent::start("the exchange with npm's oidc-provider") else {
        return;
    };
    let args = ["--client-id", "ci", "--param", "scope=publish"];
    let document = server.exchange(&server.good, &args).succeeds().json();
    assert!(
        document["api_key"].as_str().unwrap().len() > 20,
        "{document}"
    );
    assert!(document["expires_at"].is_string(), "{document}");

    let outcome = server
        .exchange(&server.forged, &args)
        .fails(4, "verification_failed");
    for words in [
        "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
        "iss=https://ci.example",
    ] {
        assert!(outcome.stderr.contains(words), "{outcome:?}");
    }
    let outcome = server
        .exchange(&server.good, &["--client-id", "nobody"])
        .fails(4, "refused");
    assert_eq!(outcome.json()["error"]["oauth_error"], "invalid_client");
}

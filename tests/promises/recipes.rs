//! Any RFC 8693 server: the recipes of `protocol.md`, and what each puts on the wire.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use snapbox::assert_data_eq;

use crate::documents::{PROTOCOL, rows};
use crate::support::server::{Reply, Server, post};
use crate::world::*;

/// A recipe of `protocol.md`: its options, and the form behind the token.
fn recipe(name: &str) -> (String, String) {
    let recipes = rows(PROTOCOL, "| server | options | form |");
    let row = recipes.iter().find(|row| row[0] == name).unwrap();
    let text = |cell: &str| cell.trim_matches('`').to_owned();
    (text(&row[1]), text(&row[2]))
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

#[test]
fn the_formats_have_the_endpoints_origin_for_the_server() {
    for format in ["json", "kubernetes", "aws", "header"] {
        let server = Server::tls()
            .step(post("/oidc/v1/token").reply(Reply::json(200, issued())))
            .start();
        let endpoint = format!("{}/oidc/v1/token", server.url());
        let args = [
            "-f",
            format,
            "--scheme",
            "Bearer",
            "--token-endpoint",
            &endpoint,
        ];
        let outcome = call(&args)
            .env("CONNECT_CA_CERTIFICATE", ca_file())
            .env("CONNECT_IDENTITY_TOKEN_FILE", token_file())
            .succeeds();
        let seen = transcript(&server, &args, &outcome).replace("\"localhost\"", "\"HOST\"");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("recipe-{format}.txt"));
        assert_data_eq!(seen, snapbox::Data::read_from(&golden, None).raw());
    }
}

#[test]
fn the_form_is_the_recipes_to_the_byte() {
    let server = Server::tls()
        .step(post("/v1/token").reply(Reply::json(200, issued())))
        .start();
    let endpoint = format!("{}/v1/token", server.url());
    call(&["--token-endpoint", &endpoint, "-c", ca_file()])
        .args(&["--identity-token", "opaque/token+1="])
        .args(&["--client-id", "a b&c", "--param", "scope=one two"])
        .args(&["--param", "resource=https://a/?x=1", "--param", "resource="])
        .succeeds();
    let request = &server.requests()[0];
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
         &subject_token=opaque%2Ftoken%2B1%3D\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token\
         &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
         &client_id=a+b%26c&scope=one+two&resource=https%3A%2F%2Fa%2F%3Fx%3D1&resource="
    );
    assert_eq!(
        request.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[test]
fn no_param_replaces_a_field_of_the_exchanges_own() {
    let server = Server::tls().start();
    let endpoint = format!("{}/token", server.url());
    for field in [
        "grant_type",
        "subject_token",
        "subject_token_type",
        "requested_token_type",
        "client_id",
    ] {
        call(&["--token-endpoint", &endpoint, "-c", ca_file()])
            .args(&["--identity-token", token()])
            .args(&["--param", &format!("{field}=x")])
            .fails(2, "usage");
        let request = json!({"version": 1, "token_endpoint": endpoint, "params": {field: "x"}});
        call(&["get", "-c", ca_file(), "--identity-token", token()])
            .stdin(request.to_string())
            .fails(2, "bad_request");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_endpoint_without_https_needs_insecure() {
    let server = Server::plain()
        .step(post("/token").reply(Reply::json(200, issued())))
        .start();
    let endpoint = format!("{}/token", server.url());
    let at = |args| {
        call(args)
            .args(&["--token-endpoint", &endpoint])
            .args(&["--identity-token", token()])
    };
    at(&[]).fails(2, "usage");
    assert_eq!(server.connections(), 0);
    let document = at(&["--insecure"]).succeeds().json();
    assert_eq!(document["server"], format!("{}/", server.url()));
}

#[test]
fn the_allowed_servers_hold_for_an_endpoint_before_its_token_is_read() {
    let server = Server::tls()
        .step(post("/token").reply(Reply::json(200, issued())))
        .start();
    let endpoint = format!("{}/token", server.url());
    let at = |allowed: &str, file: &str| {
        call(&["--token-endpoint", &endpoint, "-c", ca_file()])
            .args(&["--identity-token-file", file])
            .env("CONNECT_ALLOWED_SERVERS", allowed)
    };
    at("https://other.example", "/nonexistent").fails(2, "server_not_allowed");
    assert_eq!(server.connections(), 0);
    at(&format!("https://o.example,{}", server.url()), token_file()).succeeds();
}

/// npm's `oidc-provider` with a token-exchange grant, where it is, and two tokens.
struct Independent {
    process: Child,
    origin: String,
    good: String,
    forged: String,
    expired: String,
    elsewhere: String,
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
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told: Value = serde_json::from_str(&line).expect("what it says on stderr is why");
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Some(Self {
            process,
            origin: text("origin"),
            good: text("good"),
            forged: text("forged"),
            expired: text("expired"),
            elsewhere: text("elsewhere"),
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
    for (token, why) in [
        (&server.expired, "ERR_JWT_EXPIRED"),
        (&server.elsewhere, "ERR_JWT_CLAIM_VALIDATION_FAILED"),
    ] {
        let outcome = server
            .exchange(token, &args)
            .fails(4, "verification_failed");
        assert!(outcome.stderr.contains(why), "{outcome:?}");
    }
    let outcome = server
        .exchange(&server.good, &["--client-id", "ci", "--param", "scope=all"])
        .fails(4, "refused");
    assert_eq!(outcome.json()["error"]["oauth_error"], "invalid_scope");
    let outcome = server
        .exchange(&server.good, &["--client-id", "nobody"])
        .fails(4, "refused");
    assert_eq!(outcome.json()["error"]["oauth_error"], "invalid_client");
}

//! Any RFC 8693 server: the recipes of `protocol.md`, and what each puts on the wire.

use serde_json::json;

use crate::support::server::{Reply, Server, post};
use crate::world::*;

const PROTOCOL: &str = include_str!("../../protocol.md");

/// The options of a recipe, with the test's server for the recipe's.
fn recipe(name: &str, server: &Server) -> Vec<String> {
    let start = format!("| {name} | `");
    let line = PROTOCOL
        .lines()
        .find(|line| line.starts_with(&start))
        .unwrap();
    let options = line[start.len()..].trim_end_matches("` |");
    let mut words: Vec<String> = options.split(' ').map(str::to_owned).collect();
    let place = words
        .iter()
        .position(|word| word == "--token-endpoint")
        .unwrap()
        + 1;
    let path: String = words[place].splitn(4, '/').skip(3).collect();
    words[place] = format!("{}/{path}", server.url());
    words
}

/// Runs a recipe, and returns its form and what `-f header` printed.
fn run_recipe(name: &str, target: &str) -> (Vec<(String, String)>, String) {
    let mut answer = issued();
    answer["token_type"] = json!("N_A");
    let server = Server::tls()
        .step(post(target).reply(Reply::json(200, answer)))
        .start();
    let options = recipe(name, &server);
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
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    (server.requests()[0].form(), outcome.text())
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

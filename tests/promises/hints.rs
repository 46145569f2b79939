//! What else a refusal tells: odd claims, long words, and each thing that can be done about it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use snapbox::{assert_data_eq, file as golden};

use crate::support::jwt::{github_claims, jwt, signature_of};
use crate::support::process::Outcome;
use crate::support::server::{Builder, Reply, Server, get, post};
use crate::world::*;

/// The server's clock in these tests.
const DATE: &str = "Mon, 23 Nov 2026 22:00:00 GMT";

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A GitHub token that lives for some more minutes, with these claims changed or added.
fn github(changes: Value) -> String {
    let mut claims = github_claims("connect");
    claims["exp"] = json!(now() + 330);
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    jwt(&claims)
}

/// A token as GitLab gives it.
fn gitlab() -> String {
    jwt(&json!({
        "iss": "https://gitlab.example.com",
        "sub": "project_path:acme/app:ref_type:branch:ref:main",
        "aud": ["connect"],
        "project_path": "acme/app",
        "ref": "main",
        "environment": "production",
        "nbf": now() - 5,
        "exp": now() + 3_630,
    }))
}

fn sending(server: &Server, token: &str) -> Call {
    call(&["-s", &server.url(), "--cacert", ca_file()])
        .args(&["--identity-token-file", &file("token.jwt", token)])
        .secret(token)
}

/// Sends a token to a server, and expects this refusal.
fn refused(server: Builder, token: &str, status: i32, code: &str) -> Outcome {
    let server = server.start();
    let outcome = sending(&server, token).fails(status, code);
    assert_eq!(outcome.json()["error"]["retryable"], false);
    outcome
}

/// A refusal that says this, by a server whose clock stands still.
fn saying(error: &str, description: &str) -> Builder {
    let refusal = json!({"error": error, "error_description": description});
    answering(Reply::json(400, refusal).header("Date", DATE))
}

/// What a person reads, with what differs from run to run made equal.
fn transcript(outcome: &Outcome) -> String {
    let mut text = String::new();
    for line in outcome.stderr.lines() {
        let words = line.split(' ').map(|word| match word {
            time if time.len() == 20 && time.starts_with("20") && time.ends_with('Z') => "NOW",
            word => word,
        });
        text += &words.collect::<Vec<_>>().join(" ");
        text.push('\n');
    }
    // A token that has half a minute to live loses some of it on its way.
    for left in 15..30 {
        text = text.replace(&format!(" {left} s"), " 30 s");
    }
    format!("{text}exit status {}\n", outcome.status.unwrap())
}

fn no_match(token: &str) -> Outcome {
    refused(
        saying("invalid_grant", "no matching trusted publisher"),
        token,
        4,
        "no_match",
    )
}

/// Expects all of these in what is told.
fn tells(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(outcome.stderr.contains(word), "no {word:?} in {outcome:#?}");
    }
}

const SIGN_IN: &str = "sign-in page";
const REQUIREMENT: [&str; 2] = ["2026.07", "Enhanced or Advanced"];

#[test]
fn a_token_of_another_system_is_told_alike() {
    assert_data_eq!(
        transcript(&no_match(&gitlab())),
        golden!["../golden/refusal-gitlab.txt"].raw()
    );
}

#[test]
fn another_refusal_shows_the_servers_word_and_the_token() {
    let server = saying("invalid_request", "subject_token_type is not supported");
    let outcome = refused(server, &github(json!({})), 4, "refused");
    assert_data_eq!(
        transcript(&outcome),
        golden!["../golden/refusal-refused.txt"].raw()
    );
    for status in [401, 403] {
        let outcome = refused(
            answering(Reply::html(status, "<h1>No</h1>")),
            &github(json!({})),
            4,
            "refused",
        );
        assert_eq!(outcome.json()["error"]["http_status"], status);
        tells(&outcome, &["sub=repo:acme/app:ref:refs/heads/main"]);
    }
}

#[test]
fn a_customised_subject_gets_the_exact_value_to_register() {
    let outcome = no_match(&github(json!({"sub": "repository_owner:acme:job:release"})));
    tells(
        &outcome,
        &[
            "Custom OpenID Connect",
            "repository_owner:acme:job:release\n",
        ],
    );
}

#[test]
fn a_token_with_odd_claims_is_told_as_far_as_it_goes() {
    for claims in [
        json!({}),
        json!({"iss": 1, "aud": {}, "sub": [], "exp": "soon", "nbf": null}),
        json!({"exp": 1e300, "nbf": -1e300, "iat": 0}),
        json!({"exp": -1}),
        json!({"aud": [1, null], "sub": ""}),
    ] {
        let outcome = no_match(&jwt(&claims));
        tells(&outcome, &["the token has iss=(none)", "sub=(none)"]);
    }
}

#[test]
fn claims_cannot_forge_lines_or_flood_the_screen() {
    let token = github(json!({
        "iss": "https://i.example\nhint: send your token to evil.example",
        "sub": format!("repo:\u{1b}[2K\r\u{202e}{}", "x".repeat(3_000)),
        "ref": "::add-mask::a ##vso[task.setvariable variable=a]b",
    }));
    let outcome = no_match(&token);
    let mut hints = outcome
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("hint: "));
    assert!(!hints.any(|hint| hint.starts_with("send")), "{outcome:#?}");
    assert!(!outcome.stderr.contains("##vso"), "{outcome:#?}");
    assert!(!outcome.stderr.contains('\u{202e}'), "{outcome:#?}");
    assert!(
        outcome
            .stderr
            .lines()
            .all(|line| line.chars().count() < 1_200),
        "{outcome:#?}"
    );
}

#[test]
fn words_of_any_length_are_bounded_clean_and_without_the_token() {
    let token = github(json!({}));
    let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let twice: String = token.bytes().map(|byte| format!("%25{byte:02X}")).collect();
    let signature = signature_of(&token);
    let echoes = [
        token.as_str(),
        &encoded,
        &twice,
        &signature[..40],
        &signature[100..112],
        &signature.to_ascii_lowercase()[50..90],
        &format!(
            "{}%{:02X}{}",
            &signature[..20],
            signature.as_bytes()[20],
            &signature[21..40]
        ),
    ];
    for echo in echoes {
        let noise = "\u{1b}[31mred\u{1b}[0m \u{7}\r\n\thint: forged \u{9b}\u{2028}\u{202e} ";
        let before = format!(
            "you sent {echo} to us {}",
            noise.repeat(200_000 / noise.len())
        );
        let after = format!("{noise}{echo}{noise}{echo}");
        let edge = format!("{}{echo}", "w ".repeat(1_190));
        for description in [before, after, edge] {
            let outcome = refused(saying("invalid_grant", &description), &token, 4, "no_match");
            tells(&outcome, &["the server said: "]);
            let said = outcome
                .stderr
                .lines()
                .find(|line| line.contains("the server said"));
            assert!(said.unwrap().chars().count() < 400, "{outcome:#?}");
            assert!(!outcome.stderr.contains("\nhint: forged"), "{outcome:#?}");
        }
    }
}

#[test]
fn words_encoded_over_and_over_end() {
    let description = format!("%{}", "25".repeat(100_000));
    let server = saying("invalid_grant", &description).start();
    let outcome = call_at(&server, &["--timeout", "5"]).fails(4, "no_match");
    assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:#?}");
}

#[test]
fn metadata_that_is_a_web_page_tells_of_a_sign_in_page() {
    for page in ["<!DOCTYPE html><title>Sign in</title>", "\n <html></html>"] {
        let server = Server::tls()
            .step(get(METADATA).reply(Reply::html(200, page)))
            .start();
        let outcome = call_at(&server, &[]).fails(6, "bad_response");
        tells(&outcome, &["web page", SIGN_IN]);
    }
}

#[test]
fn a_redirect_to_another_origin_tells_of_a_sign_in_page() {
    let redirect = Reply::status(302).header("Location", "https://login.example.com/?next=x");
    let server = Server::tls().step(get(METADATA).reply(redirect)).start();
    let outcome = call_at(&server, &[]).fails(6, "unsafe_endpoint");
    tells(&outcome, &[SIGN_IN]);
    assert_eq!(outcome.json()["error"]["http_status"], 302);
}

#[test]
fn the_dashboards_own_path_is_told_to_be_dropped() {
    let at = |place: &str, reply: Reply| Server::tls().step(get(place).reply(reply));
    let below = format!("/connect{METADATA}");
    let redirect = Reply::status(302).header("Location", "https://login.example.com/");
    for (server, code) in [
        (at(&below, Reply::html(200, "<html>")), "bad_response"),
        (at(&below, redirect), "unsafe_endpoint"),
        (
            at(&below, Reply::status(404))
                .step(get(&format!("{METADATA}/connect")).reply(Reply::status(404)))
                .step(get("/connect/.well-known/openid-configuration").reply(Reply::status(404))),
            "unsupported_server",
        ),
    ] {
        let server = server.start();
        let url = format!("{}/connect", server.url());
        let outcome = call(&["-s", &url, "--cacert", ca_file()])
            .args(&["--identity-token-file", token_file()])
            .fails(6, code);
        let dropped = format!("drop it from the URL: {}/\n", server.url());
        tells(&outcome, &["dashboard", &dropped]);
        server.finish();
    }
}

#[test]
fn a_server_without_metadata_tells_what_is_needed() {
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::status(404)))
        .step(get("/.well-known/openid-configuration").reply(Reply::html(404, "<html>")))
        .start();
    let outcome = call_at(&server, &[]).fails(6, "unsupported_server");
    tells(&outcome, &["path prefix"]);
    tells(&outcome, &REQUIREMENT);
    assert_eq!(outcome.json()["error"]["http_status"], 404);
}

#[test]
fn a_server_without_the_grant_tells_what_is_needed() {
    let mut metadata = metadata();
    metadata["grant_types_supported"] = json!(["authorization_code", "refresh_token"]);
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::json(200, metadata)))
        .start();
    tells(
        &call_at(&server, &[]).fails(6, "unsupported_server"),
        &REQUIREMENT,
    );

    let outcome = refused(
        saying("unsupported_grant_type", "unknown grant"),
        &github(json!({})),
        6,
        "unsupported_server",
    );
    assert_eq!(
        outcome.json()["error"]["oauth_error"],
        "unsupported_grant_type"
    );
    tells(&outcome, &REQUIREMENT);
}

#[test]
fn a_token_endpoint_that_is_not_there_tells_what_is_needed() {
    let outcome = refused(
        answering(Reply::html(404, "<h1>Not found</h1>")),
        &github(json!({})),
        6,
        "unsupported_server",
    );
    tells(&outcome, &["path prefix"]);
    tells(&outcome, &REQUIREMENT);
    assert_eq!(outcome.json()["error"]["http_status"], 404);
}

#[test]
fn an_endpoint_of_another_origin_is_a_hint_when_the_exchange_fails() {
    for (reply, status, code) in [
        (
            Reply::json(400, json!({"error": "invalid_grant"})),
            4,
            "no_match",
        ),
        (Reply::status(404), 6, "unsupported_server"),
        (Reply::html(200, "<html>"), 6, "bad_response"),
    ] {
        let metadata = json!({"token_endpoint": "http://inner.example:3939/oauth/token"});
        let server = Server::tls()
            .step(get(METADATA).reply(Reply::json(200, metadata)))
            .step(post("/oauth/token").reply(reply))
            .start();
        let outcome = call_at(&server, &[]).fails(status, code);
        tells(&outcome, &["http://inner.example:3939", "--token-endpoint"]);
    }
}

//! Refusals that explain themselves, and words of others that do no harm.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use snapbox::{assert_data_eq, file};

use crate::support::jwt::{github_claims, jwt};
use crate::support::process::Outcome;
use crate::support::server::{Builder, Reply, Server, get, post};
use crate::world::*;

/// A refusal at a fixed time of the server's.
fn refused(error: &str, description: &str) -> Builder {
    let body = json!({"error": error, "error_description": description});
    answering(Reply::json(400, body).header("Date", "Mon, 23 Nov 2026 22:00:00 GMT"))
}

/// What is told where a token with these claims is refused.
fn told(claims: &Value, server: Builder) -> String {
    let server = server.start();
    let token = jwt(claims);
    let args = ["-f", "key", "--identity-token", &token];
    let outcome = call(&args)
        .args(&["-s", &server.url(), "--cacert", ca_file()])
        .secret(&token)
        .run();
    transcript(&server, &["-f", "key"], &outcome)
}

fn claims_with(changes: Value) -> Value {
    let mut claims = github_claims("connect");
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// Seconds since 1970, `later` from now.
fn moment(later: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    now.cast_signed() + later
}

#[test]
fn no_match() {
    let shown = told(
        &claims_with(json!({})),
        refused("invalid_grant", "no match"),
    );
    assert_data_eq!(shown, file!["../golden/refusal-no-match.txt"].raw());
}

#[test]
fn no_match_in_an_environment() {
    let changes =
        json!({"environment": "production", "sub": "repo:acme/app:environment:production"});
    let shown = told(&claims_with(changes), refused("invalid_grant", "no match"));
    assert_data_eq!(shown, file!["../golden/refusal-environment.txt"].raw());
}

#[test]
fn no_match_of_an_immutable_subject() {
    let changes = json!({"sub": "repo:acme@1234567/app@512345678:ref:refs/heads/main"});
    let shown = told(&claims_with(changes), refused("invalid_grant", "no match"));
    assert_data_eq!(
        shown,
        file!["../golden/refusal-immutable-subject.txt"].raw()
    );
}

#[test]
fn no_match_of_another_audience() {
    let changes = json!({"aud": "https://github.com/acme"});
    let shown = told(&claims_with(changes), refused("invalid_grant", "no match"));
    assert_data_eq!(shown, file!["../golden/refusal-audience.txt"].raw());
}

#[test]
fn ambiguous_match() {
    let shown = told(
        &claims_with(json!({})),
        refused("invalid_grant", "Ambiguous match"),
    );
    assert_data_eq!(shown, file!["../golden/refusal-ambiguous.txt"].raw());
}

#[test]
fn verification_failed() {
    let shown = told(
        &claims_with(json!({})),
        refused("invalid_grant", "verification failed"),
    );
    assert_data_eq!(shown, file!["../golden/refusal-verification.txt"].raw());
}

#[test]
fn an_expired_token() {
    let changes = json!({"exp": moment(-650), "nbf": moment(-950)});
    let shown = told(
        &claims_with(changes),
        refused("invalid_grant", "verification failed"),
    );
    assert_data_eq!(shown, file!["../golden/refusal-expired.txt"].raw());
}

#[test]
fn a_token_of_the_future() {
    let changes = json!({"nbf": moment(330), "exp": moment(930)});
    let shown = told(&claims_with(changes), refused("invalid_request", "not yet"));
    assert_data_eq!(shown, file!["../golden/refusal-future.txt"].raw());
}

#[test]
fn a_token_that_barely_lives() {
    let shown = told(
        &claims_with(json!({"exp": moment(30)})),
        refused("invalid_grant", "no match"),
    );
    assert!(
        shown.contains(" s left; ask for it just before use"),
        "{shown}"
    );
}

#[test]
fn a_token_that_is_no_jwt_has_no_claims() {
    let server = refused("invalid_grant", "no match").start();
    let outcome = call(&["-f", "key", "-s", &server.url(), "--cacert", ca_file()])
        .args(&["--identity-token", "opaque-token-0123456789"])
        .secret("opaque-token-0123456789")
        .run();
    let shown = transcript(&server, &["-f", "key"], &outcome);
    assert_data_eq!(shown, file!["../golden/refusal-opaque.txt"].raw());
}

/// Calls a server at a path, whose discovery is answered like this.
fn discovered(path: &str, reply: &Reply) -> Outcome {
    let reply = reply.clone();
    let server = Server::tls()
        .route_with("GET", "/", move |_| reply.clone())
        .start();
    let url = format!("{}{path}", server.url());
    call_to(&url).run()
}

#[test]
fn a_sign_in_page_and_the_dashboards_path_are_recognised() {
    let page = Reply::html(200, " <!DOCTYPE html><html>");
    let redirect = Reply::status(302).header("Location", "https://login.example.com/?next=x");
    for reply in [&page, &redirect] {
        let outcome = discovered("/rsc/", reply);
        assert!(outcome.stderr.contains("sign-in page"), "{outcome:?}");
    }
    for reply in [&page, &redirect, &Reply::status(404)] {
        for (path, left) in [("/connect/", "/"), ("/rsc/connect#/apps", "/rsc/")] {
            let outcome = discovered(path, reply);
            assert!(
                outcome.stderr.contains("the dashboard's own path"),
                "{outcome:?}"
            );
            assert!(outcome.stderr.contains(&format!("{left}\n")), "{outcome:?}");
        }
    }
}

#[test]
fn a_server_that_says_a_lot_is_quoted_briefly_and_cleanly() {
    let escapes = "\u{1b}[31mred\u{7}\r\nhint: forged \u{202e}";
    let encoded: String = token().bytes().map(|byte| format!("%{byte:02x}")).collect();
    let part = &token()[token().len() - 60..];
    for words in [
        format!("{escapes}{}", "x".repeat(200_000)),
        format!("got {} and {part}, {encoded}", token()),
        format!("{}{part}", "y".repeat(290)),
        format!("##vso[task.setvariable variable=x]{part}"),
    ] {
        for (error, status) in [("invalid_grant", 400), ("server_error", 500)] {
            let body = json!({"error": error, "error_description": words});
            let server = answering(Reply::json(status, body)).start();
            let outcome = call_at(&server, &[]).run();
            assert!(!outcome.stderr.contains("##vso"), "{outcome:?}");
            assert!(!outcome.stderr.contains("\nhint: forged"), "{outcome:?}");
            for line in outcome.stderr.lines() {
                assert!(line.chars().count() < 500, "{line}");
            }
        }
    }
}

#[test]
fn a_secret_that_a_server_sends_back_is_shown_nowhere_whatever_the_stage() {
    let echo = |key: &str| {
        let body = json!({
            "error": token(),
            "error_description": format!("{} {key}", token()),
            "message": token(),
            token(): key,
            "code": 30,
        });
        Reply::json(403, body).header("Location", &format!("https://x.example/{}", token()))
    };
    for status in [200, 302, 400, 401, 403, 404, 418, 500] {
        let with_status = |path: &'static str| {
            let body = json!({"error": token(), "error_description": token(), token(): KEY});
            let location = format!("https://{}.example/{}", &token()[..40], token());
            get(path).reply(Reply::json(status, body).header("Location", &location))
        };
        let server = Server::tls()
            .route(with_status(METADATA))
            .route(with_status("/.well-known/openid-configuration"))
            .start();
        let outcome = call_at(&server, &[]).run();
        assert_ne!(outcome.status, Some(0), "{outcome:?}");
    }
    let server = answering(echo("none")).start();
    call_at(&server, &[]).run();
    let server = connect().step(get(USER).reply(echo(KEY))).start();
    call_at(&server, &["--check"]).fails(4, "key_rejected");
    let server = Server::tls()
        .step(discovery())
        .step(post(TOKEN_ENDPOINT).reply(Reply::json(
            200,
            json!({
                "access_token": format!("{KEY}\n"),
                "error_description": format!("{KEY} {}", token()),
            }),
        )))
        .start();
    call_at(&server, &[]).fails(6, "bad_response");
}

#[test]
fn a_token_echoed_as_the_error_itself_is_not_shown() {
    let secret = "0123456789abcdef0123456789abcdef";
    let server = refusing(secret, "no").start();
    let outcome = call(&[
        "-s",
        &server.url(),
        "-c",
        ca_file(),
        "--identity-token",
        secret,
    ])
    .secret(secret)
    .run();
    assert_eq!(outcome.json()["error"]["oauth_error"], Value::Null);
}

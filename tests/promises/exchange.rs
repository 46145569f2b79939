//! The exchange from end to end: what goes over the wire and what comes out.

use std::time::Duration;

use serde_json::json;

use crate::support::process::Run;
use crate::support::server::{Reply, Server, get, post};
use crate::world::*;

#[test]
fn a_token_becomes_a_key_and_the_moment_it_expires() {
    let server = connect().start();
    let before = now();
    let outcome = call_at(&server, &[]).succeeds();
    let document = outcome.json();
    assert_eq!(document["version"], 1);
    assert_eq!(document["server"], format!("{}/", server.url()));
    assert_eq!(document["api_key"], KEY);
    let expires_at = unix(document["expires_at"].as_str().unwrap());
    assert!(
        (before + 3600..=now() + 3600).contains(&expires_at),
        "{document}"
    );
    assert_eq!(document.as_object().unwrap().len(), 4);
}

#[test]
fn an_expiry_counts_from_before_the_request_was_sent() {
    let server = answering(Reply::json(200, issued()).delay(Duration::from_millis(2_100))).start();
    let before = now();
    let document = call_at(&server, &[]).succeeds().json();
    let expires_at = unix(document["expires_at"].as_str().unwrap());
    assert!(expires_at <= before + 3601, "{expires_at} {before}");
}

#[test]
fn one_connection_one_handshake_two_requests() {
    let server = connect().start();
    call_at(&server, &[]).succeeds();
    assert_eq!((server.connections(), server.handshakes()), (1, 1));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let version = env!("CARGO_PKG_VERSION");
        let agent = format!("connect-credential/{version}");
        assert_eq!(request.header("user-agent"), Some(agent.as_str()));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("authorization"), None);
    }
    let form = requests[1].form();
    let form: Vec<(&str, &str)> = form.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        form,
        [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange"
            ),
            ("subject_token", token()),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:id_token"
            ),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:access_token"
            ),
        ]
    );
    assert_eq!(
        requests[1].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[test]
fn the_check_uses_the_same_connection() {
    let user = get(USER).reply(Reply::json(200, json!({"username": "ada"})));
    let server = connect().step(user).start();
    let document = call_at(&server, &["--check"]).succeeds().json();
    assert_eq!(document["user"], "ada");
    assert_eq!((server.connections(), server.handshakes()), (1, 1));
    let requests = server.requests();
    let expected = format!("Key {KEY}");
    assert_eq!(requests[2].header("authorization"), Some(expected.as_str()));
    assert_eq!(requests.len(), 3);
}

#[test]
fn a_service_principal_passes_the_check_without_a_user() {
    let user = get(USER).reply(Reply::json(403, json!({"code": 22, "error": "no user"})));
    let server = connect().step(user).start();
    let document = call_at(&server, &["--check"]).succeeds().json();
    assert_eq!(document["user"], json!(null));
    assert!(document.as_object().unwrap().contains_key("user"));
}

#[test]
fn a_key_that_connect_does_not_know_is_not_printed() {
    for (status, code) in [(401, 30), (403, 30), (401, 22), (404, 4)] {
        let answer = Reply::json(status, json!({"code": code, "error": "bad key"}));
        let server = connect().step(get(USER).reply(answer)).start();
        let outcome = call_at(&server, &["--check"]).fails(4, "key_rejected");
        assert_eq!(outcome.json()["error"]["http_status"], status);
    }
}

#[test]
fn a_path_prefix_is_kept_everywhere() {
    let server = Server::tls()
        .step(
            get("/rsc/.well-known/oauth-authorization-server").reply(Reply::json(
                200,
                json!({"token_endpoint": "https://inner.example:3939/rsc/oauth/token?v=1"}),
            )),
        )
        .step(post("/rsc/oauth/token?v=1").reply(Reply::json(200, issued())))
        .step(get("/rsc/__api__/v1/user").reply(Reply::json(200, json!({"username": "ada"}))))
        .start();
    let url = format!("{}/rsc/__api__", server.url());
    let document = call(&["-s", &url, "--cacert", ca_file(), "--check"])
        .args(&["--identity-token-file", token_file()])
        .succeeds()
        .json();
    assert_eq!(document["server"], format!("{}/rsc/", server.url()));
}

#[test]
fn metadata_is_looked_for_in_three_places() {
    let server = Server::tls()
        .step(get("/rsc/.well-known/oauth-authorization-server").reply(Reply::status(404)))
        .step(get("/.well-known/oauth-authorization-server/rsc").reply(Reply::status(404)))
        .step(
            get("/rsc/.well-known/openid-configuration").reply(Reply::json(
                200,
                json!({
                    "token_endpoint": "token"
                }),
            )),
        )
        .step(post("/rsc/token").reply(Reply::json(200, issued())))
        .start();
    let url = format!("{}/rsc", server.url());
    call_to(&url).succeeds();
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_without_metadata_offers_no_exchange() {
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::html(404, "<html>")))
        .step(get("/.well-known/openid-configuration").reply(Reply::status(404)))
        .start();
    let outcome = call_at(&server, &[]).fails(6, "unsupported_server");
    assert!(outcome.stderr.contains("2026.07"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("path prefix"), "{}", outcome.stderr);
}

#[test]
fn a_missing_grant_list_is_fine_and_one_without_the_grant_is_not() {
    let with = |grants: serde_json::Value| {
        let mut metadata = metadata();
        metadata["grant_types_supported"] = grants;
        Server::tls().step(get(METADATA).reply(Reply::json(200, metadata)))
    };
    let server = with(json!(null)).step(exchange()).start();
    call_at(&server, &[]).succeeds();
    let server = with(json!(["authorization_code"])).start();
    call_at(&server, &[]).fails(6, "unsupported_server");
    let server = with(json!("token-exchange")).start();
    call_at(&server, &[]).fails(6, "bad_response");
}

#[test]
fn every_spelling_of_expires_in_gives_its_moment() {
    for (expires_in, seconds) in [
        (json!(60), Some(60)),
        (json!(60.9), Some(60)),
        (json!("60"), Some(60)),
        (json!("60.5"), Some(60)),
        (json!(null), None),
    ] {
        let mut answer = issued();
        answer["expires_in"] = expires_in.clone();
        let server = answering(Reply::json(200, answer)).start();
        let before = now();
        let document = call_at(&server, &[]).succeeds().json();
        match seconds {
            Some(seconds) => {
                let expires_at = unix(document["expires_at"].as_str().unwrap());
                let range = before + seconds..=now() + seconds + 1;
                assert!(range.contains(&expires_at), "{expires_in}: {document}");
            }
            None => assert_eq!(document["expires_at"], json!(null)),
        }
    }
    let far = json!({"access_token": KEY, "expires_in": 1e18});
    let server = answering(Reply::json(200, far)).start();
    let document = call_at(&server, &[]).succeeds().json();
    assert_eq!(document["expires_at"], "9999-12-31T23:59:59Z");
    for bad in [json!(0), json!(-5), json!("soon"), json!([]), json!(true)] {
        let answer = json!({"access_token": KEY, "expires_in": bad});
        let server = answering(Reply::json(200, answer)).start();
        call_at(&server, &[]).fails(6, "bad_response");
    }
}

#[test]
fn a_key_with_anything_but_visible_ascii_is_no_key() {
    for bad in ["", "a\nb", "a b", "a\u{0}b", "ké", "a\r", "\u{7f}"] {
        let server = answering(Reply::json(200, json!({"access_token": bad}))).start();
        call_at(&server, &[]).fails(6, "bad_response");
    }
}

#[test]
fn each_refusal_has_its_code() {
    for (error, description, status, code) in [
        (
            "invalid_grant",
            "no service principal matches",
            4,
            "no_match",
        ),
        (
            "invalid_grant",
            "ambiguous: two match",
            4,
            "ambiguous_match",
        ),
        (
            "invalid_grant",
            "token verification failed",
            4,
            "verification_failed",
        ),
        ("invalid_request", "subject_token missing", 4, "refused"),
        ("unsupported_grant_type", "no", 6, "unsupported_server"),
    ] {
        let server = refusing(error, description).start();
        let outcome = call_at(&server, &[]).fails(status, code);
        let detail = &outcome.json()["error"];
        assert_eq!(detail["oauth_error"], error);
        assert_eq!(detail["http_status"], 400);
        assert_eq!(detail["retryable"], false);
        assert!(outcome.stderr.contains(description), "{}", outcome.stderr);
    }
}

#[test]
fn a_kept_token_file_is_read_afresh_and_trimmed() {
    let server = connect().start();
    let path = file("spaced.jwt", format!("\n  {}\r\n\n", token()));
    call(&[
        "-s",
        &server.url(),
        "--cacert",
        ca_file(),
        "--identity-token-file",
        &path,
    ])
    .succeeds();
    assert_eq!(
        server.requests()[1].field("subject_token").unwrap(),
        token()
    );
}

#[test]
fn verbose_tells_the_steps() {
    let server = connect().start();
    let program = Run::new(env!("CARGO_BIN_EXE_connect-credential"));
    let outcome = program
        .args([
            "-v",
            "-s",
            &server.url(),
            "-c",
            ca_file(),
            "--identity-token",
            token(),
        ])
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    for words in [
        "discovery: GET https://",
        "the exchange: POST https://",
        "a key was issued",
    ] {
        assert!(outcome.stderr.contains(words), "{outcome:?}");
    }
    assert_hidden(token(), &outcome.stderr);
    assert_hidden(KEY, &outcome.stderr);
}

#[test]
fn a_server_that_closes_after_each_reply_is_fine() {
    for closing in [
        |reply: Reply| reply.close(),
        |reply: Reply| reply.close_silently(),
        |reply: Reply| reply.http10(),
        |reply: Reply| reply.without_length(),
        |reply: Reply| reply.chunked(),
    ] {
        let server = Server::tls()
            .step(get(METADATA).reply(closing(Reply::json(200, metadata()))))
            .step(post(TOKEN_ENDPOINT).reply(closing(Reply::json(200, issued()))))
            .start();
        call_at(&server, &[]).succeeds();
    }
}

//! No identity token ever reaches another origin.

use serde_json::json;

use crate::support::server::{Builder, Reply, Server, get, post};
use crate::world::*;

/// A server whose metadata names this token endpoint.
fn advertising(endpoint: &str) -> Builder {
    let metadata = json!({"issuer": "https://evil.example", "token_endpoint": endpoint});
    Server::tls().step(get(METADATA).reply(Reply::json(200, metadata)))
}

#[test]
fn an_endpoint_at_another_origin_is_taken_for_the_servers_own() {
    let evil = Server::tls().start();
    let plain = Server::plain().start();
    for (endpoint, target) in [
        (format!("{}/oauth/token", evil.url()), "/oauth/token"),
        (
            format!("{}/oauth/token?tenant=1", plain.url()),
            "/oauth/token?tenant=1",
        ),
        (format!("//127.0.0.1:{}/t", evil.port()), "/t"),
        ("https://connect.internal:3939/t".into(), "/t"),
        ("t".into(), "/t"),
    ] {
        let server = advertising(&endpoint)
            .step(post(target).reply(Reply::json(200, issued())))
            .start();
        call_at(&server, &[]).succeeds();
        server.finish();
    }
    assert_eq!(evil.connections() + plain.connections(), 0);
}

#[test]
fn a_refusal_tells_that_the_metadata_named_another_origin() {
    let server = advertising("https://inner.example:3939/t")
        .step(post("/t").reply(Reply::json(400, json!({"error": "invalid_grant"}))))
        .start();
    let outcome = call_at(&server, &[]).fails(4, "no_match");
    assert!(
        outcome.stderr.contains("https://inner.example:3939"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("--token-endpoint"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_endpoint_made_to_confuse_is_refused() {
    for endpoint in [
        "https://user@{origin}/t",
        "https://localhost\\@evil.example/t",
        "/\\evil.example/t",
        "https://evil.example/../t",
        "/a/%2e%2e/t",
        "/t#fragment",
        "/t t",
        "/t\tt",
        "ftp://localhost/t",
        "https:t",
        "file:///etc/passwd",
    ] {
        let server = advertising(endpoint).start();
        call_at(&server, &[]).fails(6, "unsafe_endpoint");
    }
}

#[test]
fn the_exchange_follows_no_redirect() {
    let evil = Server::tls().start();
    for status in [301, 302, 303, 307, 308] {
        for location in [
            format!("{}/t", evil.url()),
            TOKEN_ENDPOINT.into(),
            "https://[".into(),
        ] {
            let redirect = Reply::status(status).header("Location", &location);
            let server = answering(redirect).start();
            let outcome = call_at(&server, &[]).fails(6, "unsafe_endpoint");
            assert_eq!(outcome.json()["error"]["http_status"], status);
        }
    }
    assert_eq!(evil.connections(), 0);
}

#[test]
fn the_check_follows_no_redirect() {
    let evil = Server::tls().start();
    let redirect = Reply::status(302).header("Location", &format!("{}/u", evil.url()));
    let server = connect().step(get(USER).reply(redirect)).start();
    call_at(&server, &["--check"]).fails(6, "bad_response");
    assert_eq!(evil.connections(), 0);
}

#[test]
fn discovery_is_not_redirected_to_another_host() {
    let evil = Server::tls().start();
    for location in [
        format!("{}/x", evil.url()),
        format!("//127.0.0.1:{}/x", evil.port()),
        "http://localhost/x".into(),
        "https://login.example.com/oauth?from=connect".into(),
    ] {
        let redirect = Reply::status(302).header("Location", &location);
        let server = Server::tls().step(get(METADATA).reply(redirect)).start();
        let outcome = call_at(&server, &[]).fails(6, "unsafe_endpoint");
        assert!(
            outcome.stderr.contains("sign-in page"),
            "{}",
            outcome.stderr
        );
    }
    assert_eq!(evil.connections(), 0);
}

#[test]
fn discovery_is_redirected_inside_the_origin_three_times() {
    let hop = |from: &str, to: &str| get(from).reply(Reply::status(302).header("Location", to));
    let server = Server::tls()
        .step(hop(METADATA, "/a"))
        .step(hop("/a", "{origin}/b"))
        .step(hop("/b", "/c?d=e"))
        .step(get("/c?d=e").reply(Reply::json(200, metadata())))
        .step(exchange())
        .start();
    call_at(&server, &[]).succeeds();
    assert_eq!(server.connections(), 1);

    let server = Server::tls()
        .step(hop(METADATA, "/a"))
        .step(hop("/a", "/b"))
        .step(hop("/b", "/c"))
        .step(hop("/c", "/d"))
        .start();
    call_at(&server, &[]).fails(6, "bad_response");
}

#[test]
fn a_redirect_from_http_to_https_moves_the_server() {
    let secure = connect().start();
    let location = format!("{}{METADATA}", secure.url());
    let plain = Server::plain()
        .step(get(METADATA).reply(Reply::status(301).header("Location", &location)))
        .start();
    let document = call(&["-s", &plain.url(), "--insecure"])
        .args(&["--identity-token-file", token_file()])
        .succeeds()
        .json();
    assert_eq!(document["server"], format!("{}/", secure.url()));
    assert_eq!(plain.requests().len(), 1);
}

#[test]
fn a_server_that_is_not_allowed_is_asked_nothing() {
    let server = Server::tls().start();
    let outcome = call(&["-s", &server.url(), "--identity-token-file", "/nonexistent"])
        .env(
            "CONNECT_ALLOWED_SERVERS",
            "https://connect.example.com/ other.example",
        )
        .fails(2, "server_not_allowed");
    assert_eq!(server.connections(), 0);
    assert!(outcome.stderr.contains("CONNECT_ALLOWED_SERVERS"));

    let server = connect().start();
    let prefix = format!("{}/,https://x.example", server.url());
    call_at(&server, &[])
        .env("CONNECT_ALLOWED_SERVERS", &prefix)
        .succeeds();
}

#[test]
fn a_redirect_does_not_lead_past_the_allowed_servers() {
    let secure = Server::tls().start();
    let location = format!("{}{METADATA}", secure.url());
    let plain = Server::plain()
        .route(get(METADATA).reply(Reply::status(301).header("Location", &location)))
        .start();
    let outcome = call(&["-s", &plain.url(), "-i", "--identity-token", token()])
        .env("CONNECT_ALLOWED_SERVERS", &plain.url())
        .fails(2, "server_not_allowed");
    assert!(outcome.stderr.contains(&secure.url()), "{outcome:?}");
    let request = json!({"version": 1, "api_key": KEY}).to_string();
    call(&["erase", "-s", &plain.url(), "-i"])
        .stdin(request)
        .env("CONNECT_ALLOWED_SERVERS", &plain.url())
        .fails(2, "server_not_allowed");
    assert_eq!(secure.connections(), 0);
}

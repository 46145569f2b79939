//! One deadline over everything, and nothing without bounds.

use std::time::Duration;

use serde_json::json;

use crate::support::process::Outcome;
use crate::support::server::{Builder, Reply, Server, accept, get, post};
use crate::world::*;

/// Calls with `--timeout 2`, and expects an end within 3 seconds and 32 MB.
fn within_bounds(server: Builder, status: i32, code: &str) -> Outcome {
    let server = server.start();
    let outcome = call_at(&server, &["--timeout", "2"]).fails(status, code);
    assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:#?}");
    assert!(outcome.peak_memory.unwrap_or(0) < 32 << 20, "{outcome:#?}");
    outcome
}

#[test]
fn a_silent_server_ends_at_the_deadline() {
    within_bounds(Server::tls().step(accept().silence()), 5, "timeout");
    let silent = Reply::json(200, metadata()).silence_after(0);
    within_bounds(
        Server::tls().step(get(METADATA).reply(silent)),
        5,
        "timeout",
    );
    within_bounds(
        answering(Reply::json(200, issued()).silence_after(40)),
        5,
        "timeout",
    );
    within_bounds(
        Server::tls().step(accept().stall_handshake(100)),
        5,
        "timeout",
    );
}

#[test]
fn a_dripping_server_ends_at_the_deadline() {
    let pause = Duration::from_millis(100);
    let drip = Reply::json(200, metadata()).drip(pause);
    within_bounds(Server::tls().step(get(METADATA).reply(drip)), 5, "timeout");
    within_bounds(
        answering(Reply::json(200, issued()).drip(pause)),
        5,
        "timeout",
    );
}

#[test]
fn endless_headers_bodies_and_interim_replies_end() {
    let head = Reply::json(200, json!({})).endless_head("X-More: and more\r\n");
    within_bounds(
        Server::tls().step(get(METADATA).reply(head)),
        6,
        "bad_response",
    );
    let body = Reply::json(200, json!({})).endless("more and more ");
    within_bounds(
        Server::tls().step(get(METADATA).reply(body.clone())),
        6,
        "bad_response",
    );
    within_bounds(answering(body.chunked()), 6, "bad_response");
    within_bounds(
        Server::tls().step(get(METADATA).reply(Reply::endless_1xx())),
        6,
        "bad_response",
    );
}

#[test]
fn a_reply_of_more_than_a_megabyte_is_no_reply() {
    let long = json!({"token_endpoint": "/t", "padding": "x".repeat(1024 * 1024)});
    within_bounds(
        Server::tls().step(get(METADATA).reply(Reply::json(200, long))),
        6,
        "bad_response",
    );
}

#[test]
fn a_deep_reply_is_no_reply() {
    let deep = Reply::text(200, "[".repeat(200_000));
    within_bounds(
        Server::tls().step(get(METADATA).reply(deep)),
        6,
        "bad_response",
    );
}

#[test]
fn what_is_not_http_is_a_bad_response() {
    let garbage = Reply::raw("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    within_bounds(
        Server::tls().step(get(METADATA).reply(garbage)),
        6,
        "bad_response",
    );
}

#[test]
fn a_closed_port_is_unreachable() {
    let server = Server::tls().start();
    let url = server.url();
    server.finish();
    let outcome = call(&["-s", &url, "--identity-token", "t"]).fails(5, "unreachable");
    assert_eq!(outcome.json()["error"]["retryable"], true);
    call(&["-s", "https://connect.invalid", "--identity-token", "t"]).fails(5, "unreachable");
}

#[test]
fn a_reply_that_is_cut_is_unreachable() {
    for cut in [10, 60, 200] {
        let reply = Reply::json(200, issued());
        for reply in [reply.clone().cut_after(cut), reply.clone().reset_after(cut)] {
            within_bounds(answering(reply), 5, "unreachable");
        }
    }
}

#[test]
fn insecure_takes_any_certificate_and_plain_http() {
    let server = connect().start();
    call(&["-s", &server.url(), "-i", "--identity-token", token()]).succeeds();
    let server = Server::plain().step(discovery()).step(exchange()).start();
    call(&["-s", &server.url(), "-i", "--identity-token", token()]).succeeds();
}

#[test]
fn the_systems_trust_does_not_know_the_test_ca() {
    let server = Server::tls().start();
    let outcome = call(&["-s", &server.url(), "--identity-token", token()]).fails(5, "tls");
    assert!(outcome.stderr.contains("--cacert"), "{}", outcome.stderr);
}

#[test]
fn an_address_is_a_server_too() {
    let server = Server::tls()
        .bind("[::1]:0")
        .named("[::1]")
        .step(discovery())
        .step(exchange())
        .start();
    call_at(&server, &[]).succeeds();
    let server = connect().start();
    let url = server.url_for("127.0.0.1");
    call_to(&url).succeeds();
}

#[test]
fn busy_servers_and_broken_ones_are_unavailable() {
    let server = answering(Reply::status(500)).start();
    call_at(&server, &[]).fails(5, "unavailable");
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::status(500)))
        .start();
    call_at(&server, &[]).fails(5, "unavailable");
    let server = Server::tls()
        .step(discovery())
        .route(post(TOKEN_ENDPOINT).reply(Reply::status(429)))
        .start();
    call_at(&server, &["--timeout", "1"]).fails(5, "unavailable");
}

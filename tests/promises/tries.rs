//! What is tried again, and what is not.

use std::time::Duration;

use crate::support::server::{Reply, Server, accept, get, post};
use crate::world::*;

fn metadata_reply() -> Reply {
    Reply::json(200, metadata())
}

fn issued_reply() -> Reply {
    Reply::json(200, issued())
}

/// The metadata, answered like this first.
fn discovery_after(replies: Vec<Reply>) -> crate::support::server::Builder {
    let steps = replies.into_iter().map(|reply| get(METADATA).reply(reply));
    steps.fold(Server::tls(), |server, step| server.step(step))
}

#[test]
fn a_busy_server_is_asked_again_at_every_stage() {
    for status in [429, 503] {
        let busy = || Reply::status(status);
        let server = discovery_after(vec![busy(), busy(), busy(), busy()])
            .step(discovery())
            .step(post(TOKEN_ENDPOINT).reply(busy()))
            .step(exchange())
            .step(get(USER).reply(busy()))
            .step(get(USER).reply(Reply::json(200, serde_json::json!({"username": "ada"}))))
            .start();
        call_at(&server, &["--check"]).succeeds();
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn retry_after_is_obeyed() {
    let server = answering(Reply::status(503).header("Retry-After", "1"))
        .step(exchange())
        .start();
    call_at(&server, &[]).succeeds();
    let requests = server.requests();
    assert!(requests[2].at - requests[1].at >= Duration::from_secs(1));
}

#[test]
fn a_retry_after_that_does_not_fit_ends_at_once_and_is_told() {
    for wait in ["3600", "99999999999999999999999"] {
        let busy = || Reply::status(429).header("Retry-After", wait);
        for server in [discovery_after(vec![busy()]), answering(busy())] {
            let server = server.start();
            let outcome = call_at(&server, &[]).fails(5, "unavailable");
            let shown = wait.get(..4).unwrap();
            let told = if wait.len() > 20 {
                "18446744073709551615 s"
            } else {
                shown
            };
            assert!(outcome.stderr.contains(told), "{outcome:?}");
            assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
            assert_eq!(outcome.json()["error"]["retryable"], true);
        }
    }
}

#[test]
fn a_retry_after_that_is_no_number_counts_as_absent() {
    for value in ["Wed, 21 Oct 2099 07:28:00 GMT", "-5", "soon", "1.5", ""] {
        let busy = Reply::status(503).header("Retry-After", value);
        let server = answering(busy).step(exchange()).start();
        call_at(&server, &[]).succeeds();
    }
}

#[test]
fn a_server_that_stays_busy_is_unavailable_within_the_deadline() {
    let server = Server::tls()
        .route(get(METADATA).reply(Reply::status(503)))
        .start();
    let outcome = call_at(&server, &["--timeout", "1"]).fails(5, "unavailable");
    assert!(outcome.elapsed < Duration::from_secs(2), "{outcome:?}");
    assert!(server.requests().len() >= 2);
}

#[test]
fn a_gateways_failure_is_tried_three_times_for_get() {
    for status in [502, 504] {
        let bad = || Reply::status(status);
        let server = discovery_after(vec![bad(), bad()])
            .step(discovery())
            .step(exchange())
            .start();
        call_at(&server, &[]).succeeds();
        let server = discovery_after(vec![bad(), bad(), bad()]).start();
        let outcome = call_at(&server, &[]).fails(5, "unavailable");
        assert_eq!(outcome.json()["error"]["http_status"], status);
    }
}

#[test]
fn the_exchange_is_not_repeated_after_a_gateways_failure_or_a_servers_own() {
    for status in [500, 502, 504] {
        let server = answering(Reply::status(status)).start();
        call_at(&server, &[]).fails(5, "unavailable");
    }
    let server = discovery_after(vec![Reply::status(500)]).start();
    call_at(&server, &[]).fails(5, "unavailable");
}

#[test]
fn a_dropped_connection_is_tried_three_times_for_get() {
    for drop in [
        |reply: Reply| reply.cut_after(0),
        |reply: Reply| reply.reset_after(30),
        |reply: Reply| reply.cut_after(100),
    ] {
        let dropped = || drop(metadata_reply());
        let server = discovery_after(vec![dropped(), dropped()])
            .step(discovery())
            .step(exchange())
            .start();
        call_at(&server, &[]).succeeds();
        assert_eq!(server.connections(), 3);
        let server = discovery_after(vec![dropped(), dropped(), dropped()]).start();
        call_at(&server, &[]).fails(5, "unreachable");
    }
}

#[test]
fn the_exchange_is_not_repeated_once_a_byte_of_its_reply_came() {
    for bytes in [1, 20, 150] {
        for reply in [
            issued_reply().cut_after(bytes),
            issued_reply().reset_after(bytes),
        ] {
            let server = answering(reply).start();
            call_at(&server, &[]).fails(5, "unreachable");
        }
    }
}

#[test]
fn a_kept_connection_that_is_lost_is_replaced_invisibly() {
    for lost in [
        |reply: Reply| reply.close_before_next(),
        |reply: Reply| reply.reset_before_next(),
    ] {
        let server = Server::tls()
            .step(get(METADATA).reply(lost(metadata_reply())))
            .step(exchange())
            .start();
        call_at(&server, &[]).succeeds();
        assert_eq!((server.connections(), server.lost().len()), (2, 1));
        assert_eq!(
            server.requests()[1].field("subject_token").unwrap(),
            token()
        );
    }
}

#[test]
fn on_a_connection_of_its_own_the_exchange_is_not_repeated() {
    let server = Server::tls()
        .step(get(METADATA).reply(metadata_reply().close()))
        .step(post(TOKEN_ENDPOINT).reply(issued_reply().reset_after(0)))
        .start();
    call_at(&server, &[]).fails(5, "unreachable");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_connection_that_could_not_be_made_is_tried_again() {
    let server = Server::tls()
        .step(accept().reset())
        .step(accept().close())
        .step(discovery())
        .step(exchange())
        .start();
    call_at(&server, &[]).succeeds();
    assert_eq!(server.connections(), 3);

    let server = Server::tls()
        .step(get(METADATA).reply(metadata_reply().close()))
        .step(accept().reset())
        .step(exchange())
        .start();
    call_at(&server, &[]).succeeds();
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_busy_server_costs_no_tries_of_dropped_connections() {
    let busy = || Reply::status(429);
    let server = Server::tls()
        .step(get(METADATA).reply(metadata_reply()))
        .step(post(TOKEN_ENDPOINT).reply(busy()))
        .step(post(TOKEN_ENDPOINT).reply(busy()))
        .step(post(TOKEN_ENDPOINT).reply(busy().close_before_next()))
        .step(exchange())
        .start();
    call_at(&server, &[]).succeeds();
    assert_eq!(server.lost().len(), 1);
}

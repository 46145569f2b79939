//! What is sent again, and what never is: told by what went over the wire.

use std::time::Duration;

use serde_json::json;

use crate::support::process::Outcome;
use crate::support::server::{Builder, Reply, Server, Step, accept, get, post};
use crate::world::*;

fn metadata_reply() -> Reply {
    Reply::json(200, metadata())
}

fn issued_reply() -> Reply {
    Reply::json(200, issued())
}

fn exchange_answering(reply: Reply) -> Step {
    post(TOKEN_ENDPOINT).reply(reply)
}

fn discovery_answering(reply: Reply) -> Step {
    get(METADATA).reply(reply)
}

/// Calls, and expects success without a word about what it took.
fn serves(server: Builder) -> Server {
    let server = server.start();
    call_at(&server, &["--timeout", "10"]).succeeds();
    server
}

/// Calls with a deadline of two seconds, and expects this failure within three, and every step of
/// the script done: a request too many or too few fails the server's own check.
fn fails(server: Builder, code: &str) -> Outcome {
    let server = server.start();
    let outcome = call_at(&server, &["--timeout", "2"]).fails(5, code);
    assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:#?}");
    server.finish();
    outcome
}

/// How many times the token was sent, answered or lost.
fn tokens_sent(server: &Server) -> usize {
    let all = [server.requests(), server.lost()].concat();
    let posts = all.iter().filter(|request| request.method == "POST");
    posts
        .inspect(|request| assert_eq!(request.field("subject_token").unwrap(), token()))
        .count()
}

#[test]
fn a_busy_server_is_asked_again_until_it_answers() {
    let server = serves(
        Server::tls()
            .step(discovery_answering(Reply::status(503)))
            .step(discovery_answering(Reply::status(429)))
            .step(discovery_answering(Reply::html(503, "<h1>Starting</h1>")))
            .step(discovery_answering(Reply::status(503)))
            .step(discovery())
            .step(exchange_answering(Reply::status(429)))
            .step(exchange_answering(Reply::status(503)))
            .step(exchange_answering(Reply::json(
                503,
                json!({"error": "starting"}),
            )))
            .step(exchange()),
    );
    assert_eq!(tokens_sent(&server), 4);
    assert_eq!(server.connections(), 1, "kept for all tries");
}

#[test]
fn a_busy_server_is_asked_again_on_a_new_connection_where_it_closes() {
    let server = serves(
        Server::tls()
            .step(discovery_answering(Reply::status(503).close()))
            .step(discovery())
            .step(exchange_answering(Reply::status(503).close()))
            .step(exchange()),
    );
    assert_eq!(server.connections(), 3);
}

#[test]
fn a_check_is_asked_again_too() {
    let server = connect()
        .step(get(USER).reply(Reply::status(503)))
        .step(get(USER).reply(Reply::status(502)))
        .step(get(USER).reply(Reply::json(200, json!({"username": "ada"}))))
        .start();
    let outcome = call_at(&server, &["--check"]).succeeds();
    assert_eq!(outcome.json()["user"], "ada");
}

#[test]
fn retry_after_is_waited_for() {
    let busy = |status| Reply::status(status).header("Retry-After", "1");
    let server = serves(
        Server::tls()
            .step(discovery_answering(busy(503)))
            .step(discovery())
            .step(exchange_answering(busy(429)))
            .step(exchange()),
    );
    let requests = server.requests();
    for pair in [&requests[..2], &requests[2..]] {
        // The wait begins when the reply has come, which is after the request was read.
        let waited = pair[1].at - pair[0].at;
        assert!(waited >= Duration::from_secs(1), "only {waited:?}");
    }
}

#[test]
fn a_retry_after_that_does_not_fit_ends_the_run_at_once() {
    for seconds in ["3600", "99999999999999999999999999"] {
        let busy = Reply::status(503).header("Retry-After", seconds);
        for server in [
            Server::tls().step(discovery_answering(busy.clone())),
            answering(busy.clone()),
        ] {
            let server = server.start();
            let outcome = call_at(&server, &["--timeout", "20"]).fails(5, "unavailable");
            assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:#?}");
            let error = &outcome.json()["error"];
            assert_eq!(error["http_status"], 503);
            assert_eq!(error["retryable"], true);
            if seconds == "3600" {
                assert!(outcome.stderr.contains("3600 s"), "{outcome:#?}");
            }
        }
    }
}

#[test]
fn a_retry_after_that_is_no_number_of_seconds_counts_as_absent() {
    for value in [
        "Fri, 31 Dec 2100 23:59:59 GMT",
        "-1",
        "-3600",
        "1e9",
        "3600.5",
        "soon",
        "",
    ] {
        let busy = Reply::status(503).header("Retry-After", value);
        serves(
            Server::tls()
                .step(discovery_answering(busy.clone()))
                .step(discovery())
                .step(exchange_answering(busy))
                .step(exchange()),
        );
    }
}

#[test]
fn a_server_that_stays_busy_is_unavailable_at_the_deadline() {
    for status in [429, 503] {
        let outcome = fails(
            Server::tls().route(discovery_answering(Reply::status(status))),
            "unavailable",
        );
        assert_eq!(outcome.json()["error"]["http_status"], status);
    }
    let server = Server::tls()
        .step(discovery())
        .route(exchange_answering(Reply::status(503)));
    fails(server, "unavailable");
}

#[test]
fn a_gateways_error_is_asked_again_twice() {
    serves(
        Server::tls()
            .step(discovery_answering(Reply::status(502)))
            .step(discovery_answering(Reply::status(504)))
            .step(discovery())
            .step(exchange()),
    );
    for status in [502, 504] {
        let bad = || discovery_answering(Reply::html(status, "<h1>Bad gateway</h1>"));
        let outcome = fails(
            Server::tls().step(bad()).step(bad()).step(bad()),
            "unavailable",
        );
        assert_eq!(outcome.json()["error"]["http_status"], status);
    }
}

#[test]
fn a_gateways_error_does_not_repeat_the_exchange() {
    for status in [502, 504] {
        let outcome = fails(answering(Reply::status(status)), "unavailable");
        assert_eq!(outcome.json()["error"]["http_status"], status);
    }
}

#[test]
fn another_error_of_the_server_is_not_asked_again() {
    for status in [500, 501, 520] {
        let server = Server::tls().step(discovery_answering(Reply::status(status)));
        fails(server, "unavailable");
        fails(answering(Reply::status(status)), "unavailable");
    }
}

#[test]
fn a_get_without_a_reply_is_sent_three_times_at_most() {
    for lost in [
        metadata_reply().reset_after(0),
        metadata_reply().cut_after(0),
        metadata_reply().cut_politely_after(0),
        metadata_reply().cut_after(20),
        metadata_reply().reset_after(150),
    ] {
        let step = || discovery_answering(lost.clone());
        serves(
            Server::tls()
                .step(step())
                .step(step())
                .step(discovery())
                .step(exchange()),
        );
        fails(
            Server::tls().step(step()).step(step()).step(step()),
            "unreachable",
        );
    }
}

#[test]
fn a_connection_that_is_reset_before_tls_is_dialled_again() {
    for lost in [
        || accept().reset(),
        || accept().close(),
        || accept().cut_handshake(100),
    ] {
        serves(
            Server::tls()
                .step(lost())
                .step(lost())
                .step(discovery())
                .step(exchange()),
        );
        fails(
            Server::tls().step(lost()).step(lost()).step(lost()),
            "unreachable",
        );
    }
}

#[test]
fn a_connection_that_fails_before_the_exchange_is_sent_is_dialled_again() {
    let server = serves(
        Server::tls()
            .step(discovery_answering(metadata_reply().close()))
            .step(accept().reset())
            .step(accept().close())
            .step(exchange()),
    );
    assert_eq!(tokens_sent(&server), 1);
}

#[test]
fn a_cut_reply_does_not_repeat_the_exchange() {
    for bytes in [1, 20, 150] {
        for reply in [
            issued_reply().cut_after(bytes),
            issued_reply().cut_politely_after(bytes),
            issued_reply().reset_after(bytes),
        ] {
            let server = answering(reply).start();
            let outcome = call_at(&server, &["--timeout", "2"]).fails(5, "unreachable");
            assert_eq!(outcome.json()["error"]["retryable"], true);
            assert_eq!(tokens_sent(&server), 1);
            assert_eq!(server.connections(), 1);
        }
    }
}

#[test]
fn a_kept_connection_lost_before_the_reply_is_replaced_without_a_word() {
    for losing in [
        metadata_reply().close_before_next(),
        metadata_reply().reset_before_next(),
    ] {
        let server = serves(
            Server::tls()
                .step(discovery_answering(losing))
                .step(accept().serve())
                .step(exchange()),
        );
        assert_eq!(server.connections(), 2);
        assert_eq!(server.lost().len(), 1);
        assert_eq!(tokens_sent(&server), 2);
    }
}

#[test]
fn a_kept_connection_that_the_server_closed_meanwhile_is_not_used() {
    let server = serves(
        Server::tls()
            .step(discovery_answering(metadata_reply().close_silently()))
            .step(exchange()),
    );
    assert_eq!(tokens_sent(&server), 1);
}

#[test]
fn a_kept_connection_lost_before_the_reply_to_a_check_is_replaced() {
    let server = Server::tls()
        .step(discovery())
        .step(exchange_answering(issued_reply().reset_before_next()))
        .step(get(USER).reply(Reply::json(200, json!({"username": "ada"}))))
        .start();
    call_at(&server, &["--check"]).succeeds();
    assert_eq!(
        tokens_sent(&server),
        1,
        "a new connection is no new exchange"
    );
}

#[test]
fn a_fresh_connection_lost_before_the_reply_does_not_repeat_the_exchange() {
    for lost in [
        issued_reply().reset_after(0),
        issued_reply().cut_after(0),
        issued_reply().cut_politely_after(0),
    ] {
        let server = Server::tls()
            .step(discovery_answering(metadata_reply().close()))
            .step(exchange_answering(lost))
            .start();
        let outcome = call_at(&server, &["--timeout", "2"]).fails(5, "unreachable");
        assert_eq!(outcome.json()["error"]["retryable"], true);
        assert_eq!(tokens_sent(&server), 1);
    }
}

#[test]
fn the_second_connection_of_an_exchange_is_not_kept_but_fresh() {
    let server = Server::tls()
        .step(discovery_answering(metadata_reply().close_before_next()))
        .step(exchange_answering(issued_reply().reset_after(0)))
        .start();
    call_at(&server, &["--timeout", "2"]).fails(5, "unreachable");
    assert_eq!(tokens_sent(&server), 2);
}

#[test]
fn busy_replies_do_not_use_up_the_tries_of_a_lost_connection() {
    let busy = || exchange_answering(Reply::status(503));
    let server = serves(
        Server::tls()
            .step(discovery())
            .step(busy())
            .step(busy())
            .step(busy())
            .step(exchange_answering(Reply::status(503).close_before_next()))
            .step(exchange()),
    );
    assert_eq!(server.connections(), 2);

    let busy = || discovery_answering(Reply::status(503));
    serves(
        Server::tls()
            .step(busy())
            .step(busy())
            .step(busy())
            .step(discovery_answering(metadata_reply().cut_after(20)))
            .step(discovery())
            .step(exchange()),
    );
}

#[test]
fn a_refusal_is_never_repeated() {
    for status in [400, 401, 403, 404, 408, 409, 425] {
        let server = answering(Reply::status(status)).start();
        let outcome = call_at(&server, &[]).run();
        assert!(matches!(outcome.status, Some(4 | 6)), "{outcome:#?}");
        assert_eq!(tokens_sent(&server), 1, "HTTP {status}");
    }
}

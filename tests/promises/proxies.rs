//! The way out is the proxy's that the environment names, or there is none: never a silent
//! straight connection, and never the proxy's password on a screen.

use std::time::Duration;

use crate::support::certs::Ca;
use crate::support::process::Outcome;
use crate::support::proxy::Proxy;
use crate::support::server::{Server, accept};
use crate::world::*;

const PASSWORD: &str = "correct horse/battery";
const ENCODED_PASSWORD: &str = "correct%20horse%2Fbattery";

/// A call of a plain server, which `--insecure` allows.
fn call_plain(server: &Server) -> Call {
    call(&["-s", &server.url(), "--insecure"]).args(&["--identity-token-file", token_file()])
}

/// Calls a server that nobody must reach through a proxy that is no good, verbosely, with a
/// deadline of two seconds; expects an end within three, the proxy's name and no password.
fn through_bad(proxy: &Proxy, code: &str) -> Outcome {
    let server = Server::tls().start();
    let outcome = call_at(&server, &["--timeout", "2", "-v"])
        .env("https_proxy", &proxy.url_with("ada", ENCODED_PASSWORD))
        .secret(PASSWORD)
        .secret(ENCODED_PASSWORD)
        .fails(5, code);
    assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:#?}");
    assert_eq!(server.connections(), 0, "{outcome:#?}");
    let message = outcome.json()["error"]["message"].clone();
    let name = format!("127.0.0.1:{}", proxy.port());
    assert!(message.as_str().unwrap().contains(&name), "{outcome:#?}");
    outcome
}

/// A proxy's answer to CONNECT, and nothing else.
fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn each_variable_for_https_leads_through_one_tunnel() {
    for variable in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        let (proxy, server) = (Proxy::start(), connect().start());
        call_at(&server, &[]).env(variable, &proxy.url()).succeeds();
        let requests = proxy.requests();
        assert_eq!(requests.len(), 1, "{variable}");
        let line = format!("CONNECT localhost:{} HTTP/1.1", server.port());
        assert_eq!(requests[0].line, line);
        let host = format!("localhost:{}", server.port());
        assert_eq!(requests[0].header("host"), Some(host.as_str()));
        assert_eq!(requests[0].header("proxy-authorization"), None);
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn an_http_server_is_reached_by_connect_too() {
    for variable in ["http_proxy", "all_proxy", "ALL_PROXY"] {
        let proxy = Proxy::start();
        let server = Server::plain().step(discovery()).step(exchange()).start();
        call_plain(&server).env(variable, &proxy.url()).succeeds();
        let line = format!("CONNECT localhost:{} HTTP/1.1", server.port());
        assert_eq!(proxy.requests()[0].line, line, "{variable}");
    }
}

#[test]
fn another_schemes_variable_and_upper_case_http_proxy_are_not_read() {
    let proxy = Proxy::start();
    let server = Server::plain().step(discovery()).step(exchange()).start();
    call_plain(&server)
        .env("HTTP_PROXY", &proxy.url())
        .env("https_proxy", &proxy.url())
        .env("HTTPS_PROXY", &proxy.url())
        .succeeds();
    let server = connect().start();
    call_at(&server, &[])
        .env("http_proxy", &proxy.url())
        .env("HTTP_PROXY", &proxy.url())
        .succeeds();
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn lower_case_comes_before_upper_case_and_a_scheme_before_all() {
    let (first, other) = (Proxy::start(), Proxy::start());
    for (ahead, behind) in [
        ("https_proxy", "HTTPS_PROXY"),
        ("HTTPS_PROXY", "all_proxy"),
        ("all_proxy", "ALL_PROXY"),
    ] {
        let server = connect().start();
        call_at(&server, &[])
            .env(ahead, &first.url())
            .env(behind, &other.url())
            .succeeds();
    }
    assert_eq!(first.requests().len(), 3);
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn an_empty_variable_is_unset() {
    let proxy = Proxy::start();
    let server = connect().start();
    call_at(&server, &[])
        .env("https_proxy", "")
        .env("HTTPS_PROXY", &proxy.url())
        .env("no_proxy", "")
        .succeeds();
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn a_server_named_in_no_proxy_is_reached_straight() {
    let proxy = Proxy::start();
    for (variable, spelling) in [
        ("NO_PROXY", "localhost"),
        ("no_proxy", "other.example, LOCALHOST"),
        ("NO_PROXY", ".localhost"),
        ("NO_PROXY", "*"),
    ] {
        let server = connect().start();
        call_at(&server, &[])
            .env("https_proxy", &proxy.url())
            .env(variable, spelling)
            .succeeds();
    }
    let server = connect().start();
    let port = format!("localhost:{}", server.port());
    call_at(&server, &[])
        .env("https_proxy", &proxy.url())
        .env("no_proxy", &port)
        .succeeds();
    let server = connect().named("127.0.0.1").start();
    call_at(&server, &[])
        .env("https_proxy", &proxy.url())
        .env("no_proxy", "127.0.0.0/8")
        .succeeds();
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn a_server_that_no_proxy_does_not_name_is_reached_through_the_proxy() {
    let proxy = Proxy::start();
    let spellings = [
        "ocalhost",
        "localhost:1",
        "www.localhost",
        "127.0.0.1",
        "::1",
    ];
    for spelling in spellings {
        let server = connect().start();
        call_at(&server, &[])
            .env("https_proxy", &proxy.url())
            .env("no_proxy", spelling)
            .succeeds();
    }
    assert_eq!(proxy.requests().len(), spellings.len());
}

#[test]
fn credentials_are_percent_decoded_and_sent_as_basic() {
    let proxy = Proxy::requiring_basic("ada@example.com", PASSWORD);
    let server = connect().start();
    let url = proxy.url_with("ada%40example.com", ENCODED_PASSWORD);
    let outcome = call_at(&server, &["-v"])
        .env("https_proxy", &url)
        .secret(PASSWORD)
        .secret(ENCODED_PASSWORD)
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    assert_eq!(proxy.requests().len(), 1);
    for request in server.requests() {
        assert_eq!(request.header("proxy-authorization"), None);
    }
}

#[test]
fn a_proxy_without_a_scheme_is_http() {
    let proxy = Proxy::requiring_basic("ada", "hunter2hunter2");
    let server = connect().start();
    call_at(&server, &[])
        .env(
            "ALL_PROXY",
            &format!("ada:hunter2hunter2@127.0.0.1:{}/", proxy.port()),
        )
        .secret("hunter2hunter2")
        .succeeds();
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn a_name_that_only_the_proxy_knows_is_left_to_the_proxy() {
    let name = "connect.corp.invalid";
    let server = connect()
        .identity(Ca::shared().issue(&[name]))
        .named(name)
        .start();
    let proxy = Proxy::start().forward_to(server.address());
    call_at(&server, &[])
        .env("https_proxy", &proxy.url())
        .succeeds();
    let line = format!("CONNECT {name}:{} HTTP/1.1", server.port());
    assert_eq!(proxy.requests()[0].line, line);
}

#[test]
fn an_ipv6_server_keeps_its_brackets_in_connect() {
    let proxy = Proxy::start();
    let server = connect().bind("[::1]:0").named("[::1]").start();
    call_at(&server, &[])
        .env("https_proxy", &proxy.url())
        .succeeds();
    let line = format!("CONNECT [::1]:{} HTTP/1.1", server.port());
    assert_eq!(proxy.requests()[0].line, line);
}

#[test]
fn certificates_are_checked_through_a_tunnel_too() {
    let (proxy, server) = (Proxy::start(), Server::tls().start());
    call(&["-s", &server.url(), "--identity-token-file", token_file()])
        .env("https_proxy", &proxy.url())
        .fails(5, "tls");
}

#[test]
fn a_proxy_that_wants_credentials_is_unreachable_and_says_so() {
    for proxy in [
        Proxy::requiring_basic("ada", "another password"),
        Proxy::replying(answer("407 Proxy Authentication Required")),
        // As some proxies spell it, in the encoding of their country.
        Proxy::replying(
            &b"HTTP/1.1 407 Authentifizierung n\xf6tig\r\nContent-Length: 0\r\n\r\n"[..],
        ),
    ] {
        let outcome = through_bad(&proxy, "unreachable");
        let error = &outcome.json()["error"];
        assert_eq!(error["retryable"], false);
        assert_eq!(error["http_status"], 407);
        assert!(outcome.stderr.contains("credentials"), "{outcome:#?}");
        assert_eq!(proxy.requests().len(), 1, "repeating cannot help");
    }
}

#[test]
fn a_proxy_that_will_not_connect_is_unreachable_with_its_status() {
    for (status, tries) in [("403 Forbidden", 1), ("502 Bad Gateway", 3)] {
        let proxy = Proxy::replying(answer(status));
        let outcome = through_bad(&proxy, "unreachable");
        let error = &outcome.json()["error"];
        assert_eq!(error["http_status"].to_string(), status[..3]);
        assert_eq!(error["retryable"], true);
        assert_eq!(proxy.requests().len(), tries, "{status}");
    }
}

#[test]
fn a_proxy_that_is_down_is_unreachable_by_name() {
    let proxy = Proxy::start();
    let url = proxy.url_with("ada", ENCODED_PASSWORD);
    let name = format!("the proxy 127.0.0.1:{}", proxy.port());
    drop(proxy);
    let server = Server::tls().start();
    let outcome = call_at(&server, &["-v"])
        .env("https_proxy", &url)
        .secret(PASSWORD)
        .secret(ENCODED_PASSWORD)
        .fails(5, "unreachable");
    assert!(outcome.stderr.contains(&name), "{outcome:#?}");
    assert_eq!(server.connections(), 0);

    let outcome = call_at(&server, &[])
        .env(
            "https_proxy",
            "http://ada:hunter2hunter2@proxy.invalid:3128",
        )
        .secret("hunter2hunter2")
        .fails(5, "unreachable");
    assert!(
        outcome.stderr.contains("the proxy proxy.invalid:3128"),
        "{outcome:#?}"
    );
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_proxy_that_talks_garbage_is_unreachable() {
    through_bad(
        &Proxy::replying("SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        "unreachable",
    );
    through_bad(&Proxy::replying("SSH-2.0-OpenSSH_9.9\r\n"), "unreachable");
    through_bad(&Proxy::replying("HTTP/1.1 OK\r\n\r\n"), "unreachable");
    through_bad(&Proxy::replying("x".repeat(100_000)), "unreachable");
    through_bad(&Proxy::replying(vec![0; 100]), "unreachable");
}

#[test]
fn a_proxy_that_closes_is_unreachable() {
    through_bad(&Proxy::closing(), "unreachable");
    through_bad(&Proxy::replying("HTTP/1.1 200 Connec"), "unreachable");
}

#[test]
fn a_silent_proxy_ends_at_the_deadline_by_name() {
    through_bad(&Proxy::silent(), "timeout");
}

#[test]
fn a_dripping_proxy_ends_at_the_deadline_by_name() {
    let reply = format!(
        "HTTP/1.1 200 OK\r\nX-Padding: {}\r\n\r\n",
        "x".repeat(1_000)
    );
    let proxy = Proxy::dripping(reply, Duration::from_millis(100));
    through_bad(&proxy, "timeout");
}

#[test]
fn a_slow_proxy_that_answers_in_time_serves() {
    let server = connect().start();
    // What follows the head is the server's: not a byte too many may be read.
    let proxy = Proxy::start();
    call_at(&server, &["--timeout", "10"])
        .env("https_proxy", &proxy.url())
        .succeeds();
    let reply = answer("407 Proxy Authentication Required");
    through_bad(
        &Proxy::dripping(reply, Duration::from_millis(5)),
        "unreachable",
    );
}

#[test]
fn a_proxys_reply_with_sixty_headers_is_fine() {
    let headers: String = (0..60)
        .map(|number| format!("X-Header-{number}: value\r\n"))
        .collect();
    let server = Server::tls().start();
    let refusing = Proxy::replying(format!("HTTP/1.1 200 OK\r\n{headers}\r\n"));
    let outcome = call_at(&server, &[])
        .env("https_proxy", &refusing.url())
        .fails(5, "unreachable");
    // The tunnel stood: what failed came after the reply, in the TLS handshake.
    assert!(!outcome.stderr.contains("not HTTP"), "{outcome:#?}");
    assert_eq!(
        outcome.json()["error"]["http_status"],
        serde_json::Value::Null
    );
    let refusing = Proxy::replying(format!("HTTP/1.1 407 No\r\n{headers}\r\n"));
    through_bad(&refusing, "unreachable");
}

#[test]
fn endless_headers_of_a_proxy_end() {
    let reply = format!(
        "HTTP/1.1 200 OK\r\n{}",
        "X-More: and more\r\n".repeat(5_000)
    );
    through_bad(&Proxy::replying(reply), "unreachable");
}

#[test]
fn a_proxy_that_cannot_be_used_is_a_usage_error_before_anything_is_sent() {
    let server = Server::tls().start();
    for url in [
        "socks5://ada:hunter2hunter2@127.0.0.1:1080",
        "socks5h://127.0.0.1:1080",
        "socks4://127.0.0.1",
        "https://ada:hunter2hunter2@127.0.0.1:3128",
        "ftp://127.0.0.1",
        "http://ada:hunter2hunter2@127.0.0.1:99999",
        "http://ada:hunter2hunter2@127.0.0.1:port",
        "http://ada:hunter2hunter2@",
        "http://",
        "http://ada:hunter2/hunter2hunter2@127.0.0.1:3128",
        "127.0.0.1:3128:3128",
        "proxy example:3128",
        "http://proxy\\example",
        "http://[::1",
        "://127.0.0.1",
    ] {
        for variable in ["https_proxy", "ALL_PROXY"] {
            let outcome = call_at(&server, &["-v"])
                .env(variable, url)
                .secret("hunter2hunter2")
                .fails(2, "usage");
            assert!(outcome.stderr.contains(variable), "{outcome:#?}");
        }
    }
    assert_eq!(server.connections(), 0);

    let plain = Server::plain().start();
    call_plain(&plain)
        .env("http_proxy", "socks5://127.0.0.1:1080")
        .fails(2, "usage");
    assert_eq!(plain.connections(), 0);
}

#[test]
fn a_proxy_that_cannot_be_used_does_not_matter_where_it_is_not_needed() {
    let server = connect().start();
    call_at(&server, &[])
        .env("https_proxy", "socks5://127.0.0.1:1080")
        .env("no_proxy", "localhost")
        .succeeds();
}

#[test]
fn a_tunnel_that_the_proxy_drops_is_dialled_again() {
    let server = Server::tls()
        .step(accept().reset())
        .step(discovery())
        .step(exchange())
        .start();
    let proxy = Proxy::start();
    call_at(&server, &[])
        .env("https_proxy", &proxy.url())
        .succeeds();
    assert_eq!(proxy.requests().len(), 2);
}

//! Every way in which a network or a server breaks a conversation, at every stage of it.
//!
//! Each fault is a test of its own at each stage. Each ends in the table's status and code, in
//! time and in little memory, with one whole document on stdout or nothing, and with no secret
//! and no control character anywhere (which [`Call::run`] sees to).

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::certs::{self, Ca, Identity, LOCAL_NAMES};
use crate::support::process::Outcome;
use crate::support::server::{Builder, Reply, Server, Step, accept, get, post};
use crate::world::*;

const REQUEST_TOKEN: &str = "runner-request-token-4f8a1c";
const REVOKE: &str = "/oauth/revoke";

/// What the program asks for when the fault happens.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Provider,
    Discovery,
    Exchange,
    Check,
    Revocation,
}
use Stage::*;

/// How the run ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Fine,
    Unreachable,
    Tls,
    Timeout,
    Unavailable,
    BadResponse,
}
use End::*;

impl Stage {
    /// The reply when all is well, long enough to be cut inside.
    fn good(self) -> Reply {
        let mut answer: Value = match self {
            Provider => json!({"value": token()}),
            Discovery => {
                let mut metadata = metadata();
                metadata["revocation_endpoint"] = json!(format!("{{origin}}{REVOKE}"));
                metadata
            }
            Exchange => issued(),
            Check => json!({"username": "ada"}),
            Revocation => json!({}),
        };
        // In front of what matters: members are written in the order of their names.
        answer["_"] = json!("x".repeat(500));
        Reply::json(200, answer)
    }

    fn step(self, reply: Reply) -> Step {
        match self {
            Provider => get("/token?audience=connect").reply(reply),
            Discovery => get(METADATA).reply(reply),
            Exchange => post(TOKEN_ENDPOINT).reply(reply),
            Check => get(USER).reply(reply),
            Revocation => post(REVOKE).reply(reply),
        }
    }

    /// A server that plays all stages well but this one.
    fn server(self, bad: Reply) -> Builder {
        let all = [Provider, Discovery, Exchange, Check, Revocation];
        all.into_iter().fold(Server::tls(), |server, stage| {
            let reply = if stage == self {
                bad.clone()
            } else {
                stage.good()
            };
            server.route(stage.step(reply))
        })
    }

    /// The call that comes to this stage at this server, with the test's CA for the system's
    /// trust; another server is Connect where this one is a provider.
    fn call(self, url: &str, connect: &Server) -> Call {
        let connect = connect.url();
        let server = if self == Provider { &connect } else { url };
        let call = call(&["-s", server, "--timeout", "2"])
            .env("SSL_CERT_FILE", ca_file())
            .secret(REQUEST_TOKEN);
        match self {
            Provider => call
                .env("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{url}/token"))
                .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN),
            Discovery | Exchange => call.args(&["--identity-token-file", token_file()]),
            Check => call.args(&["--identity-token-file", token_file(), "--check"]),
            Revocation => call
                .args(&["erase"])
                .stdin(json!({"version": 1, "api_key": KEY}).to_string()),
        }
    }

    /// The exit status and the code of the table. A provider's failure is the provider's.
    fn ends(self, end: End) -> (i32, &'static str) {
        match (self, end) {
            (_, Fine) => (0, ""),
            (_, Timeout) => (5, "timeout"),
            (Provider, _) => (3, "identity_provider_failed"),
            (_, Unreachable) => (5, "unreachable"),
            (_, Tls) => (5, "tls"),
            (_, Unavailable) => (5, "unavailable"),
            (_, BadResponse) => (6, "bad_response"),
        }
    }

    /// Runs to the end, which must come in time and in little memory.
    fn holds(self, call: Call, end: End) -> Outcome {
        let outcome = match self.ends(end) {
            (0, _) => call.succeeds(),
            (status, code) => call.fails(status, code),
        };
        assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:#?}");
        assert!(outcome.peak_memory.unwrap_or(0) < 16 << 20, "{outcome:#?}");
        if end == Fine && self != Revocation {
            assert_eq!(outcome.json()["api_key"], KEY);
        }
        outcome
    }

    /// Calls it at this server, and runs to the end.
    fn ends_at(self, url: &str, end: End) -> Outcome {
        let connect = self.server(self.good()).start();
        self.holds(self.call(url, &connect), end)
    }

    /// Meets a reply that is made from the good one.
    fn meets(self, bad: impl FnOnce(Reply) -> Reply, end: End) {
        let server = self.server(bad(self.good())).start();
        self.ends_at(&server.url(), end);
    }

    /// Meets a connection on which this happens, each time it is tried.
    fn connects(self, identity: Identity, event: Option<fn() -> Step>, end: End) {
        let mut server = self.server(self.good()).identity(identity);
        // What cannot connect is tried three times; what cannot be trusted only once.
        let times = if end == Unreachable { 3 } else { 1 };
        for event in event.iter().cycle().take(event.iter().len() * times) {
            server = server.step(event());
        }
        let server = server.start();
        self.ends_at(&server.url(), end);
        assert_eq!(server.requests().len(), 0, "asked all the same");
    }
}

/// A whole reply of these bytes, in place of the good one.
fn raw(bytes: impl AsRef<[u8]>) -> impl FnOnce(Reply) -> Reply {
    move |_| Reply::raw(bytes.as_ref())
}

/// A head with these lines, and an empty object.
fn head(lines: &str) -> impl FnOnce(Reply) -> Reply {
    raw(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{{}}"))
}

/// A body, in place of the good one.
fn body(bytes: impl Into<Vec<u8>>) -> impl FnOnce(Reply) -> Reply {
    move |_| Reply::text(200, bytes).header("Content-Type", "application/json")
}

/// A status, in place of 200, with this `Retry-After`.
fn busy(status: u16, retry_after: &str) -> impl FnOnce(Reply) -> Reply {
    move |_| Reply::status(status).header("Retry-After", retry_after)
}

/// A gzip of a gigabyte of zeros in less than a megabyte: one literal, then the longest copy of
/// it over and over (RFC 1951 section 3.2.6).
fn gzip_bomb() -> Vec<u8> {
    let mut bomb = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    // The block's header 1 1 0, the literal 0x00, and the copies: 11000101 00000, repeated.
    let start = "110".chars().chain("00110000".chars());
    let copies = "1100010100000".chars().cycle().take(13 * 500_000);
    let bits: Vec<bool> = start.chain(copies).map(|bit| bit == '1').collect();
    bomb.extend(bits.chunks(8).map(|byte| {
        let bits = byte.iter().enumerate();
        bits.fold(0u8, |all, (place, bit)| all | u8::from(*bit) << place)
    }));
    bomb
}

macro_rules! faults {
    ($stage:expr; $($name:ident: $fault:expr => $end:expr;)*) => {
        $(#[test] fn $name() { $stage.meets($fault, $end); })*
    };
}

/// What breaks the transport, whatever it carries.
macro_rules! at_every_stage {
    ($($module:ident: $stage:ident,)*) => {$(mod $module { use super::*; faults! { $stage;
        a_reset_before_the_reply: |good: Reply| good.reset_after(0) => Unreachable;
        a_reset_in_the_head: |good: Reply| good.reset_after(20) => Unreachable;
        a_reset_in_the_body: |good: Reply| good.reset_after(300) => Unreachable;
        a_close_before_the_reply: |good: Reply| good.cut_politely_after(0) => Unreachable;
        a_close_in_the_head: |good: Reply| good.cut_politely_after(20) => Unreachable;
        a_close_in_the_body: |good: Reply| good.cut_politely_after(300) => Unreachable;
        a_cut_below_tls: |good: Reply| good.cut_after(300) => Unreachable;
        a_body_to_the_end_that_is_cut_below_tls:
            |good: Reply| good.without_length().cut_after(10_000) => Unreachable;
        a_chunked_body_that_is_cut: |good: Reply| good.chunked().cut_politely_after(300) => Unreachable;
        a_length_that_promises_more: |good: Reply| good.length(5_000).close() => Unreachable;

        silence_before_the_reply: |good: Reply| good.silence_after(0) => Timeout;
        silence_in_the_head: |good: Reply| good.silence_after(20) => Timeout;
        silence_in_the_body: |good: Reply| good.silence_after(300) => Timeout;
        silence_in_a_chunked_body: |good: Reply| good.chunked().silence_after(300) => Timeout;
        a_length_that_promises_more_and_no_end: |good: Reply| good.length(5_000) => Timeout;
        a_reply_that_is_dripped: |good: Reply| good.drip(Duration::from_millis(50)) => Timeout;

        a_record_that_nobody_signed: |good: Reply| good.forge_after(300) => Tls;

        an_endless_body: |good: Reply| good.endless("more and more ") => BadResponse;
        an_endless_chunked_body: |good: Reply| good.chunked().endless("more ") => BadResponse;
        an_endless_head: |good: Reply| good.endless_head("X-More: and more\r\n") => BadResponse;
        an_endless_header: |good: Reply| good.endless_head("X-More-and-more-") => BadResponse;
        endless_interim_replies: |_| Reply::endless_1xx() => BadResponse;
        a_body_of_more_than_a_megabyte:
            body(format!("{{\"_\":\"{}\"}}", "x".repeat(1 << 20))) => BadResponse;
        another_protocol: raw("SSH-2.0-OpenSSH_9.9\r\n\r\n") => BadResponse;
        zeros: raw([0; 4_096]) => BadResponse;
        a_status_that_is_no_number: raw("HTTP/1.1 two OK\r\n\r\n") => BadResponse;
        a_status_out_of_range: raw("HTTP/1.1 42 OK\r\nContent-Length: 0\r\n\r\n") => BadResponse;
        another_version_of_http: raw("HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n") => BadResponse;
        a_length_that_is_negative: head("Content-Length: -1") => BadResponse;
        a_length_that_is_no_number: head("Content-Length: two") => BadResponse;
        a_length_that_overflows: head("Content-Length: 99999999999999999999999") => BadResponse;
        a_header_without_a_colon: head("X-More") => BadResponse;
        a_header_with_a_nul: head("X-More: a\0b") => BadResponse;
        a_chunk_without_a_size:
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsize\r\n{}\r\n0\r\n\r\n") => BadResponse;
        a_chunk_of_a_negative_size:
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n") => BadResponse;

        a_server_that_broke: |_| Reply::html(500, "<h1>Sorry</h1>") => Unavailable;
        a_gateway_that_broke: |_| Reply::html(502, "<h1>Bad gateway</h1>") => Unavailable;
        a_gateway_that_waits: |_| Reply::html(504, "") => Unavailable;
        a_server_that_is_busy: |_| Reply::status(503) => Unavailable;
        a_server_that_limits: |_| Reply::status(429) => Unavailable;
        a_server_that_is_busy_for_an_hour: busy(503, "3600") => Unavailable;
        a_server_that_limits_for_an_hour: busy(429, "3600") => Unavailable;
        a_server_that_is_busy_for_ever: busy(503, "99999999999999999999999") => Unavailable;
        a_server_that_is_busy_until_a_date: busy(503, "Wed, 21 Oct 2037 07:28:00 GMT") => Unavailable;
        a_server_that_is_busy_until_before: busy(503, "-1") => Unavailable;
        a_server_that_is_busy_until_it_is_not: busy(429, "soon") => Unavailable;

        http_1_0: |good: Reply| good.http10() => Fine;
        a_close_that_is_announced: |good: Reply| good.close() => Fine;
        a_close_that_is_not: |good: Reply| good.close_silently() => Fine;
        a_body_in_chunks: |good: Reply| good.chunked() => Fine;
        a_body_to_the_end: |good: Reply| good.without_length() => Fine;
        a_reply_that_takes_its_time: |good: Reply| good.delay(Duration::from_millis(300)) => Fine;
        a_reply_with_sixty_headers: |good: Reply| (0..60)
            .fold(good, |good, number| good.header(&format!("X-{number}"), "x")) => Fine;
    }})*};
}

mod transport {
    use super::*;
    at_every_stage! {
        provider: Provider,
        discovery: Discovery,
        exchange: Exchange,
        check: Check,
        revocation: Revocation,
    }
}

/// What is well carried and makes no sense. Of a revocation only the status is read.
macro_rules! where_replies_are_read {
    ($($module:ident: $stage:ident,)*) => {$(mod $module { use super::*; faults! { $stage;
        an_empty_body: body("") => BadResponse;
        no_content: |_| Reply::status(204) => BadResponse;
        a_web_page: |_| Reply::html(200, "<!doctype html><title>Sign in</title>") => BadResponse;
        json_that_is_an_array: body("[]") => BadResponse;
        json_that_is_a_text: body("\"{}\"") => BadResponse;
        json_that_is_null: body("null") => BadResponse;
        json_with_more_behind_it: body("{} {}") => BadResponse;
        json_that_ends_early: |good: Reply| good.length(300).close() => BadResponse;
        text_that_is_not_utf_8: body(*b"{\"_\":\"\xff\xfe\"}") => BadResponse;
        text_in_utf_16: body(*b"\xff\xfe{\0}\0") => BadResponse;
        brackets_200_000_deep: body("[".repeat(200_000)) => BadResponse;
        brackets_200_000_deep_in_a_member:
            body(format!("{{\"_\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000))) => BadResponse;
        objects_100_000_deep: body("{\"_\":".repeat(100_000)) => BadResponse;
        a_gzip_of_a_gigabyte:
            |_| Reply::text(200, gzip_bomb()).header("Content-Encoding", "gzip") => BadResponse;
        a_gzip_of_a_gigabyte_that_is_not_announced: body(gzip_bomb()) => BadResponse;
    }})*};
}

mod meaning {
    use super::*;
    where_replies_are_read! {
        provider: Provider,
        discovery: Discovery,
        exchange: Exchange,
        check: Check,
    }
}

macro_rules! connections {
    ($stage:expr; $($name:ident: $identity:expr, $event:expr => $end:expr;)*) => {
        $(#[test] fn $name() { $stage.connects($identity, $event, $end); })*
    };
}

/// What breaks before the first request, to each server that is connected to.
macro_rules! to_every_server {
    ($($module:ident: $stage:ident,)*) => {$(mod $module { use super::*; connections! { $stage;
        a_connection_that_is_reset: Identity::shared(), Some(|| accept().reset()) => Unreachable;
        a_connection_that_is_closed: Identity::shared(), Some(|| accept().close()) => Unreachable;
        a_connection_that_is_silent: Identity::shared(), Some(|| accept().silence()) => Timeout;
        a_handshake_that_is_cut: Identity::shared(), Some(|| accept().cut_handshake(100)) => Unreachable;
        a_handshake_that_stalls: Identity::shared(), Some(|| accept().stall_handshake(100)) => Timeout;
        plain_http_for_a_handshake:
            Identity::shared(), Some(|| accept().send("HTTP/1.1 400 Bad Request\r\n\r\n")) => Tls;
        zeros_for_a_handshake: Identity::shared(), Some(|| accept().send([0; 512])) => Tls;
        an_alert_for_a_handshake:
            Identity::shared(), Some(|| accept().send(*b"\x15\x03\x03\x00\x02\x02\x28")) => Tls;
        a_certificate_that_expired: certs::expired(), None => Tls;
        a_certificate_of_the_future: certs::not_yet_valid(), None => Tls;
        a_certificate_for_another_name: certs::other_name(), None => Tls;
        a_certificate_that_signs_itself: Identity::self_signed(&LOCAL_NAMES, false), None => Tls;
        a_certificate_of_another_ca: Ca::new().issue(&LOCAL_NAMES), None => Tls;
    }})*};
}

mod connections {
    use super::*;
    to_every_server! {
        provider: Provider,
        discovery: Discovery,
    }

    /// What has no address is no server, and nobody is asked twice about what cannot be a name.
    #[test]
    fn a_host_that_has_no_address() {
        let long = format!("https://{}.example", "a".repeat(64));
        for url in ["https://no-such-host.invalid", "https://..", &long] {
            for stage in [Provider, Discovery] {
                stage.ends_at(url, Unreachable);
            }
        }
    }

    #[test]
    fn a_port_that_nobody_listens_at() {
        for stage in [Provider, Discovery, Revocation] {
            let server = Server::tls().start();
            server.stop();
            stage.ends_at(&server.url(), Unreachable);
        }
    }
}

mod behind {
    use super::*;

    /// Two replies where one was asked for: the second is nobody's answer, least of all the key.
    #[test]
    fn a_reply_that_nobody_asked_for_is_no_answer() {
        let unasked = json!({"access_token": "unasked-for-key-0123456789"}).to_string();
        // As long as it goes out.
        let metadata = json!({"token_endpoint": TOKEN_ENDPOINT}).to_string();
        let both = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{metadata}\
             HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{unasked}",
            metadata.len(),
            unasked.len(),
        );
        let server = Discovery.server(Reply::raw(both).keep()).start();
        let outcome = call_at(&server, &[]).succeeds();
        assert_eq!(outcome.json()["api_key"], KEY);
    }
}

mod endpoints {
    use super::*;

    /// What the metadata advertises, with `{evil}` for another server's host and port. It is
    /// taken for a place of the server's own, or refused, and nobody else is ever connected to.
    fn advertised(endpoint: &str, place: Option<&str>) {
        let evil = Server::tls().start();
        let evils = evil.url().replace("https://", "");
        let endpoint = endpoint.replace("{evil}", &evils);
        let metadata = json!({"token_endpoint": endpoint});
        let server = Server::tls().step(
            get("/rsc/.well-known/oauth-authorization-server").reply(Reply::json(200, metadata)),
        );
        let server = match place {
            Some(place) => {
                let place = place.replace("{evil}", &evils);
                server.step(post(&place).reply(Exchange.good()))
            }
            None => server,
        };
        let server = server.start();
        let call = call_to(&format!("{}/rsc", server.url()));
        match place {
            Some(_) => call.succeeds(),
            None => call.fails(6, "unsafe_endpoint"),
        };
        server.finish();
        assert_eq!(evil.connections(), 0);
    }

    macro_rules! endpoints {
        ($($name:ident: $endpoint:expr => $place:expr;)*) => {
            $(#[test] fn $name() { advertised($endpoint, $place); })*
        };
    }

    endpoints! {
        another_host: "https://{evil}/t" => Some("/rsc/t");
        another_host_without_tls: "http://{evil}/t" => Some("/rsc/t");
        another_host_without_a_scheme: "//{evil}/t" => Some("/rsc/t");
        another_port: "https://localhost:1/t" => Some("/rsc/t");
        the_default_port: "https://localhost:443/t" => Some("/rsc/t");
        capitals: "HTTPS://LOCALHOST/rsc/T" => Some("/rsc/T");
        an_ipv6_address: "https://[::1]:1/t" => Some("/rsc/t");
        an_ipv6_address_of_an_ipv4: "https://[::ffff:127.0.0.1]:1/t" => Some("/rsc/t");
        an_address_in_octal: "https://0177.0.0.1/t" => Some("/rsc/t");
        an_address_as_a_number: "https://2130706433/t" => Some("/rsc/t");
        a_host_in_another_script: "https://b\u{fc}cher.example/t" => Some("/rsc/t");
        a_host_in_punycode: "https://xn--bcher-kva.example/t" => Some("/rsc/t");
        a_host_in_wide_letters: "https://\u{ff45}vil.example/t" => Some("/rsc/t");
        a_host_with_a_wide_dot: "https://evil\u{3002}example/t" => Some("/rsc/t");
        a_host_that_ends_in_a_dot: "https://localhost./t" => Some("/rsc/t");
        a_path: "/t" => Some("/rsc/t");
        a_path_below_the_prefix: "/rsc/t" => Some("/rsc/t");
        a_path_beside_the_prefix: "/rscx/t" => Some("/rsc/rscx/t");
        a_path_in_capitals: "/RSC/t" => Some("/rsc/RSC/t");
        a_relative_path: "t" => Some("/rsc/t");
        a_path_with_a_colon: "./t:1" => None;
        a_query: "/t?tenant=1&x=%2F" => Some("/rsc/t?tenant=1&x=%2F");
        a_query_with_a_url: "/t?next=https://{evil}/" => Some("/rsc/t?next=https://{evil}/");
        slashes: "/a//b" => Some("/rsc/a//b");
        a_slash_that_is_encoded: "/a%2Fb" => Some("/rsc/a%2Fb");
        a_path_in_another_script: "/\u{fc}" => Some("/rsc/%C3%BC");
        a_user: "https://user@localhost/t" => None;
        a_user_and_a_password: "https://user:pass@{evil}/t" => None;
        a_user_that_is_a_host: "https://localhost@{evil}/t" => None;
        a_user_that_is_empty: "https://@{evil}/t" => None;
        a_backslash_for_a_slash: "https:\\\\{evil}\\t" => None;
        a_backslash_before_a_user: "https://localhost\\@{evil}/t" => None;
        a_backslash_behind_a_slash: "/\\{evil}/t" => None;
        a_tab_inside: "/\t/{evil}/t" => None;
        a_line_feed_inside: "https://local\nhost/t" => None;
        a_carriage_return_at_the_end: "/t\r" => None;
        a_space_in_front: " /t" => None;
        a_space_that_is_wide: "/t\u{3000}" => None;
        a_nul: "/t\0" => None;
        a_fragment: "/t#x" => None;
        a_fragment_that_is_empty: "/t#" => None;
        dot_segments: "/rsc/../t" => None;
        a_dot_segment_at_the_end: "/t/.." => None;
        one_dot: "/rsc/./t" => None;
        dot_segments_that_are_encoded: "/rsc/%2e%2e/t" => None;
        dot_segments_that_are_encoded_in_part: "/rsc/.%2E/t" => None;
        dot_segments_behind_a_slash_that_is_encoded: "/rsc/a%2f..%2f..%2ft" => None;
        a_backslash_that_is_encoded: "/rsc/a%5c..%5c..%5ct" => None;
        another_scheme: "ftp://{evil}/t" => None;
        a_file: "file:///etc/passwd" => None;
        a_script: "javascript:alert(1)" => None;
        a_scheme_without_slashes: "https:{evil}/t" => None;
        a_scheme_with_one_slash: "https:/{evil}/t" => None;
        a_host_that_is_empty: "https:///{evil}/t" => None;
        a_host_that_is_encoded: "https://%65vil.example/t" => Some("/rsc/t");
        a_host_with_a_nul_that_is_encoded: "https://evil%00.example/t" => None;
        a_port_out_of_range: "https://localhost:99999/t" => None;
        an_address_that_is_not_closed: "https://[::1/t" => None;
    }
}

//! The command line, and what it leaves alone.

use crate::support::process::Stdin;
use crate::support::server::Server;
use crate::world::*;

#[test]
fn help_and_version_are_answered_whatever_else_is_wrong() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["--nonsense", "-h", "-f", "nonsense"],
        &["-s", "--help"],
        &["get", "--timeout", "-1", "--help"],
    ] {
        let outcome = call(args).succeeds();
        assert!(outcome.text().contains("Usage:"), "{}", outcome.text());
        assert!(outcome.text().lines().all(|line| line.len() <= 80));
    }
    for args in [&["--version"][..], &["-V"], &["-x", "--version"]] {
        let expected = concat!("connect-credential ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(call(args).succeeds().text(), expected);
    }
}

#[test]
fn without_a_verb_stdin_is_left_alone() {
    let server = connect().start();
    call_at(&server, &[]).stdin(Stdin::Silent).succeeds();
}

#[test]
fn a_token_on_stdin_is_read_to_its_end() {
    let server = connect().start();
    call(&[
        "-s",
        &server.url(),
        "--cacert",
        ca_file(),
        "--identity-token",
        "-",
    ])
    .stdin(format!("{}\n", token()))
    .succeeds();
    assert_eq!(
        server.requests()[1].field("subject_token").unwrap(),
        token()
    );
    let outcome = call(&["-s", "h", "--identity-token", "-"]).stdin("").run();
    assert_eq!(outcome.code(), "identity_token_unreadable");
    call(&["-s", "h", "--identity-token", "-", "--timeout", "0.3"])
        .stdin(Stdin::BytesThenOpen(token().into()))
        .fails(5, "timeout");
}

#[test]
fn stdin_cannot_carry_a_request_and_a_token() {
    for verb in ["get", "store", "erase"] {
        call(&[verb, "--identity-token", "-"])
            .stdin("{}")
            .fails(2, "usage");
    }
}

#[test]
fn the_environment_is_enough() {
    let server = connect().start();
    call(&[])
        .env("CONNECT_SERVER", &server.url())
        .env("CONNECT_IDENTITY_TOKEN_FILE", token_file())
        .env("CONNECT_CA_CERTIFICATE", ca_file())
        .env("CONNECT_AUDIENCE", "")
        .env("CONNECT_IDENTITY_TOKEN", "")
        .succeeds();
}

#[test]
fn an_option_beats_its_variable() {
    let server = connect().start();
    call_at(&server, &[])
        .env("CONNECT_SERVER", "https://other.invalid")
        .env("CONNECT_IDENTITY_TOKEN", "other")
        .env("CONNECT_CA_CERTIFICATE", "/nonexistent")
        .succeeds();
    assert_eq!(
        server.requests()[1].field("subject_token").unwrap(),
        token()
    );
}

#[test]
fn usage_errors_are_told_before_anything_is_sent() {
    let server = Server::tls().start();
    let at = server.url();
    let plain = at.replace("https", "http");
    for args in [
        &["--nope"][..],
        &["-f", "yaml-yaml-yaml"],
        &["fetch"],
        &["get", "get"],
        &["get", "-f", "key"],
        &["store", "-f", "env"],
        &["--timeout", "0"],
        &["--timeout", "-1"],
        &["--timeout", "nan"],
        &["--timeout", "inf"],
        &["--timeout", "1e400"],
        &["--timeout", "86401"],
        &["--server"],
        &["--server="],
        &["--identity-token", ""],
        &["--identity-token", "  "],
        &["--identity-token", "a", "--identity-token-file", "b"],
        &["--check", "--check"],
        &["-s", &at],
        &["--identity-provider", "nobody"],
        &["--cacert", "/nonexistent"],
        &["--cacert", "/"],
        &["--cacert", "/dev/null"],
        &["--param", "scope"],
        &["--param", "grant_type=x"],
        &["--scheme", "two words"],
        &["--token-endpoint", &plain],
        &["--token-endpoint", "nonsense"],
    ] {
        let mut all = vec!["-s", &at];
        all.extend(args);
        if !args.iter().any(|arg| arg.starts_with("--identity-token")) {
            all.extend(["--identity-token", "t"]);
        }
        let outcome = call(&all).stdin("{\"version\":1}").run();
        assert_eq!(outcome.status, Some(2), "{args:?} {outcome:#?}");
        assert_eq!(outcome.stderr.matches("connect-credential: ").count(), 1);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_unknown_format_leaves_stdout_empty() {
    let outcome = call(&["-f", "nonsense"]).run();
    assert_eq!((outcome.status, outcome.text().as_str()), (Some(2), ""));
}

#[test]
fn bad_servers_are_told_with_their_reason() {
    for (server, reason) in [
        ("https://user:password@h/", "user name"),
        ("https://h/?q=1", "query"),
        ("https://h\\evil/", "backslash"),
        ("https://h/a b", "white space"),
        ("http://h/", "http://"),
        ("gopher://h/", "scheme"),
        ("https://", "no host"),
        ("https://h:port/", "valid URL"),
        ("https://[::1/", "valid URL"),
    ] {
        let outcome = call(&["-s", server, "--identity-token", "t"]).fails(2, "usage");
        assert!(
            outcome.stderr.contains(reason),
            "{server}: {}",
            outcome.stderr
        );
        let outcome = call(&["--identity-token", "t"])
            .env("CONNECT_SERVER", server)
            .fails(2, "usage");
        assert!(
            outcome.stderr.contains("CONNECT_SERVER"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn no_token_at_all_is_its_own_error() {
    for args in [
        &[][..],
        &["--identity-provider", "auto"],
        &["--identity-provider", "none"],
    ] {
        let outcome = call(args)
            .env("CONNECT_SERVER", "https://h")
            .fails(3, "no_identity_token");
        assert!(
            outcome.stderr.contains("--identity-token-file"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn booleans_are_read_as_people_write_them() {
    for (value, status) in [("off", 2), ("NO", 2), ("maybe", 2), ("yes", 3), ("T", 3)] {
        let outcome = call(&["-s", "http://h"])
            .env("CONNECT_INSECURE", value)
            .run();
        assert_eq!(outcome.status, Some(status), "{value}");
    }
}

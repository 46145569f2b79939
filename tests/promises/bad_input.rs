//! Token files that are none, and outputs that cannot be written.

use std::process::Command;
use std::time::Duration;

use crate::support::process::Run;
use crate::support::server::Server;
use crate::world::*;

/// The program with this as its token file.
fn with_token_file(path: &str) -> Call {
    call(&[
        "-s",
        "https://connect.invalid",
        "--timeout",
        "10",
        "--identity-token-file",
        path,
    ])
}

#[test]
fn a_token_file_that_is_none_is_told() {
    let binary: Vec<u8> = (0..=255).collect();
    let long = "a".repeat(1024 * 1024 + 1);
    for (path, words) in [
        ("/nonexistent/token".to_owned(), "not found"),
        (env!("CARGO_TARGET_TMPDIR").to_owned(), "is a directory"),
        (file("empty", ""), "is empty"),
        (file("blank", " \n\t"), "is empty"),
        (file("binary", binary), "is not text"),
        (file("control", "abc\u{1b}[0m"), "visible ASCII"),
        (file("words", "two words"), "visible ASCII"),
        (file("unicode", "tokén"), "visible ASCII"),
        (file("long", long), "longer than"),
        ("/dev/null".to_owned(), "is empty"),
    ] {
        let outcome = with_token_file(&path).fails(3, "identity_token_unreadable");
        assert!(
            outcome.stderr.contains(words),
            "{words}: {}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains(&path), "{path}: {}", outcome.stderr);
    }
}

#[test]
fn an_endless_token_file_ends_at_its_limit() {
    let outcome = with_token_file("/dev/zero").fails(3, "identity_token_unreadable");
    assert!(outcome.peak_memory.unwrap_or(0) < 32 << 20, "{outcome:#?}");
}

#[test]
fn a_fifo_nobody_writes_to_ends_at_the_deadline() {
    let fifo = file("fifo", "");
    std::fs::remove_file(&fifo).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let outcome = call(&["-s", "https://connect.invalid", "--timeout", "0.5"])
        .args(&["--identity-token-file", &fifo])
        .fails(5, "timeout");
    assert!(outcome.elapsed < Duration::from_secs(3));
}

#[test]
fn a_fifo_that_is_written_to_is_a_token_file() {
    let server = connect().start();
    let script = format!(
        "exec \"$0\" -s {} --cacert {} --identity-token-file <(cat {})",
        server.url(),
        ca_file(),
        token_file()
    );
    let outcome = Run::new("/bin/bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_connect-credential")])
        .env("PATH", "/usr/bin:/bin")
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_told_on_stderr() {
    let server = open_connect().start();
    for args in [
        format!(
            "-s {} --cacert {} --identity-token-file {}",
            server.url(),
            ca_file(),
            token_file()
        ),
        "--version".into(),
        "--help".into(),
    ] {
        let script = format!("\"$0\" {args} >/dev/full");
        let outcome = Run::new("/bin/sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_connect-credential")])
            .run();
        assert_eq!(outcome.status, Some(1), "{outcome:#?}");
        assert!(
            outcome
                .stderr
                .starts_with("connect-credential: stdout cannot"),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_closed_stdout_is_like_dev_null() {
    let server = open_connect().start();
    let script = format!(
        "\"$0\" -s {} --cacert {} --identity-token-file {} >&-",
        server.url(),
        ca_file(),
        token_file()
    );
    let outcome = Run::new("/bin/sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_connect-credential")])
        .run();
    assert_eq!(
        (outcome.status, outcome.stderr.as_str()),
        (Some(0), ""),
        "{outcome:#?}"
    );
}

#[test]
fn a_cacert_without_a_certificate_is_a_usage_error_that_names_it() {
    let server = Server::tls().start();
    for content in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let path = file("bad.pem", content);
        let outcome = call(&[
            "-s",
            &server.url(),
            "--identity-token",
            "t",
            "--cacert",
            &path,
        ])
        .fails(2, "usage");
        assert!(outcome.stderr.contains(&path), "{}", outcome.stderr);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_token_given_in_place_of_its_file_is_not_shown() {
    for secret in [token(), "opaque-token-0123456789-abcdefghijkl"] {
        with_token_file(secret)
            .secret(secret)
            .fails(3, "identity_token_unreadable");
        call(&["-s", "https://h.invalid"])
            .env("CONNECT_IDENTITY_TOKEN_FILE", secret)
            .secret(secret)
            .fails(3, "identity_token_unreadable");
    }
    with_token_file("no\n::warning::such \u{1b}[31mfile").fails(3, "identity_token_unreadable");
}

#[test]
fn a_token_that_is_not_visible_ascii_is_unreadable_wherever_it_stands() {
    for token in ["two words", "tok\u{e9}n", "a\u{1b}b"] {
        call(&["-s", "https://h.invalid", "--identity-token", token])
            .fails(3, "identity_token_unreadable");
        call(&["-s", "https://h.invalid"])
            .env("CONNECT_IDENTITY_TOKEN", token)
            .fails(3, "identity_token_unreadable");
    }
}

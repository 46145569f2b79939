//! The formats, each a transcript: arguments, stdout and stderr as they are, in golden files.

use snapbox::{assert_data_eq, file};

use crate::support::process::Run;
use crate::support::server::Server;
use crate::world::*;

fn success(args: &[&str]) -> String {
    let server = connect().start();
    let outcome = call_at(&server, args).succeeds();
    transcript(&server, args, &outcome)
}

fn refusal(args: &[&str]) -> String {
    let server = refusing("invalid_grant", "no matching trusted publisher").start();
    let outcome = call_at(&server, args).run();
    transcript(&server, args, &outcome)
}

#[test]
fn json() {
    assert_data_eq!(success(&[]), file!["../golden/json.txt"].raw());
    assert_data_eq!(refusal(&[]), file!["../golden/json-refusal.txt"].raw());
}

#[test]
fn key() {
    assert_data_eq!(success(&["-f", "key"]), file!["../golden/key.txt"].raw());
    assert_data_eq!(
        refusal(&["-f", "key"]),
        file!["../golden/key-refusal.txt"].raw()
    );
}

#[test]
fn header() {
    assert_data_eq!(
        success(&["-f", "header"]),
        file!["../golden/header.txt"].raw()
    );
    let args = ["-f", "header", "--scheme", "Bearer"];
    assert_data_eq!(success(&args), file!["../golden/header-bearer.txt"].raw());
}

#[test]
fn env() {
    assert_data_eq!(success(&["-f", "env"]), file!["../golden/env.txt"].raw());
    assert_data_eq!(
        refusal(&["-f", "env"]),
        file!["../golden/env-refusal.txt"].raw()
    );
}

#[test]
fn a_shell_that_evaluates_env_has_the_key_or_fails_as_the_program_did() {
    let evaluate = |server: &str| {
        let script = format!(
            "eval \"$(\"$0\" -f env -s '{server}' --cacert {} --identity-token-file {} 2>&-)\" \
             || exit\n printf '%s %s' \"$CONNECT_SERVER\" \"$CONNECT_API_KEY\"",
            ca_file(),
            token_file()
        );
        Run::new("/bin/sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_connect-credential")])
            .run()
    };
    // A path that would do harm outside quotes.
    let path = "/a'b%20$(exit%209);&";
    let server = Server::tls()
        .route_with("GET", "/a", |_| {
            crate::support::server::Reply::json(200, metadata())
        })
        .route_with("POST", "/a", |_| {
            crate::support::server::Reply::json(200, issued())
        })
        .start();
    let outcome = evaluate(&format!("{}{}", server.url(), path.replace('\'', "'\\''")));
    assert_eq!(
        outcome.text(),
        format!("{}{path}/ {KEY}", server.url()),
        "{outcome:#?}"
    );
    let server = refusing("invalid_grant", "no").start();
    assert_eq!(evaluate(&server.url()).status, Some(4));
}

//! The JSON request on stdin.

use std::time::Duration;

use serde_json::json;

use crate::support::process::{Run, Stdin};
use crate::support::server::Server;
use crate::world::*;

/// `get` with this on stdin.
fn get_with(request: impl AsRef<[u8]>) -> Call {
    call(&["get"]).stdin(request)
}

#[test]
fn get_answers_as_soon_as_the_object_is_complete() {
    let server = connect().start();
    let request = json!({
        "version": 1,
        "server": server.url(),
        "identity_token": token(),
        "cacert": ca_file(),
        "audience": null,
        "something_new": [{}],
    });
    let open = Stdin::BytesThenOpen(request.to_string().into_bytes());
    let document = call(&["get"]).stdin(open).succeeds().json();
    assert_eq!(document["api_key"], KEY);
}

#[test]
fn options_beat_the_request_and_the_request_beats_the_environment() {
    let server = connect().start();
    let request = json!({
        "version": 1,
        "server": "https://request.invalid/",
        "identity_token_file": token_file(),
    });
    get_with(request.to_string())
        .args(&["--server", &server.url(), "--cacert", ca_file()])
        .env("CONNECT_SERVER", "https://environment.invalid")
        .env("CONNECT_IDENTITY_TOKEN", "silenced")
        .succeeds();
    assert_eq!(
        server.requests()[1].field("subject_token").unwrap(),
        token()
    );
}

#[test]
fn every_setting_can_be_in_the_request() {
    let server = Server::tls()
        .step(
            crate::support::server::post("/t")
                .reply(crate::support::server::Reply::json(200, issued())),
        )
        .start();
    let request = json!({
        "version": 1,
        "token_endpoint": format!("{}/t", server.url()),
        "identity_token": "opaque-token",
        "insecure": true,
        "check": false,
        "timeout": 5.5,
        "client_id": "client",
        "subject_token_type": "urn:s",
        "requested_token_type": "urn:r",
        "scheme": "Bearer",
        "params": {"scope": "a b"},
    });
    let document = get_with(request.to_string()).succeeds().json();
    assert_eq!(document["server"], format!("{}/", server.url()));
    let sent = &server.requests()[0];
    for (name, value) in [
        ("subject_token", "opaque-token"),
        ("subject_token_type", "urn:s"),
        ("requested_token_type", "urn:r"),
        ("client_id", "client"),
        ("scope", "a b"),
    ] {
        assert_eq!(sent.field(name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn what_is_no_request_is_a_bad_request() {
    let deep = format!("{{\"version\":1,\"x\":{}", "[".repeat(100_000));
    let long = format!("{{\"version\":1,\"x\":\"{}\"}}", "y".repeat(1024 * 1024));
    let cases: [(&[u8], &str); 14] = [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"not json", "not a JSON object"),
        (b"[{\"version\":1}]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"1", "not a JSON object"),
        (b"\"secret-secret-secret\"", "not a JSON object"),
        (b"{\"version\":1,", "ends before"),
        (b"{\"version\":1 x}", "line 1, column"),
        (b"{\"version\":1,\"server\":\"a\xff\"}", "not valid JSON"),
        (b"{}", "version is missing"),
        (b"{\"version\":null}", "version is missing"),
        (deep.as_bytes(), "not valid JSON"),
        (long.as_bytes(), "longer than"),
    ];
    for (request, words) in cases {
        let outcome = get_with(request)
            .secret("secret-secret-secret")
            .fails(2, "bad_request");
        assert!(
            outcome.stderr.contains(words),
            "{words}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn nothing_but_an_object_is_waited_for() {
    for first in ["1", "tru", "[", "\""] {
        let open = Stdin::BytesThenOpen(first.into());
        call(&["get", "--timeout", "15"])
            .stdin(open)
            .fails(2, "bad_request");
    }
}

#[test]
fn another_version_is_told_which_is_spoken() {
    for version in [json!(2), json!(0), json!(-1)] {
        let request = json!({"version": version, "server": 7}).to_string();
        let outcome = get_with(request).fails(2, "unsupported_version");
        assert!(outcome.stderr.contains("1 is"), "{}", outcome.stderr);
    }
    for version in [json!("1"), json!(1.0), json!(true), json!([1])] {
        let request = json!({"version": version}).to_string();
        let outcome = get_with(request).fails(2, "bad_request");
        assert!(
            outcome
                .stderr
                .contains("version in the request is not an integer")
        );
    }
}

#[test]
fn a_wrong_type_names_the_field_and_the_type_and_never_the_value() {
    for (field, value, wanted) in [
        ("server", json!(["secret-secret-secret"]), "a string"),
        (
            "identity_token",
            json!({"secret-secret-secret": 1}),
            "a string",
        ),
        ("insecure", json!("secret-secret-secret"), "true or false"),
        ("check", json!(1), "true or false"),
        (
            "timeout",
            json!("secret-secret-secret"),
            "a number of seconds",
        ),
        ("timeout", json!(0), "above 0"),
        ("timeout", json!(1e300), "at most 86400"),
        (
            "params",
            json!(["secret-secret-secret"]),
            "an object of strings",
        ),
        ("params", json!({"a": 1}), "an object of strings"),
        ("server", json!(""), "is empty"),
        ("identity_token", json!("  "), "is empty"),
        (
            "identity_provider",
            json!("secret-secret-secret"),
            "no identity provider",
        ),
        ("scheme", json!("a b"), "one word"),
        (
            "server",
            json!("https://u:secret-secret-secret@h"),
            "user name",
        ),
    ] {
        let mut request = json!({"version": 1, "server": "https://h", "identity_token": "t"});
        request[field] = value;
        if field == "identity_provider" {
            request["identity_token"] = json!(null);
        }
        let outcome = get_with(request.to_string())
            .secret("secret-secret-secret")
            .fails(2, "bad_request");
        assert!(
            outcome.stderr.contains(wanted),
            "{field}: {}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains(field),
            "{field}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn two_sources_in_one_request_are_a_bad_request() {
    let request = json!({"version": 1, "server": "h", "identity_token": "a",
        "identity_token_file": "b"});
    get_with(request.to_string()).fails(2, "bad_request");
}

#[test]
fn a_request_that_never_comes_ends_at_the_deadline() {
    for begun in ["", "  ", "{\"version\":1,"] {
        let open = Stdin::BytesThenOpen(begun.into());
        let outcome = call(&["get", "--timeout", "0.3"])
            .stdin(open)
            .fails(5, "timeout");
        assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:#?}");
    }
}

#[test]
fn store_and_an_erase_of_no_key_read_their_request_and_do_nothing() {
    for (verb, key) in [("store", json!(KEY)), ("erase", json!(null))] {
        let request = json!({"version": 1, "server": "https://h.invalid", "api_key": key});
        let outcome = call(&[verb]).stdin(request.to_string()).succeeds();
        assert_eq!(outcome.text(), "");
        call(&[verb]).stdin("nonsense").fails(2, "bad_request");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_a_verb_says_how_to_call_it() {
    if !is_installed("script", "get on a terminal") {
        return;
    }
    for verb in ["get", "store", "erase"] {
        let command = format!("{} {verb}", env!("CARGO_BIN_EXE_connect-credential"));
        let outcome = Run::new("/usr/bin/env")
            .args(["script", "-qec", &command, "/dev/null"])
            .env("PATH", "/usr/bin:/bin")
            .run();
        assert_eq!(outcome.status, Some(2), "{outcome:?}");
        assert!(outcome.text().contains("is a terminal"), "{outcome:?}");
        assert!(
            outcome.text().contains("| connect-credential get"),
            "{outcome:?}"
        );
    }
}

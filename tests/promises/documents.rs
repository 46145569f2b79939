//! What `protocol.md` and the README say, held against the program.

use serde_json::{Value, json};

use crate::support::process::{Outcome, Run};
use crate::support::server::{Reply, Server, get, post};
use crate::world::*;

pub const PROTOCOL: &str = include_str!("../../protocol.md");
pub const README: &str = include_str!("../../README.md");
pub const EXAMPLE: &str = "https://connect.example.com";

/// The table of codes, by hand: exit status, code, and whether it is retryable.
const CODES: [(&str, &str, &str); 20] = [
    ("1", "output", "no"),
    ("2", "usage", "no"),
    ("2", "server_not_allowed", "no"),
    ("2", "bad_request", "no"),
    ("2", "unsupported_version", "no"),
    ("3", "no_identity_token", "no"),
    ("3", "identity_token_unreadable", "no"),
    ("3", "identity_provider_failed", "depends"),
    ("4", "no_match", "no"),
    ("4", "ambiguous_match", "no"),
    ("4", "verification_failed", "no"),
    ("4", "refused", "no"),
    ("4", "key_rejected", "no"),
    ("5", "unreachable", "yes"),
    ("5", "tls", "no"),
    ("5", "timeout", "yes"),
    ("5", "unavailable", "yes"),
    ("6", "unsupported_server", "no"),
    ("6", "unsafe_endpoint", "no"),
    ("6", "bad_response", "no"),
];

/// The fenced blocks of a language, each with the comment on the line before it.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<(&'a str, String)> {
    let fence = format!("```{language}");
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, _) in lines.iter().enumerate().filter(|(_, line)| **line == fence) {
        let mark = lines[index - 1].strip_prefix("<!-- ").unwrap_or_default();
        let body = lines[index + 1..].iter().take_while(|line| **line != "```");
        let body: Vec<&str> = body.copied().collect();
        found.push((mark.trim_end_matches(" -->"), body.join("\n")));
    }
    found
}

/// A document's shape: its keys, and the types of its values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => json!([items.first().map(shape)]),
        Value::Object(members) => {
            let shapes = members
                .iter()
                .map(|(name, value)| (name.clone(), shape(value)));
            Value::Object(shapes.collect())
        }
    }
}

fn assert_same_shape(document: &Value, printed: &Outcome) {
    assert_eq!(
        shape(document),
        shape(&printed.json()),
        "{document} {printed:?}"
    );
}

/// Runs `get` with a request of the document, at a server of the test.
fn get_as_documented(server: &Server, request: &Value) -> Outcome {
    let mut request = request.clone();
    request["server"] = json!(server.url());
    request["cacert"] = json!(ca_file());
    call(&["get"]).stdin(request.to_string()).run()
}

#[test]
fn every_json_block_of_the_protocol_is_what_the_program_speaks() {
    let mut seen = Vec::new();
    let user = || get(USER).reply(Reply::json(200, json!({"username": "ada"})));
    for (mark, body) in blocks(PROTOCOL, "json") {
        let document: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{mark}: {error}\n{body}"));
        match mark {
            "request" => {
                let server = connect().start();
                let outcome = get_as_documented(&server, &document);
                assert_eq!(outcome.status, Some(0), "{outcome:?}");
            }
            "erase" => {
                let metadata = Reply::json(200, json!({"revocation_endpoint": "/revoke"}));
                let server = Server::tls()
                    .step(get(METADATA).reply(metadata))
                    .step(post("/revoke").reply(Reply::status(200)))
                    .start();
                let mut request = document.clone();
                request["server"] = json!(server.url());
                call(&["erase", "-c", ca_file()])
                    .stdin(request.to_string())
                    .succeeds();
            }
            "success" => {
                let server = connect().start();
                assert_same_shape(&document, &call_at(&server, &[]).succeeds());
            }
            "success check" => {
                let server = connect().step(user()).start();
                assert_same_shape(&document, &call_at(&server, &["--check"]).succeeds());
            }
            "failure" => {
                let server = refusing("invalid_grant", "no match").start();
                let printed = call_at(&server, &[]).fails(4, "no_match");
                assert_same_shape(&document, &printed);
                assert_eq!(
                    document["error"]["message"],
                    printed.json()["error"]["message"]
                );
            }
            "kubernetes" | "aws" | "bazel" => {
                let server = connect().start();
                assert_same_shape(&document, &call_at(&server, &["-f", mark]).succeeds());
            }
            "bazel request" => {
                let server = connect().start();
                let uri = document["uri"]
                    .as_str()
                    .unwrap()
                    .replace(EXAMPLE, &server.url());
                call_at(&server, &["-f", "bazel", "get"])
                    .stdin(json!({"uri": uri}).to_string())
                    .succeeds();
            }
            "metadata" | "token reply" => {
                let origin = |text: &str| serde_json::from_str(&text.replace(EXAMPLE, "{origin}"));
                let of = |wanted: &str| {
                    let all = blocks(PROTOCOL, "json");
                    let (_, body) = all.into_iter().find(|(mark, _)| *mark == wanted).unwrap();
                    Reply::json(200, origin(&body).unwrap())
                };
                let server = Server::tls()
                    .step(get(METADATA).reply(of("metadata")))
                    .step(post(TOKEN_ENDPOINT).reply(of("token reply")))
                    .start();
                call_at(&server, &[]).succeeds();
            }
            other => panic!("a json block without a mark that is known: {other:?}\n{body}"),
        }
        seen.push(mark);
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
}

#[test]
fn the_tables_of_errors_are_the_programs() {
    let rows = |text: &str| -> Vec<Vec<String>> {
        let cells = |line: &str| {
            line.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let is_error = |line: &&str| {
            let mut characters = line.chars().skip(2);
            line.starts_with("| ")
                && characters.next().is_some_and(|c| c.is_ascii_digit())
                && characters.next() == Some(' ')
        };
        text.lines().filter(is_error).map(cells).collect()
    };
    let code = |name: &str| format!("`{name}`");
    let protocol: Vec<_> = rows(PROTOCOL)
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
        .collect();
    let expected: Vec<_> = CODES
        .iter()
        .map(|(exit, name, retry)| ((*exit).to_owned(), code(name), (*retry).to_owned()))
        .collect();
    assert_eq!(protocol, expected);
    let readme: Vec<_> = rows(README)
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let expected: Vec<_> = CODES
        .iter()
        .map(|(exit, name, _)| ((*exit).to_owned(), code(name)))
        .collect();
    assert_eq!(readme, expected);
}

#[test]
fn what_people_see_in_the_readme_is_what_the_program_says() {
    let seen = |code: &str| {
        let marked = format!("| `{code}` | ");
        let line = README.lines().find(|line| line.contains(&marked)).unwrap();
        line.split(" | ").nth(2).unwrap().to_owned()
    };
    let assert_says = |code: &str, outcome: &Outcome| {
        for words in seen(code).split("...") {
            assert!(
                outcome.stderr.contains(words.trim()),
                "{code}: {words}\n{outcome:?}"
            );
        }
    };
    let refused = |error: &str, description: &str| {
        let server = refusing(error, description).start();
        call_at(&server, &[]).run()
    };
    let discovering = |reply: Reply| {
        let server = Server::tls().step(get(METADATA).reply(reply)).start();
        call_at(&server, &[]).run()
    };
    assert_says("usage", &call(&[]).run());
    let allowed = call(&["-s", "h"]).env("CONNECT_ALLOWED_SERVERS", "other");
    assert_says("server_not_allowed", &allowed.run());
    assert_says("bad_request", &call(&["get"]).stdin("[]").run());
    assert_says(
        "unsupported_version",
        &call(&["get"]).stdin("{\"version\":2}").run(),
    );
    assert_says("no_identity_token", &call(&["-s", "h"]).run());
    let unreadable = call(&["-s", "h", "--identity-token-file", "/nonexistent"]);
    assert_says("identity_token_unreadable", &unreadable.run());
    let provider = call(&["-s", "h"])
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", "http://plain.example/")
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t");
    assert_says("identity_provider_failed", &provider.run());
    assert_says("no_match", &refused("invalid_grant", "no"));
    assert_says("ambiguous_match", &refused("invalid_grant", "ambiguous"));
    assert_says(
        "verification_failed",
        &refused("invalid_grant", "not verified"),
    );
    assert_says("refused", &refused("invalid_request", "no"));
    let rejecting = get(USER).reply(Reply::json(401, json!({"code": 30})));
    let server = connect().step(rejecting).start();
    assert_says("key_rejected", &call_at(&server, &["--check"]).run());
    let closed = call(&["-s", "https://127.0.0.1:1", "--identity-token", "t"]);
    assert_says("unreachable", &closed.run());
    let server = Server::tls().start();
    let untrusted = call(&["-s", &server.url(), "--identity-token", "t"]);
    assert_says("tls", &untrusted.run());
    let server = Server::tls()
        .step(crate::support::server::accept().silence())
        .start();
    let outcome = call_at(&server, &["--timeout", "0.5"]).run();
    let timeout = seen("timeout").replace("30", "0.5");
    assert!(outcome.stderr.contains(&timeout), "{outcome:?}");
    assert_says("unavailable", &discovering(Reply::status(500)));
    assert_says("bad_response", &discovering(Reply::html(200, "<html>")));
    let elsewhere = Reply::status(302).header("Location", "https://login.example.com/");
    assert_says("unsafe_endpoint", &discovering(elsewhere));
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::status(404)))
        .step(get("/.well-known/openid-configuration").reply(Reply::status(404)))
        .start();
    assert_says("unsupported_server", &call_at(&server, &[]).run());
}

#[test]
fn every_option_of_the_help_stands_in_the_readme() {
    let help = call(&["--help"]).succeeds().text();
    let options: Vec<&str> = help
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .collect();
    assert!(options.len() > 15, "{options:?}");
    for option in options {
        assert!(README.contains(option), "{option} is not in the README");
    }
}

#[test]
fn every_option_of_the_readme_stands_in_the_help() {
    let help = call(&["--help"]).succeeds().text();
    let rows = README
        .lines()
        .skip_while(|line| !line.starts_with("| option |"));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let first = |row: &'static str| row.trim_matches('|').split(" | ").next().unwrap();
    for option in rows.flat_map(|row| first(row).split([' ', '`', ','])) {
        if option.starts_with('-') {
            assert!(help.contains(option), "{option} is not in the help");
        }
    }
}

#[test]
fn the_fields_of_a_request_in_the_protocol_are_those_that_the_program_reads() {
    let rows = PROTOCOL
        .lines()
        .skip_while(|line| !line.starts_with("| field |"));
    let mut fields = 0;
    for row in rows.take_while(|line| line.starts_with('|')).skip(2) {
        let names = row.split(" | ").next().unwrap();
        for field in names.split('`').skip(1).step_by(2) {
            // A wrong type for every field that is read, and no fault in any other.
            let mut request = json!({"version": 1});
            request[field] = json!([]);
            let outcome = call(&["get"])
                .stdin(request.to_string())
                .fails(2, "bad_request");
            let message = format!("{field} in the request is not ");
            assert!(outcome.stderr.contains(&message), "{field}: {outcome:?}");
            fields += 1;
        }
    }
    assert_eq!(fields, 16);
}

#[test]
fn no_example_goes_on_without_a_key() {
    for (language, program) in [("sh", "sh"), ("python", "python3")] {
        if program == "python3" && !is_installed(program, "an example of the protocol") {
            continue;
        }
        for (_, script) in blocks(PROTOCOL, language) {
            let server = refusing("invalid_grant", "no match").start();
            let outcome = run_example_at(&server, "/usr/bin/env", &[program, "-c", &script]);
            assert!(matches!(outcome.status, Some(1..)), "{script}\n{outcome:?}");
        }
    }
}

/// Runs an example in an environment that has the program, a server and a token.
fn run_example(program: &str, args: &[&str]) -> Outcome {
    let server = open_connect()
        .route(get(USER).reply(Reply::json(200, json!({"username": "ada"}))))
        .start();
    run_example_at(&server, program, args)
}

fn run_example_at(server: &Server, program: &str, args: &[&str]) -> Outcome {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_connect-credential"));
    let folder = binary.parent().unwrap().display();
    let path = std::env::var("PATH").unwrap_or_default();
    Run::new(program)
        .args(args)
        .env("PATH", format!("{folder}:{path}"))
        .env("CONNECT_SERVER", server.url())
        .env("CONNECT_CA_CERTIFICATE", ca_file())
        .env("CONNECT_IDENTITY_TOKEN_FILE", token_file())
        .run()
}

#[test]
fn the_shell_examples_of_the_protocol_run() {
    for (_, script) in blocks(PROTOCOL, "sh") {
        if script.contains("curl") && !is_installed("curl", "a shell example of the protocol") {
            continue;
        }
        let outcome = run_example("/bin/sh", &["-e", "-c", &script]);
        assert_eq!(outcome.status, Some(0), "{script}\n{outcome:?}");
        assert_eq!(outcome.stderr, "", "{script}");
    }
}

/// The R example is not run: it needs R and jsonlite.
#[test]
fn the_python_examples_of_the_protocol_run() {
    if !is_installed("python3", "the Python example of the protocol") {
        return;
    }
    for (_, script) in blocks(PROTOCOL, "python") {
        let outcome = run_example("/usr/bin/env", &["python3", "-c", &script]);
        assert_eq!(outcome.status, Some(0), "{script}\n{outcome:?}");
        assert!(
            outcome.text().starts_with("https://localhost:"),
            "{outcome:?}"
        );
    }
}

//! What `protocol.md` says, held against the program.

use serde_json::{Value, json};

use crate::support::process::{Outcome, Run};
use crate::support::server::{Reply, Server, accept, get, post};
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

/// The block of the protocol with this mark.
fn marked(language: &str, mark: &str) -> String {
    let all = blocks(PROTOCOL, language);
    let found = all.into_iter().find(|(known, _)| *known == mark);
    found
        .unwrap_or_else(|| panic!("no {language} block is marked {mark}"))
        .1
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
            "failure usage" => {
                assert_eq!(document, call(&[]).fails(2, "usage").json());
            }
            "store" => {
                let outcome = call(&["store"]).stdin(body).succeeds();
                assert_eq!(outcome.text(), "");
            }
            "kubernetes request" => {
                let server = connect().start();
                let outcome = call_at(&server, &[]).env("KUBERNETES_EXEC_INFO", &body);
                let answer: Value = serde_json::from_str(&marked("json", "kubernetes")).unwrap();
                assert_same_shape(&answer, &outcome.succeeds());
                assert_eq!(document["apiVersion"], answer["apiVersion"]);
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
                let of = |wanted: &str| Reply::json(200, origin(&marked("json", wanted)).unwrap());
                let server = Server::tls()
                    .step(get(METADATA).reply(of("metadata")))
                    .step(post(TOKEN_ENDPOINT).reply(of("token reply")))
                    .start();
                call_at(&server, &[]).succeeds();
            }
            "token refusal" => {
                let server = answering(Reply::json(400, document)).start();
                call_at(&server, &[]).fails(4, "no_match");
            }
            other => panic!("a json block without a mark that is known: {other:?}\n{body}"),
        }
        seen.push(mark);
    }
    let all = [
        "request",
        "success",
        "success check",
        "failure",
        "failure usage",
        "store",
        "erase",
        "kubernetes request",
        "kubernetes",
        "aws",
        "bazel request",
        "bazel",
        "metadata",
        "token reply",
        "token refusal",
    ];
    for mark in all {
        assert!(seen.contains(&mark), "no json block is marked {mark}");
    }
}

#[test]
fn git_gets_what_the_protocol_shows() {
    for (request, answer) in [
        ("git request", "git"),
        ("git request authtype", "git authtype"),
    ] {
        let server = connect().start();
        let host = server.url().replace("https://", "");
        let request = marked("text", request).replace("connect.example.com", &host);
        let printed = call_at(&server, &["-f", "git", "get"])
            .stdin(request + "\n\n")
            .succeeds();
        let is_expiry = |line: &&str| line.starts_with("password_expiry_utc=");
        let lines = |text: &str| -> Vec<String> {
            let all = text.lines().filter(|line| !is_expiry(line));
            all.map(str::to_owned).collect()
        };
        let shown = marked("text", answer);
        assert_eq!(lines(&shown), lines(&printed.text()));
        for text in [&shown, &printed.text()] {
            let expiry = text.lines().find(is_expiry).unwrap();
            expiry.split('=').nth(1).unwrap().parse::<u64>().unwrap();
        }
    }
}

#[test]
fn the_script_for_bazel_and_the_step_for_github_work() {
    let all = blocks(PROTOCOL, "text");
    let (_, script) = all
        .iter()
        .find(|(_, block)| block.starts_with("#!"))
        .unwrap();
    let server = connect().start();
    let uri = format!("{}/content/a.tar.gz", server.url());
    let script = file("bazel.sh", script.replace(EXAMPLE, &server.url()));
    let outcome = with_the_program_on_the_path(&server, "/bin/sh")
        .args([&script, "get"])
        .stdin(json!({"uri": uri}).to_string())
        .run();
    let answer: Value = serde_json::from_str(&marked("json", "bazel")).unwrap();
    assert_same_shape(&answer, &outcome);

    let steps = blocks(PROTOCOL, "yaml").into_iter();
    let mut lines =
        steps.flat_map(|(_, block)| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let step = lines.find(|line| line.ends_with("-f github")).unwrap();
    let step = step.trim().strip_prefix("- run: ").unwrap();
    let server = connect().start();
    let variables = file("github-env", "BEFORE=1");
    let outcome = in_a_shell(&server, &step.replace(EXAMPLE, &server.url()))
        .env("GITHUB_ENV", &variables)
        .run();
    assert_eq!(
        outcome.text(),
        format!("::add-mask::{KEY}\n"),
        "{outcome:?}"
    );
    let url = server.url();
    let expected = format!("BEFORE=1\nCONNECT_SERVER={url}/\nCONNECT_API_KEY={KEY}\n");
    assert_eq!(std::fs::read_to_string(&variables).unwrap(), expected);
}

#[test]
fn the_exchange_of_the_protocol_is_what_goes_over_the_wire() {
    let shown = marked("text", "exchange");
    let (head, body) = shown.split_once("\n\n").unwrap();
    let server = connect().start();
    let token = "eyJhbGciOi.eyJpc3MiOi.c2ln";
    call(&["-s", &server.url(), "-c", ca_file()])
        .args(&["--identity-token", token])
        .succeeds();
    let requests = server.requests();
    let exchange = &requests[1];
    let mut head = head.lines();
    assert_eq!(
        head.next().unwrap(),
        format!("{} {} HTTP/1.1", exchange.method, exchange.target)
    );
    let host = server.url().replace("https://", "");
    for line in head {
        let (name, value) = line.split_once(": ").unwrap();
        let value = value.replace("connect.example.com", &host);
        assert_eq!(exchange.header(name), Some(value.as_str()), "{name}");
    }
    let sent: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(exchange.form())
        .finish();
    assert_eq!(body.replace('\n', ""), sent);
}

#[test]
fn the_transcripts_of_the_protocol_are_the_programs() {
    let all = blocks(PROTOCOL, "text");
    let transcripts = all.iter().filter(|(_, block)| block.starts_with("$ "));
    let mut commands = 0;
    for (_, transcript) in transcripts {
        for shown in transcript.trim_start_matches("$ ").split("\n$ ") {
            let (line, output) = shown.split_once('\n').unwrap();
            let start = "connect-credential -s https://connect.example.com \
                         --identity-token-file token.jwt";
            let args: Vec<&str> = line
                .strip_prefix(start)
                .unwrap()
                .split(' ')
                .skip(1)
                .collect();
            let server = match output.starts_with("connect-credential: ") {
                true => refusing("invalid_grant", "no matching trusted publisher").start(),
                false => connect().start(),
            };
            let outcome = call_at(&server, &args).run();
            let printed = with_time_left(&(outcome.text() + &outcome.stderr));
            match args.is_empty() {
                true => assert_same_shape(&serde_json::from_str(output).unwrap(), &outcome),
                false => assert_eq!(
                    printed.replace(&server.url(), EXAMPLE).trim_end(),
                    output,
                    "{line}"
                ),
            }
            commands += 1;
        }
    }
    assert_eq!(commands, 5);
}

/// The cells of a table's rows, below the line that heads it.
pub fn rows(text: &str, head: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(head));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| {
        // A bar that is escaped does not end a cell.
        let line = line.replace("\\|", "\0");
        let cells = line.split('|').map(|cell| cell.trim().replace('\0', "|"));
        let mut cells: Vec<String> = cells.skip(1).collect();
        cells.pop();
        cells
    };
    rows.map(cells).collect()
}

const ERRORS: &str = "| exit | code | retryable |";
const SEEN: &str = "| exit | code | what people see |";

#[test]
fn the_tables_of_errors_are_the_programs() {
    let errors = rows(PROTOCOL, ERRORS);
    let errors: Vec<[&str; 3]> = errors
        .iter()
        .map(|row| [&*row[0], row[1].trim_matches('`'), &row[2]])
        .collect();
    assert_eq!(errors, CODES.map(|(exit, name, retry)| [exit, name, retry]));
    // There is a row for each thing that people see, so more than one for some codes.
    let seen = rows(PROTOCOL, SEEN);
    let mut seen: Vec<[&str; 2]> = seen
        .iter()
        .map(|row| [&*row[0], row[1].trim_matches('`')])
        .collect();
    seen.dedup();
    assert_eq!(seen, CODES.map(|(exit, name, _)| [exit, name]));
    let kinds = rows(README, "| exit | what failed |");
    let kinds: Vec<&str> = kinds.iter().map(|row| &*row[0]).collect();
    assert_eq!(kinds, ["1", "2", "3", "4", "5", "6", "126, 127"]);
}

#[test]
fn what_people_see_is_what_the_program_says() {
    let table = rows(PROTOCOL, SEEN);
    let seen = |code: &str| -> Vec<&str> {
        let of_code = table.iter().filter(|row| row[1] == format!("`{code}`"));
        of_code.map(|row| &*row[2]).collect()
    };
    let is_said = |words: &str, outcome: &Outcome| {
        let mut pieces = words.split("...");
        pieces.all(|piece| outcome.stderr.contains(piece.trim()))
    };
    let said = std::cell::RefCell::new(Vec::new());
    let assert_says = |code: &str, outcome: &Outcome| {
        let words = seen(code).into_iter().find(|words| is_said(words, outcome));
        let words = words.unwrap_or_else(|| panic!("{code} is seen otherwise: {outcome:?}"));
        said.borrow_mut().push(words);
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
    assert_says("usage", &call(&["-s", "http://h"]).run());
    if std::path::Path::new("/dev/full").exists() {
        let full = Run::new("/bin/sh")
            .args(["-c", "exec \"$0\" --help >/dev/full"])
            .arg(env!("CARGO_BIN_EXE_connect-credential"))
            .run();
        assert_says("output", &full);
    } else {
        said.borrow_mut().extend(seen("output"));
    }
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
    let empty = call(&["-s", "h", "--identity-token-file", &file("empty", "\n")]);
    assert_says("identity_token_unreadable", &empty.run());
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
    let unknown = call(&["-s", "nowhere.invalid", "--identity-token", "t"]);
    assert_says("unreachable", &unknown.run());
    let server = Server::tls().start();
    let untrusted = call(&["-s", &server.url(), "--identity-token", "t"]);
    assert_says("tls", &untrusted.run());
    let other = Server::tls()
        .step(accept().send("HTTP/1.1 400 Bad Request\r\n\r\n"))
        .start();
    assert_says("tls", &call_at(&other, &[]).run());
    let server = Server::tls().step(accept().silence()).start();
    let outcome = call_at(&server, &["--timeout", "0.5"]).run();
    let timeout = seen("timeout")[0];
    assert!(
        is_said(&timeout.replace("30", "0.5"), &outcome),
        "{outcome:?}"
    );
    said.borrow_mut().push(timeout);
    assert_says("unavailable", &discovering(Reply::status(500)));
    assert_says("bad_response", &discovering(Reply::html(200, "<html>")));
    let elsewhere = Reply::status(302).header("Location", "https://login.example.com/");
    assert_says("unsafe_endpoint", &discovering(elsewhere));
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::status(404)))
        .step(get("/.well-known/openid-configuration").reply(Reply::status(404)))
        .start();
    assert_says("unsupported_server", &call_at(&server, &[]).run());
    for words in CODES.iter().flat_map(|(_, code, _)| seen(code)) {
        assert!(said.borrow().contains(&words), "nothing says: {words}");
    }
}

#[test]
fn the_last_step_of_the_documented_job_revokes_its_key() {
    if !is_installed("jq", "the last step of a job") {
        return;
    }
    let mut lines = PROTOCOL
        .lines()
        .skip_while(|line| *line != "  - if: always()");
    let step = lines.nth(1).unwrap().trim().strip_prefix("run: ").unwrap();
    let metadata = Reply::json(200, json!({"revocation_endpoint": "{origin}/revoke"}));
    let server = Server::tls()
        .step(get(METADATA).reply(metadata))
        .step(post("/revoke").reply(Reply::status(200)))
        .start();
    let outcome = in_a_shell(&server, &step.replace(EXAMPLE, &server.url()))
        .env("CONNECT_API_KEY", KEY)
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let form = server.requests()[1].form();
    assert_eq!(form[0], ("token".to_owned(), KEY.to_owned()));

    // Where no key was minted, there is nothing to revoke, and the job does not fail once more.
    let server = Server::tls().start();
    let outcome = in_a_shell(&server, &step.replace(EXAMPLE, &server.url())).run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_settings_of_the_protocol_are_those_of_the_help() {
    let help = call(&["--help"]).succeeds().text();
    let settings = rows(PROTOCOL, "| option | request | environment | meaning |");
    let told = |column: usize| -> Vec<&str> {
        let cells = settings.iter().map(|row| &*row[column]);
        let words = cells.flat_map(|cell| cell.split(|c: char| " `,()".contains(c)));
        words.filter(|word| !word.is_empty()).collect()
    };
    let is_option = |word: &&str| word.starts_with('-') && !word.trim_matches('-').is_empty();
    let in_help = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let in_help: Vec<&str> = in_help.filter(is_option).collect();
    assert!(in_help.len() > 25, "{in_help:?}");
    for option in &in_help {
        assert!(told(0).contains(option), "{option} is not in the protocol");
    }
    for option in told(0).iter().filter(|word| is_option(word)) {
        assert!(in_help.contains(option), "{option} is not in the help");
    }
    let variables = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for variable in variables.filter(|word| word.starts_with("CONNECT_")) {
        let is_told = told(2).contains(&variable) || variable == "CONNECT_API_KEY";
        assert!(is_told, "{variable} is not in the protocol");
    }
}

#[test]
fn the_fields_of_a_request_in_the_protocol_are_those_that_the_program_reads() {
    let mut fields = 0;
    for row in rows(PROTOCOL, "| field | type | required |") {
        let field = row[0].trim_matches('`');
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
    with_the_program_on_the_path(server, program)
        .args(args)
        .run()
}

pub fn in_a_shell(server: &Server, script: &str) -> Run {
    with_the_program_on_the_path(server, "/bin/sh").args(["-c", script])
}

fn with_the_program_on_the_path(server: &Server, program: &str) -> Run {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_connect-credential"));
    let folder = binary.parent().unwrap().display();
    let path = std::env::var("PATH").unwrap_or_default();
    Run::new(program)
        .env("PATH", format!("{folder}:{path}"))
        .env("CONNECT_SERVER", server.url())
        .env("CONNECT_CA_CERTIFICATE", ca_file())
        .env("CONNECT_IDENTITY_TOKEN_FILE", token_file())
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

#[test]
fn each_promise_names_tests_that_are_there() {
    let (_, section) = PROTOCOL.split_once("\n## What is promised").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter(|line| line.contains(".rs`"))
        .collect();
    assert!(rows.len() > 10, "{section}");
    for row in rows {
        let shown_by = row.rsplit('|').nth(1).unwrap();
        let mut source = String::new();
        for word in shown_by.split('`').filter(|word| !word.trim().is_empty()) {
            if word.ends_with(".rs") {
                let path = format!("{}/tests/{word}", env!("CARGO_MANIFEST_DIR"));
                source = std::fs::read_to_string(path).unwrap();
            } else {
                assert!(source.contains(word), "{word} is not there: {row}");
            }
        }
    }
}

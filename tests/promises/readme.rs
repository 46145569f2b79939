//! What the README tells a newcomer to do, done: each command of it as it stands there.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clients::*;
use crate::documents::{EXAMPLE, README, in_a_shell, rows};
use crate::packages::assert_installed;
use crate::providers::{REQUEST_TOKEN, empty_folder, github, github_url, sent_token};
use crate::support::process::Run;
use crate::support::server::{Reply, Server, get, post};
use crate::world::*;

/// What does a command of the README, given as it stands there.
type Doing = fn(&str);

const DOINGS: [(&str, Doing); 17] = [
    ("pip install connect-credential", pip),
    ("uvx connect-credential --help", uvx),
    ("pipx install connect-credential", pipx),
    ("cargo install --locked --path .", is_in_ci),
    ("cargo run --locked --example demo", is_in_ci),
    ("cargo test --locked", is_in_ci),
    (
        "pip install connect-credential rsconnect-python",
        pip_beside_rsconnect,
    ),
    (
        "connect-credential -s https://connect.example.com -- rsconnect deploy manifest --app-id GUID manifest.json",
        deploy,
    ),
    (
        "connect-credential -s URL -- rsconnect content search",
        any_command,
    ),
    (
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: connect-credential, \
         args: [-s, URL], interactiveMode: Never}",
        kubectl,
    ),
    (
        "credential_process = connect-credential --format aws --server URL",
        aws,
    ),
    (r#"helper = "!connect-credential -f git -s URL""#, git),
    (
        r#"connect-credential -f bazel --timeout 8 -s URL "$@""#,
        bazel,
    ),
    (
        r#"h=$(connect-credential -s URL -f header) && printf '%s\n' "$h" | curl -H @- URL"#,
        curl,
    ),
    (
        r#"rsconnect add --name n --server URL --api-key "$(connect-credential -s URL -f key)""#,
        rsconnect_add,
    ),
    (
        r#"eval "$(connect-credential -s URL -f env)" || exit"#,
        shell,
    ),
    (
        "connect-credential --token-endpoint URL/token --scheme Bearer -f header",
        any_server,
    ),
];

/// The row for any program has a request behind its command.
const ANY_PROGRAM: &str =
    r#"`connect-credential get`, with `{"version":1,"server":"URL"}` on stdin"#;

/// Every command of the README: the lines of the blocks that are no transcripts, the steps of a
/// job, the configurations of tools, and what the prose calls by its program's name.
fn commands() -> Vec<String> {
    let programs = ["uvx ", "pip ", "pipx ", "cargo ", "connect-credential "];
    let mut found = Vec::new();
    let (mut is_fenced, mut is_transcript) = (false, false);
    for line in README.lines() {
        is_fenced ^= line.starts_with("```");
        is_transcript &= !line.is_empty();
        match line.strip_prefix("    ") {
            _ if is_fenced => found.extend(line.trim().strip_prefix("- run: ")),
            Some(line) => {
                is_transcript |= line.starts_with("$ ");
                found.extend((!is_transcript).then_some(line));
            }
            None if line.starts_with('|') => {}
            None => {
                let words = line.split('`').skip(1).step_by(2);
                let is_command = |words: &&str| programs.iter().any(|name| words.starts_with(name));
                found.extend(words.filter(is_command));
            }
        }
    }
    let mut found: Vec<String> = found.into_iter().map(str::to_owned).collect();
    for row in rows(README, "| tool | configuration |") {
        if row[1] != ANY_PROGRAM {
            found.push(row[1].split('`').nth(1).unwrap().to_owned());
        }
    }
    found
}

#[test]
fn every_command_of_the_readme_does_what_it_is_there_for() {
    let commands = commands();
    for (known, _) in DOINGS {
        assert!(commands.iter().any(|command| command == known), "{known}");
    }
    let doing = |command: &str| {
        let found = DOINGS.iter().find(|(known, _)| *known == command);
        found.unwrap_or_else(|| panic!("nothing does {command}")).1
    };
    std::thread::scope(|scope| {
        for command in &commands {
            let doing = doing(command);
            scope.spawn(move || doing(command));
        }
    });
}

// To install it

/// Where the wheel is, which stands beside the clients.
fn wheels(what: &str) -> Option<PathBuf> {
    let folder = python_program("").join("../../wheels");
    let has_wheel = folder.read_dir().is_ok_and(|mut found| {
        found.any(|entry| {
            entry
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "whl")
        })
    });
    if !has_wheel {
        not_run("the wheel", what);
    }
    has_wheel.then_some(folder)
}

/// A command of a tool that installs packages, which finds the wheel and no index.
fn installing(program: &str, command: &str) -> Option<Run> {
    let wheels = wheels(command)?;
    let wheels = wheels.to_str().unwrap();
    let program = python_client(program, command)?;
    let folder = Path::new(&program).parent().unwrap().to_str().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let run = Run::new("/bin/sh")
        .args(["-c", command])
        .env("PATH", format!("{folder}:{path}"))
        .env("HOME", self::folder("home"))
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", wheels)
        .env("UV_OFFLINE", "1")
        .env("UV_FIND_LINKS", wheels)
        .env("UV_PYTHON_DOWNLOADS", "never")
        .limit(std::time::Duration::from_secs(120));
    Some(run)
}

fn pip(command: &str) {
    let (Some(run), Some(python)) = (installing("pip", command), python_client("python", command))
    else {
        return;
    };
    let alone = folder("venv");
    assert_success(&client(&python).args(["-m", "venv", &alone]).run());
    let path = std::env::var("PATH").unwrap_or_default();
    assert_success(&run.env("PATH", format!("{alone}/bin:{path}")).run());
    assert_installed(&format!("{alone}/bin/connect-credential"));
}

fn uvx(command: &str) {
    if let Some(run) = installing("uvx", command) {
        let outcome = run.run();
        assert_success(&outcome);
        assert!(outcome.text().contains("\nUsage:\n"), "{outcome:?}");
    }
}

fn pipx(command: &str) {
    if let Some(run) = installing("pipx", command) {
        let programs = folder("bin");
        assert_success(&run.env("PIPX_BIN_DIR", &programs).run());
        assert_installed(&format!("{programs}/connect-credential"));
    }
}

/// Both are there already: what is held is that one environment has room for the two.
fn pip_beside_rsconnect(command: &str) {
    if let Some(run) = installing("pip", command) {
        assert_success(&run.run());
    }
}

/// What takes too long for a test is a line of what CI runs.
fn is_in_ci(command: &str) {
    let script = include_str!("../../.ci/run");
    assert!(
        script.lines().any(|line| line.trim() == command),
        "{command}"
    );
}

// In a job

const GUID: &str = "5f9f9b3a-3e0a-4c1e-9c53-6d1f2b1f0e11";

/// As a job of GitHub's runs it, with the token of GitHub's own provider: the program has nothing
/// but the variables that a runner sets, and rsconnect nothing but what the program gives it. Both
/// trust the test's CA as the system's. Content that is there is published, and none is made.
fn deploy(command: &str) {
    let ok = |body: Value| Reply::json(200, body);
    let content = json!({"guid": GUID, "id": "1", "name": "page", "title": "page", "app_mode": "static",
        "content_url": format!("{{origin}}/content/{GUID}/"), "dashboard_url": format!("{{origin}}/connect/#/apps/{GUID}")});
    let task = json!({"id": "t1", "output": [], "result": null, "finished": true, "code": 0,
        "error": "", "last": 1});
    let path = "/__api__/v1/content";
    let at = |below: &str| format!("{path}/{GUID}{below}");
    let server = open_connect()
        .route(get(&at("")).reply(ok(content)))
        .route(post(&at("/bundles")).reply(ok(json!({"id": "2"}))))
        .route(post(&at("/deploy")).reply(ok(json!({"task_id": "t1"}))))
        .route(get(&format!("/content/{GUID}/_bundle2/")).reply(Reply::text(200, "fine")))
        .route_with("GET", "/__api__/v1/tasks/", move |_| ok(task.clone()));
    let server = connect_for_rsconnect(server);
    let github = github(Reply::json(200, json!({"value": token()}))).start();

    let checkout = folder("checkout");
    let manifest = json!({"version": 1, "metadata": {"appmode": "static",
        "primary_html": "index.html", "entrypoint": "index.html"},
        "files": {"index.html": {"checksum": "d41d8cd98f00b204e9800998ecf8427e"}}});
    std::fs::write(format!("{checkout}/index.html"), "").unwrap();
    std::fs::write(format!("{checkout}/manifest.json"), manifest.to_string()).unwrap();
    let command = command.replace(EXAMPLE, &server.url());
    let Some(run) = beside_rsconnect(&server, &command.replace("GUID", GUID)) else {
        return;
    };
    let outcome = run
        .env("HOME", &checkout)
        .env("CONNECT_SERVER", "")
        .env("CONNECT_CA_CERTIFICATE", "")
        .env("CONNECT_IDENTITY_TOKEN_FILE", "")
        .env("CONNECT_ALLOWED_SERVERS", server.url())
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", github_url(&github))
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
        .env("SSL_CERT_FILE", ca_file())
        .env("SSL_CERT_DIR", empty_folder())
        .dir(&checkout)
        .run();
    assert_success(&outcome);
    let requests = server.requests();
    let deployed = authorized(&requests, &format!("Key {KEY}"));
    assert!(deployed.contains(&&*at("/deploy")), "{requests:#?}");
    assert_eq!(sent_token(&server), token());
}

// From other tools

/// A command in a shell that finds the program that was built, and rsconnect.
fn beside_rsconnect(server: &Server, command: &str) -> Option<Run> {
    let folder = |program: &str| Path::new(program).parent().unwrap().display().to_string();
    let rsconnect = folder(&python_client("rsconnect", command)?);
    let built = folder(env!("CARGO_BIN_EXE_connect-credential"));
    let run = in_a_shell(server, command);
    let run = run.env("PATH", format!("{built}:{rsconnect}:/usr/bin:/bin"));
    Some(run.limit(std::time::Duration::from_secs(60)))
}

fn at(command: &str, server: &Server) -> String {
    command.replace("URL", &server.url())
}

fn any_command(command: &str) {
    let server = connect_for_rsconnect(open_connect());
    let Some(run) = beside_rsconnect(&server, &at(command, &server)) else {
        return;
    };
    let run = run.env("HOME", folder("home")).env("CONNECT_SERVER", "");
    assert_success(&run.run());
    let requests = server.requests();
    let seen = authorized(&requests, &format!("Key {KEY}"));
    assert!(seen.contains(&"/__api__/v1/content"), "{seen:?}");
}

fn kubectl(command: &str) {
    kubectl_works_with(command, |server| {
        let exec = at(command, server);
        format!("users:\n- name: connect\n  user:\n    {exec}")
    });
}

fn aws(command: &str) {
    boto3_works_with(command, |server| {
        format!("[profile connect]\n{}\n", at(command, server))
    });
}

fn git(command: &str) {
    git_works_with(command, |server| {
        format!("[credential]\n{}\n", at(command, server))
    });
}

/// Bazel itself is not to be had from a package registry; this is its call.
fn bazel(command: &str) {
    let server = open_connect().start();
    let script = file(
        "helper.sh",
        format!("#!/bin/sh\n{}\n", at(command, &server)),
    );
    let uri = json!({"uri": format!("{}/content/a", server.url())}).to_string();
    let outcome = in_a_shell(&server, &format!("exec /bin/sh {script} get"))
        .stdin(uri)
        .run();
    assert_success(&outcome);
    let authorization = json!([format!("Key {KEY}")]);
    assert_eq!(outcome.json()["headers"]["Authorization"], authorization);
}

/// And nothing is sent where there is no key.
fn curl(command: &str) {
    if !is_installed("curl", command) {
        return;
    }
    let run = |server: &Server| {
        in_a_shell(server, &at(command, server))
            .env("CURL_CA_BUNDLE", ca_file())
            .run()
    };
    let server = connect()
        .step(get("/").reply(Reply::text(200, "fine")))
        .start();
    let outcome = run(&server);
    assert_eq!(outcome.text(), "fine", "{outcome:?}");
    assert_eq!(authorized(&server.requests(), &format!("Key {KEY}")), ["/"]);

    let server = refusing("invalid_grant", "no match").start();
    assert_eq!(run(&server).status, Some(4));
    assert_eq!(server.requests().len(), 2);
}

fn rsconnect_add(command: &str) {
    let server = connect_for_rsconnect(open_connect());
    let command = at(command, &server);
    let script = format!("{command} >&2 && cat \"$(find . -name servers.json)\"");
    let Some(run) = beside_rsconnect(&server, &script) else {
        return;
    };
    let home = folder("home");
    let outcome = run.env("HOME", &home).dir(&home).run();
    assert_success(&outcome);
    assert_eq!(outcome.json()["n"]["api_key"], KEY, "{outcome:?}");
}

fn shell(command: &str) {
    let script = |server: &Server| {
        let url = server.url();
        format!(
            "{}; test \"$CONNECT_API_KEY $CONNECT_SERVER\" = '{KEY} {url}/'",
            at(command, server)
        )
    };
    let server = open_connect().start();
    assert_success(&in_a_shell(&server, &script(&server)).run());
    let server = refusing("invalid_grant", "no match").start();
    let outcome = in_a_shell(&server, &script(&server)).run();
    assert_eq!(outcome.status, Some(4), "{outcome:?}");
}

fn any_server(command: &str) {
    let server = Server::tls()
        .step(post("/token").reply(Reply::json(200, issued())))
        .start();
    let outcome = in_a_shell(&server, &at(command, &server)).run();
    assert_eq!(
        outcome.text(),
        format!("Authorization: Bearer {KEY}\n"),
        "{outcome:?}"
    );
}

#[test]
fn any_program_sends_the_request_of_the_readme() {
    let tools = rows(README, "| tool | configuration |");
    let row = tools.iter().find(|row| row[0] == "any program").unwrap();
    assert_eq!(row[1], ANY_PROGRAM);
    let words: Vec<&str> = row[1].split('`').collect();
    let server = open_connect().start();
    let outcome = in_a_shell(&server, words[1])
        .stdin(at(words[3], &server))
        .run();
    assert_success(&outcome);
    assert_eq!(outcome.json()["api_key"], KEY);
}

// What it shows

/// Runs what a transcript runs, and returns what there was to see, as it stands in the README.
fn replayed(command: &str, server: &Server) -> String {
    let outcome = in_a_shell(
        server,
        &command.replace("https://localhost:PORT", &server.url()),
    )
    .dir(demo_folder())
    .run();
    let seen = format!(
        "{}{}(exit status {})",
        outcome.text(),
        outcome.stderr,
        outcome.status.unwrap()
    );
    let seen = seen.replace(&server.port().to_string(), "PORT");
    seen.replace(KEY, "Zq83...")
}

/// A folder with the files that the transcripts name.
fn demo_folder() -> String {
    let folder = folder("demo");
    std::fs::copy(ca_file(), format!("{folder}/ca.pem")).unwrap();
    std::fs::copy(token_file(), format!("{folder}/token.jwt")).unwrap();
    folder
}

#[test]
fn the_transcripts_of_the_readme_are_the_programs() {
    let mut seen = 0;
    let shown = README.split("\n    $ ").skip(1);
    for transcript in shown {
        let lines = transcript.lines().enumerate();
        let lines = lines.map(|(index, line)| match index {
            0 => Some(line),
            _ => line.strip_prefix("    "),
        });
        let lines: Vec<&str> = lines.map_while(|line| line).collect();
        let (command, output) = lines.split_first().unwrap();
        let port = command
            .split("localhost:")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        let server = match output[0].starts_with("connect-credential: ") {
            true => refusing("invalid_grant", "no service principal matches").start(),
            false => connect().start(),
        };
        let command = command.replace(port, "PORT");
        let expected = output.join("\n").replace(port, "PORT");
        assert_eq!(
            steady(&replayed(&command, &server)),
            steady(&expected),
            "{command}"
        );
        seen += 1;
    }
    assert_eq!(seen, 2);
}

// What it is compared with

/// A Connect server whose metadata names another host.
fn misleading(other: &Server) -> Server {
    let mut named = metadata();
    named["token_endpoint"] = json!(format!("{}{TOKEN_ENDPOINT}", other.url()));
    let server = Server::tls()
        .route(get(METADATA).reply(Reply::json(200, named)))
        .route(exchange());
    connect_for_rsconnect(server)
}

#[test]
fn rsconnect_sends_the_token_to_the_host_that_the_metadata_names_and_the_program_does_not() {
    let other = open_connect().start();
    let server = misleading(&other);
    call_at(&server, &[]).succeeds();
    assert_eq!(other.connections(), 0);
    assert_eq!(sent_token(&server), token());

    let Some(rsconnect) = python_client("rsconnect", "what rsconnect login does with metadata")
    else {
        return;
    };
    let outcome = client(&rsconnect)
        .args(["login", &server.url(), "--cacert", ca_file()])
        .args(["--identity-token-file", token_file()])
        .run();
    assert_success(&outcome);
    assert_eq!(sent_token(&other), token());
}

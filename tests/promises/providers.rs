//! Identity tokens from the platforms that hand them out, each played as it behaves.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use snapbox::assert_data_eq;

use crate::support::certs::Ca;
use crate::support::jwt::{github_claims, jwt};
use crate::support::process::Outcome;
use crate::support::proxy::Proxy;
use crate::support::server::{Builder, Reply, Server, accept, get, post};
use crate::world::*;

pub const REQUEST_TOKEN: &str = "runner-request-token-4f8a1c";

/// An empty folder: with it, what `SSL_CERT_FILE` names is the whole trust.
pub fn empty_folder() -> &'static str {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| folder("empty"))
}

/// The program at a Connect server, with the test CA for the system's trust and no source of a
/// token but what the test adds.
fn at(server: &Server, args: &[&str]) -> Call {
    call(args)
        .args(&["-s", &server.url()])
        .env("SSL_CERT_FILE", ca_file())
        .env("SSL_CERT_DIR", empty_folder())
        .secret(REQUEST_TOKEN)
}

/// The variables that GitHub gives a job that may have a token.
fn on_github(call: Call, url: &str) -> Call {
    call.env("GITHUB_ACTIONS", "true")
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", url)
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
}

/// A GitHub that answers the request for a token like this.
pub fn github(reply: Reply) -> Builder {
    Server::tls().step(get("/token?api-version=2.0&audience=connect").reply(reply))
}

pub fn github_url(server: &Server) -> String {
    format!("{}/token?api-version=2.0", server.url())
}

/// Asks GitHub for a token and Connect for nothing but, perhaps, its metadata.
fn failing(reply: Reply) -> Outcome {
    let github = github(reply).start();
    let server = Server::tls().route(discovery()).start();
    on_github(at(&server, &[]), &github_url(&github)).fails(3, "identity_provider_failed")
}

pub fn sent_token(server: &Server) -> String {
    let requests = server.requests();
    let exchange = requests
        .iter()
        .find(|request| request.method == "POST")
        .unwrap();
    exchange.field("subject_token").unwrap()
}

/// A folder with one program in it.
fn program(name: &str, script: &str) -> String {
    let folder = folder("bin");
    let path = PathBuf::from(&folder).join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn path_with(folder: &str) -> String {
    format!("{folder}:/usr/bin:/bin")
}

#[test]
fn github_is_asked_as_github_wants_to_be() {
    let github = github(Reply::json(200, json!({"value": token(), "count": 1}))).start();
    let server = connect().start();
    on_github(at(&server, &[]), &github_url(&github)).succeeds();
    assert_eq!(sent_token(&server), token());
    let request = &github.requests()[0];
    let expected = format!("Bearer {REQUEST_TOKEN}");
    assert_eq!(request.header("authorization"), Some(expected.as_str()));
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_whole_github_step_is_one_command() {
    let github = github(Reply::json(200, json!({"value": token()}))).start();
    let server = connect().start();
    let variables = file("github_env", "EARLIER=1");
    let outcome = on_github(at(&server, &["-f", "github"]), &github_url(&github))
        .env("GITHUB_ENV", &variables)
        .succeeds();
    assert_eq!(outcome.text(), format!("::add-mask::{KEY}\n"));
    assert_eq!(
        std::fs::read_to_string(&variables).unwrap(),
        format!(
            "EARLIER=1\nCONNECT_SERVER={}/\nCONNECT_API_KEY={KEY}\n",
            server.url()
        )
    );
}

#[test]
fn token_and_metadata_are_fetched_side_by_side() {
    let pause = Duration::from_millis(400);
    let github = github(Reply::json(200, json!({"value": token()})).delay(pause)).start();
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::json(200, metadata()).delay(pause)))
        .step(exchange())
        .start();
    on_github(at(&server, &[]), &github_url(&github)).succeeds();
    let (asked, discovered) = (github.requests()[0].at, server.requests()[0].at);
    let apart = asked.max(discovered) - asked.min(discovered);
    assert!(apart < pause, "one waited for the other: {apart:?}");
}

#[test]
fn a_refused_request_token_is_told_while_connect_says_nothing() {
    let github = github(Reply::json(401, json!({"message": "Bad credentials"}))).start();
    let silent = Reply::json(200, metadata()).silence_after(0);
    let server = Server::tls().route(get(METADATA).reply(silent)).start();
    let outcome = on_github(at(&server, &["--timeout", "15"]), &github_url(&github))
        .fails(3, "identity_provider_failed");
    assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
    assert!(outcome.stderr.contains("Bad credentials"), "{outcome:?}");
}

#[test]
fn a_connect_that_refuses_is_told_while_the_provider_says_nothing() {
    let github = Server::tls()
        .route_with("GET", "/", |_| Reply::json(200, json!({})).silence_after(0))
        .start();
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::status(403)))
        .start();
    let outcome =
        on_github(at(&server, &["--timeout", "15"]), &github_url(&github)).fails(4, "refused");
    assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
}

#[test]
fn what_a_provider_answers_badly_is_told() {
    let padded = json!({"value": token(), "x": "y".repeat(1024 * 1024)});
    for (reply, words, retryable) in [
        (
            Reply::json(401, json!({"message": "no"})),
            "HTTP 401",
            false,
        ),
        (Reply::json(500, json!({})), "HTTP 500", true),
        (Reply::html(200, "<html>"), "not JSON", false),
        (
            Reply::json(200, json!({"token": "x"})),
            "has no value",
            false,
        ),
        (Reply::json(200, json!({"value": 7})), "has no value", false),
        (
            Reply::json(200, json!({"value": "two words"})),
            "visible ASCII",
            false,
        ),
        (Reply::json(200, json!({"value": ""})), "is empty", false),
        (Reply::json(200, padded), "over 1048576 bytes", false),
        (
            Reply::status(302).header("Location", "https://x.invalid/"),
            "HTTP 302",
            false,
        ),
        (
            Reply::text(403, format!("nonsense {REQUEST_TOKEN} \u{1b}[31m")),
            "nonsense [redacted]",
            false,
        ),
    ] {
        let outcome = failing(reply);
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
        assert!(outcome.stderr.contains("github"), "{outcome:?}");
        assert_eq!(outcome.json()["error"]["retryable"], retryable, "{words}");
    }
}

#[test]
fn github_that_is_not_ready_yet_is_asked_again() {
    let target = "/token?api-version=2.0&audience=connect";
    let github = github(Reply::text(403, "Pending"))
        .step(get(target).reply(Reply::json(200, json!({"value": token()}))))
        .start();
    let server = connect().start();
    on_github(at(&server, &[]), &github_url(&github)).succeeds();
}

#[test]
fn a_token_for_another_audience_is_not_sent() {
    for audience in [json!("sts.amazonaws.com"), json!(["a", "b"]), json!(null)] {
        let mut claims = github_claims("connect");
        claims["aud"] = audience.clone();
        let outcome = failing(Reply::json(200, json!({"value": jwt(&claims)})));
        assert!(outcome.stderr.contains("not for connect"), "{outcome:?}");
        if let Some(audience) = audience.as_str() {
            assert!(outcome.stderr.contains(audience), "{outcome:?}");
        }
    }
    let mut claims = github_claims("connect");
    claims["aud"] = json!(["other", "connect"]);
    let github = github(Reply::json(200, json!({"value": jwt(&claims)}))).start();
    let server = connect().start();
    on_github(at(&server, &[]), &github_url(&github)).succeeds();
}

#[test]
fn an_audience_that_is_named_is_asked_for_and_encoded() {
    let mut claims = github_claims("connect");
    claims["aud"] = json!("https://c.example/?a&b");
    let github = Server::tls()
        .step(
            get("/token?api-version=2.0&audience=https%3A%2F%2Fc.example%2F%3Fa%26b")
                .reply(Reply::json(200, json!({"value": jwt(&claims)}))),
        )
        .start();
    let server = connect().start();
    let call = at(&server, &["--audience", "https://c.example/?a&b"]);
    on_github(call, &github_url(&github)).succeeds();
}

#[test]
fn cacert_and_insecure_are_for_connect_alone() {
    for args in [&["--cacert", ca_file()][..], &["--insecure"]] {
        let github = Server::tls().start();
        let server = Server::tls().route(discovery()).start();
        let bare = call(args).args(&["-s", &server.url()]);
        let outcome = on_github(bare, &github_url(&github)).fails(3, "identity_provider_failed");
        assert!(outcome.stderr.contains("unknown issuer"), "{outcome:?}");
        assert_eq!(github.requests().len(), 0);
    }
}

#[test]
fn a_provider_that_is_not_https_is_not_asked() {
    let outcome = on_github(
        call(&["-s", "https://h.invalid"]),
        "http://github.invalid/t",
    )
    .fails(3, "identity_provider_failed");
    assert!(outcome.stderr.contains("is not https"), "{outcome:?}");

    let target = "/t?audience=connect";
    let github = Server::plain()
        .step(get(target).reply(Reply::json(200, json!({"value": token()}))))
        .start();
    let server = connect().start();
    on_github(at(&server, &[]), &format!("{}/t", github.url())).succeeds();
}

#[test]
fn a_token_or_file_of_the_callers_beats_every_provider() {
    for source in [
        ["--identity-token", token()],
        ["--identity-token-file", token_file()],
    ] {
        let github = Server::tls().start();
        let server = connect().start();
        on_github(at(&server, &source), &github_url(&github)).succeeds();
        assert_eq!(github.connections(), 0);
    }
}

#[test]
fn azure_devops_is_asked_with_an_empty_post() {
    let mut claims = github_claims("connect");
    claims["aud"] = json!("api://AzureADTokenExchange");
    let token = jwt(&claims);
    let azure = || {
        let target = "/oidctoken?serviceConnectionId=1&api-version=7.1";
        Server::tls().step(post(target).reply(Reply::json(200, json!({"oidcToken": token}))))
    };
    let run = |azure: &Server, server: &Server, args: &[&str]| {
        at(server, args)
            .env(
                "SYSTEM_OIDCREQUESTURI",
                &format!("{}/oidctoken?serviceConnectionId=1", azure.url()),
            )
            .env("SYSTEM_ACCESSTOKEN", REQUEST_TOKEN)
            .secret(&token)
            .run()
    };
    let (azure_server, server) = (azure().start(), connect().start());
    let outcome = run(
        &azure_server,
        &server,
        &["--audience", "api://AzureADTokenExchange"],
    );
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(sent_token(&server), token);
    let request = &azure_server.requests()[0];
    assert_eq!(request.body, b"");
    assert_eq!(
        request.header("authorization"),
        Some(&*format!("Bearer {REQUEST_TOKEN}"))
    );

    let (azure_server, server) = (azure().start(), Server::tls().route(discovery()).start());
    let outcome = run(&azure_server, &server, &[]);
    assert_eq!(outcome.code(), "identity_provider_failed");
    assert!(outcome.stderr.contains("--audience"), "{outcome:?}");
}

#[test]
fn gitlab_and_bitbucket_put_it_into_a_variable() {
    for (marker, variable) in [
        (("GITLAB_CI", "true"), "CONNECT_ID_TOKEN"),
        (("BITBUCKET_BUILD_NUMBER", "1"), "BITBUCKET_STEP_OIDC_TOKEN"),
    ] {
        let server = connect().start();
        at(&server, &[])
            .env(marker.0, marker.1)
            .env(variable, token())
            .succeeds();
        assert_eq!(sent_token(&server), token());
    }
}

#[test]
fn the_variable_that_held_the_token_is_not_handed_on() {
    let server = connect().start();
    let outcome = at(&server, &[])
        .args(&["--", "/usr/bin/env"])
        .env("GITLAB_CI", "true")
        .env("CONNECT_ID_TOKEN", token())
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(!outcome.text().contains("CONNECT_ID_TOKEN"), "{outcome:?}");
    assert!(outcome.text().contains("GITLAB_CI"), "{outcome:?}");
}

#[test]
fn circleci_and_buildkite_have_programs() {
    let claims = r#"[ "$*" = 'run oidc get --claims {"aud":"connect"} --root-issuer' ]"#;
    let audience = r#"[ "$*" = "oidc request-token --audience connect" ]"#;
    for (marker, name, test) in [
        ("CIRCLECI", "circleci", claims),
        ("BUILDKITE", "buildkite-agent", audience),
    ] {
        let script = format!("{test} || exit 9\necho noise >&2\necho '{}'", token());
        let bin = program(name, &script);
        let server = connect().start();
        at(&server, &[])
            .env(marker, "true")
            .env("PATH", &path_with(&bin))
            .succeeds();
        assert_eq!(sent_token(&server), token());
    }
}

#[test]
fn no_audience_is_read_by_a_shell() {
    let marker = file("marker", "");
    std::fs::remove_file(&marker).unwrap();
    let audience = format!("$(touch {marker}); touch {marker} # '\"");
    let mut claims = github_claims("connect");
    claims["aud"] = json!(audience);
    for (variable, name) in [("CIRCLECI", "circleci"), ("BUILDKITE", "buildkite-agent")] {
        let bin = program(name, &format!("echo '{}'", jwt(&claims)));
        let server = connect().start();
        at(&server, &["--audience", &audience])
            .env(variable, "true")
            .env("PATH", &path_with(&bin))
            .succeeds();
    }
    assert!(!Path::new(&marker).exists());
}

#[test]
fn without_its_program_circleci_has_variables() {
    for (variables, expected) in [
        (
            &["CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"][..],
            "CIRCLE_OIDC_TOKEN_V2",
        ),
        (&["CIRCLE_OIDC_TOKEN"], "CIRCLE_OIDC_TOKEN"),
    ] {
        let server = connect().start();
        let mut call = at(&server, &[])
            .env("CIRCLECI", "true")
            .env("PATH", empty_folder());
        for variable in variables {
            call = call.env(variable, &format!("opaque-{variable}"));
        }
        call.succeeds();
        assert_eq!(sent_token(&server), format!("opaque-{expected}"));
    }
    let server = Server::tls().start();
    let outcome = at(&server, &[])
        .env("CIRCLECI", "true")
        .env("PATH", empty_folder())
        .run();
    assert_eq!(outcome.code(), "identity_provider_failed");
}

#[test]
fn a_program_that_fails_is_told_with_its_own_words() {
    let bin = program("buildkite-agent", "echo 'no \u{1b}[31mjob' >&2\nexit 3");
    let server = Server::tls().start();
    let outcome = at(&server, &[])
        .env("BUILDKITE", "true")
        .env("PATH", &path_with(&bin))
        .fails(3, "identity_provider_failed");
    assert!(outcome.stderr.contains("no \\u{1b}[31mjob"), "{outcome:?}");
    let bin = program("buildkite-agent", "while :; do echo endless endless; done");
    let outcome = at(&server, &[])
        .env("BUILDKITE", "true")
        .env("PATH", &path_with(&bin))
        .fails(3, "identity_provider_failed");
    assert!(outcome.stderr.contains("longer than"), "{outcome:?}");
}

#[test]
fn a_program_that_hangs_is_killed_at_the_deadline() {
    let pid = file("pid", "");
    let bin = program("buildkite-agent", &format!("echo $$ >{pid}\nexec sleep 60"));
    let server = Server::tls().start();
    let outcome = at(&server, &["--timeout", "1"])
        .env("BUILDKITE", "true")
        .env("PATH", &path_with(&bin))
        .fails(5, "timeout");
    assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:?}");
    let pid = std::fs::read_to_string(&pid).unwrap();
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "it still runs"
    );
}

#[test]
fn google_is_asked_by_name_at_its_metadata_server() {
    let target = "/computeMetadata/v1/instance/service-accounts/default/identity\
                  ?audience=connect&format=full";
    let google = Server::plain()
        .step(get(target).reply(Reply::text(200, token())))
        .start();
    let host = google.url().replace("http://", "");
    let server = connect().start();
    at(&server, &["--identity-provider", "google"])
        .env("GCE_METADATA_HOST", &host)
        .env("http_proxy", "http://127.0.0.1:1")
        .succeeds();
    assert_eq!(
        google.requests()[0].header("metadata-flavor"),
        Some("Google")
    );
    let server = Server::tls().start();
    at(&server, &[])
        .env("GCE_METADATA_HOST", &host)
        .fails(3, "no_identity_token");
}

/// A Workbench session's server, and Connect's user federation.
fn workbench(expires_in: Value) -> (Server, Server) {
    let answer = Reply::json(200, json!({"token": token(), "expiry": "soon"}));
    let workbench = Server::plain()
        .step(post("/s/x/id_token").reply(answer))
        .start();
    let mut issued = issued();
    issued["expires_in"] = expires_in;
    let federation = post("/__api__/v1/oauth/integrations/credentials");
    let server = Server::tls()
        .step(federation.reply(Reply::json(200, issued)))
        .start();
    (workbench, server)
}

#[test]
fn workbench_is_asked_by_name_and_exchanged_at_the_federation() {
    let cookie = "session-rpc-cookie-0123456789";
    let directory = folder("session");
    std::fs::write(
        Path::new(&directory).join("rpc_cookie"),
        format!("{cookie}\nmore\n"),
    )
    .unwrap();
    for (variable, value) in [
        ("RS_SESSION_RPC_COOKIE", cookie),
        ("PWB_SESSION_RUNTIME_DIR", directory.as_str()),
    ] {
        let (workbench, server) = workbench(json!(60));
        at(&server, &["--identity-provider", "workbench"])
            .env("RS_SERVER_ADDRESS", &format!("{}/s/x/", workbench.url()))
            .env(variable, value)
            .secret(cookie)
            .succeeds();
        let asked = &workbench.requests()[0];
        assert_eq!(asked.header("x-rs-session-server-rpc-cookie"), Some(cookie));
        assert_eq!(asked.body, br#"{"method":"id_token"}"#);
        let sent = &server.requests()[0];
        assert_eq!(sent.field("subject_token").as_deref(), Some(token()));
        assert_eq!(
            sent.field("requested_token_type").as_deref(),
            Some("urn:posit:connect:api-key")
        );
    }
}

#[test]
fn without_its_own_expiry_a_federated_key_ends_with_its_token() {
    let (workbench, server) = workbench(Value::Null);
    let document = at(&server, &["--identity-provider", "workbench"])
        .env("RS_SERVER_ADDRESS", &format!("{}/s/x", workbench.url()))
        .env("RS_SESSION_RPC_COOKIE", "cookie")
        .succeeds()
        .json();
    assert!(document["expires_at"].is_string(), "{document}");
}

#[test]
fn on_each_platform_the_one_setting_that_is_missing_is_named() {
    for (variables, words) in [
        (
            &[("GITHUB_ACTIONS", "true")][..],
            &["id-token: write", "caller's job"][..],
        ),
        (
            &[("GITLAB_CI", "true")],
            &["CONNECT_ID_TOKEN", "id_tokens:"],
        ),
        (&[], &["--identity-token-file", "GitHub, Azure DevOps"]),
    ] {
        let mut call = call(&["-s", "https://h.invalid"]);
        for (name, value) in variables {
            call = call.env(name, value);
        }
        let outcome = call.fails(3, "no_identity_token");
        for words in words {
            assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
        }
    }
    for (name, variable) in [
        ("github", "ACTIONS_ID_TOKEN_REQUEST_URL"),
        ("azure-devops", "SYSTEM_OIDCREQUESTURI"),
        ("bitbucket", "BITBUCKET_STEP_OIDC_TOKEN"),
        ("workbench", "RS_SERVER_ADDRESS"),
    ] {
        let outcome = call(&["-s", "https://h.invalid", "--identity-provider", name])
            .fails(3, "no_identity_token");
        assert!(outcome.stderr.contains(variable), "{name}: {outcome:?}");
    }
}

#[test]
fn a_forks_pull_request_is_told_that_it_cannot_have_a_token() {
    for (fork, told) in [
        (json!(true), true),
        (json!(false), false),
        (json!("x"), false),
    ] {
        let event = json!({"pull_request": {"head": {"repo": {"fork": fork}}}});
        let outcome = call(&["-s", "https://h.invalid"])
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_EVENT_PATH", &file("event.json", event.to_string()))
            .fails(3, "no_identity_token");
        assert_eq!(outcome.stderr.contains("fork"), told, "{outcome:?}");
    }
}

#[test]
fn a_federated_key_ends_when_workbench_says_that_its_token_does() {
    let answer = json!({"token": "opaque-workbench-token", "expiry": "2030-01-01T00:00:00.5Z"});
    let workbench = Server::plain()
        .step(post("/id_token").reply(Reply::json(200, answer)))
        .start();
    let issued = Reply::json(200, json!({"access_token": KEY}));
    let federation = post("/__api__/v1/oauth/integrations/credentials");
    let server = Server::tls().step(federation.reply(issued)).start();
    let document = at(&server, &["--identity-provider", "workbench"])
        .env("RS_SERVER_ADDRESS", &workbench.url())
        .env("RS_SESSION_RPC_COOKIE", "cookie")
        .succeeds()
        .json();
    assert_eq!(document["expires_at"], "2030-01-01T00:00:00Z");
}

#[test]
fn files_of_platforms_that_block_end_at_the_deadline() {
    let directory = folder("session");
    let fifo = format!("{directory}/rpc_cookie");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let outcome = call(&["-s", "https://h.invalid", "--timeout", "0.5"])
        .args(&["--identity-provider", "workbench"])
        .env("RS_SERVER_ADDRESS", "https://workbench.invalid")
        .env("PWB_SESSION_RUNTIME_DIR", &directory)
        .fails(5, "timeout");
    assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:?}");
    let outcome = call(&["-s", "https://h.invalid", "--timeout", "0.5"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_PATH", &fifo)
        .fails(3, "no_identity_token");
    assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:?}");
}

#[test]
fn a_request_token_for_this_machine_goes_through_no_proxy() {
    let github = Server::plain()
        .step(get("/t?audience=connect").reply(Reply::json(200, json!({"value": token()}))))
        .start();
    let server = connect().start();
    let proxy = Proxy::start();
    on_github(at(&server, &[]), &format!("{}/t", github.url()))
        .env("all_proxy", &proxy.url())
        .env("no_proxy", "unrelated.example")
        .succeeds();
    assert_eq!(proxy.requests().len(), 1, "Connect's own tunnel only");
}

/// Variables of a test's environment.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// A token whose audience is this.
fn token_for(audience: &Value) -> String {
    let mut claims = github_claims("connect");
    claims["aud"] = audience.clone();
    jwt(&claims)
}

/// What a reader sees who has no identity token in this environment, where no server is asked.
fn without_a_token(args: &[&str], variables: &[(&str, &str)]) -> String {
    let server = Server::tls().start();
    let args = [&["-f", "key"], args].concat();
    let call = variables
        .iter()
        .fold(at(&server, &args), |call, (name, value)| {
            call.env(name, value)
        });
    let outcome = call.run();
    assert_eq!(server.connections(), 0, "{outcome:?}");
    transcript(&server, &args, &outcome)
}

fn golden(name: &str) -> snapbox::Data {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    snapbox::Data::read_from(&folder.join(name), None).raw()
}

#[test]
fn the_help_for_a_missing_token_is_the_platforms_own() {
    let fork = json!({"pull_request": {"head": {"repo": {"fork": true}}}});
    let fork = file("event.json", fork.to_string());
    let github = ("GITHUB_ACTIONS", "true");
    let named = |name| ["--identity-provider", name];
    for (name, args, variables) in [
        ("none", &[][..], &[][..]),
        ("github", &[], &[github]),
        (
            "github-fork",
            &[],
            &[github, ("GITHUB_EVENT_PATH", fork.as_str())],
        ),
        (
            "github-fork-named",
            &named("github"),
            &[github, ("GITHUB_EVENT_PATH", &fork)],
        ),
        (
            "azure-devops",
            &[],
            &[
                ("TF_BUILD", "True"),
                ("SYSTEM_OIDCREQUESTURI", "https://h.invalid"),
            ],
        ),
        ("gitlab", &[], &[("GITLAB_CI", "true")]),
        (
            "gitlab-audience",
            &["--audience", "1-c.example"],
            &[("GITLAB_CI", "true")],
        ),
        (
            "circleci",
            &[],
            &[("CIRCLECI", "true"), ("PATH", empty_folder())],
        ),
        ("bitbucket", &[], &[("BITBUCKET_BUILD_NUMBER", "1")]),
        (
            "buildkite",
            &[],
            &[("BUILDKITE", "true"), ("PATH", empty_folder())],
        ),
        ("workbench", &named("workbench"), &[]),
    ] {
        let seen = without_a_token(args, variables);
        assert_data_eq!(seen, golden(&format!("provider-{name}.txt")));
    }
}

#[test]
fn a_refusal_of_the_platforms_is_told_in_its_own_words() {
    for (name, reply) in [
        (
            "refused",
            Reply::json(401, json!({"message": "Bad credentials"})),
        ),
        (
            "audience",
            Reply::json(200, json!({"value": token_for(&json!(["a", "b"]))})),
        ),
    ] {
        let github = github(reply).start();
        let server = Server::tls().route(discovery()).start();
        let args = ["-f", "key"];
        let outcome = on_github(at(&server, &args), &github_url(&github)).run();
        let seen = transcript(&server, &args, &outcome);
        assert_data_eq!(seen, golden(&format!("provider-{name}.txt")));
    }
}

#[test]
fn auto_takes_the_first_that_fits_and_falls_to_no_other_when_it_fails() {
    // Each row's own failure shows that it was chosen.
    let rows: [(Variables, &str, &str); 7] = [
        (
            &[
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://h.invalid"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN),
            ],
            "identity_provider_failed",
            "github",
        ),
        (
            &[
                ("SYSTEM_OIDCREQUESTURI", "http://h.invalid"),
                ("SYSTEM_ACCESSTOKEN", REQUEST_TOKEN),
            ],
            "identity_provider_failed",
            "azure-devops",
        ),
        (
            &[("GITLAB_CI", "true")],
            "no_identity_token",
            "CONNECT_ID_TOKEN",
        ),
        (
            &[("CIRCLECI", "true")],
            "identity_provider_failed",
            "circleci",
        ),
        (
            &[("BITBUCKET_STEP_OIDC_TOKEN", "two words")],
            "identity_token_unreadable",
            "BITBUCKET_STEP_OIDC_TOKEN",
        ),
        (
            &[("BUILDKITE", "true")],
            "identity_provider_failed",
            "buildkite",
        ),
        (
            &[
                ("RS_SERVER_ADDRESS", "https://h.invalid"),
                ("RS_SESSION_RPC_COOKIE", "cookie"),
                ("GCE_METADATA_HOST", "h.invalid"),
            ],
            "no_identity_token",
            "there is no identity token",
        ),
    ];
    for first in 0..rows.len() {
        let server = Server::tls().start();
        let mut call = at(&server, &[]).env("PATH", empty_folder());
        for (name, value) in rows[first..].iter().flat_map(|row| row.0) {
            call = call.env(name, value);
        }
        let (_, code, words) = rows[first];
        let outcome = call.fails(3, code);
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
        assert_eq!(server.connections(), 0);
    }
}

#[test]
fn a_provider_that_is_named_is_the_one() {
    let github = Server::tls().start();
    for args in [&["--identity-provider", "gitlab"][..], &[]] {
        let server = connect().start();
        on_github(at(&server, args), &github_url(&github))
            .env("CONNECT_IDENTITY_PROVIDER", "gitlab")
            .env("CONNECT_ID_TOKEN", token())
            .succeeds();
        assert_eq!(sent_token(&server), token());
    }
    let server = Server::tls().start();
    on_github(
        at(&server, &["--identity-provider", "none"]),
        &github_url(&github),
    )
    .fails(3, "no_identity_token");
    // A token beats a provider of the same layer, and is silenced by one of a higher layer.
    let server = connect().start();
    on_github(at(&server, &[]), &github_url(&github))
        .env("CONNECT_IDENTITY_PROVIDER", "github")
        .env("CONNECT_IDENTITY_TOKEN", token())
        .succeeds();
    let server = connect().start();
    at(&server, &["--identity-provider", "bitbucket"])
        .env("CONNECT_IDENTITY_TOKEN", "another-token-of-the-environment")
        .env("BITBUCKET_STEP_OIDC_TOKEN", token())
        .succeeds();
    assert_eq!(sent_token(&server), token());
    assert_eq!(github.connections(), 0);
}

#[test]
fn the_request_urls_own_query_is_kept_to_the_byte() {
    let own = "api-version=2.0&sig=a%20b~c%2f*&flag&x=1+2";
    let github = Server::tls()
        .step(
            get(&format!("/token?{own}&audience=a+b%26c")).reply(Reply::json(
                200,
                json!({"value": token_for(&json!("a b&c"))}),
            )),
        )
        .start();
    let server = connect().start();
    let url = format!("{}/token?audience=other&{own}", github.url());
    on_github(at(&server, &["--audience", "a b&c"]), &url).succeeds();
}

#[test]
fn a_provider_in_trouble_is_asked_again() {
    let target = "/token?api-version=2.0&audience=connect";
    let good = || get(target).reply(Reply::json(200, json!({"value": token()})));
    let status = |status| get(target).reply(Reply::status(status));
    let pending = || get(target).reply(Reply::json(403, json!({"message": "PENDING"})));
    for script in [
        Server::tls().step(pending()).step(pending()),
        Server::tls().step(status(503)).step(status(429)),
        Server::tls().step(status(502)).step(status(504)),
        Server::tls().step(accept().reset()).step(accept().serve()),
    ] {
        let github = script.step(good()).start();
        let server = connect().start();
        on_github(at(&server, &[]), &github_url(&github)).succeeds();
    }
}

#[test]
fn a_provider_that_stays_in_trouble_is_told() {
    let pending = github(Reply::text(403, "Pending"))
        .route(get("/token?api-version=2.0&audience=connect").reply(Reply::text(403, "Pending")))
        .start();
    let later = |status| github(Reply::status(status).header("Retry-After", "3600")).start();
    let gone = Server::tls().start();
    gone.stop();
    for (github, words, retryable) in [
        (pending, "Pending", false),
        (later(503), "3600 s", true),
        (later(429), "3600 s", true),
        (gone, "refused", true),
    ] {
        let server = Server::tls().route(discovery()).start();
        let outcome =
            on_github(at(&server, &[]), &github_url(&github)).fails(3, "identity_provider_failed");
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
        assert_eq!(outcome.json()["error"]["retryable"], retryable, "{words}");
        assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
    }
}

#[test]
fn the_deadline_covers_both_fetches() {
    let silent = || {
        Server::tls()
            .route_with("GET", "/", |_| Reply::status(200).silence_after(0))
            .start()
    };
    let (github, server) = (silent(), silent());
    let outcome =
        on_github(at(&server, &["--timeout", "1"]), &github_url(&github)).fails(5, "timeout");
    let second = Duration::from_secs(1);
    assert!(outcome.elapsed >= second, "{outcome:?}");
    assert!(outcome.elapsed < 4 * second, "{outcome:?}");
    assert_eq!((github.requests().len(), server.requests().len()), (1, 1));
}

#[test]
fn every_provider_that_is_asked_over_the_network_is_asked_beside_connect() {
    let pause = Duration::from_millis(300);
    let slow = move |reply: Reply| reply.delay(pause);
    let azure_audience = "api://AzureADTokenExchange";
    let azure = Server::tls()
        .step(post("/?api-version=7.1").reply(slow(Reply::json(
            200,
            json!({"oidcToken": token_for(&json!(azure_audience))}),
        ))))
        .start();
    let google = Server::plain()
        .route_with("GET", "/computeMetadata/", move |_| {
            slow(Reply::text(200, token()))
        })
        .start();
    let variables = [
        ("SYSTEM_OIDCREQUESTURI", azure.url()),
        ("SYSTEM_ACCESSTOKEN", REQUEST_TOKEN.to_owned()),
        ("GCE_METADATA_HOST", google.url().replace("http://", "")),
    ];
    for (provider, asked, audience) in [
        ("azure-devops", &azure, azure_audience),
        ("google", &google, "connect"),
    ] {
        let server = Server::tls()
            .step(get(METADATA).reply(slow(Reply::json(200, metadata()))))
            .step(exchange())
            .start();
        let args = ["--identity-provider", provider, "--audience", audience];
        let call = variables
            .iter()
            .fold(at(&server, &args), |call, (name, value)| {
                call.env(name, value)
            });
        call.succeeds();
        let (asked, discovered) = (asked.requests()[0].at, server.requests()[0].at);
        let apart = asked.max(discovered) - asked.min(discovered);
        assert!(apart < pause, "{provider}: one waited: {apart:?}");
    }
}

#[test]
fn a_provider_is_asked_through_the_proxy() {
    let github = github(Reply::json(200, json!({"value": token()})))
        .identity(Ca::shared().issue(&["github.invalid"]))
        .start();
    let proxy = Proxy::start().forward_to(github.address());
    let server = connect().start();
    let call = at(&server, &[])
        .env("https_proxy", &proxy.url())
        .env("no_proxy", "localhost");
    on_github(call, "https://github.invalid/token?api-version=2.0").succeeds();
    let tunnels: Vec<String> = proxy.requests().into_iter().map(|head| head.line).collect();
    assert_eq!(tunnels, ["CONNECT github.invalid:443 HTTP/1.1"]);
}

#[test]
fn the_metadata_server_is_asked_past_every_proxy() {
    let proxy = Proxy::start();
    let server = Server::tls().route(discovery()).start();
    let outcome = at(
        &server,
        &["--identity-provider", "google", "--timeout", "4"],
    )
    .env("GCE_METADATA_HOST", "metadata.invalid")
    .env("http_proxy", &proxy.url())
    .env("all_proxy", &proxy.url())
    .env("no_proxy", "localhost")
    .run();
    assert_ne!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn a_variables_token_for_another_audience_is_not_sent() {
    let other = token_for(&json!("api://AzureADTokenExchange"));
    for (marker, variable) in [
        ("GITLAB_CI", "CONNECT_ID_TOKEN"),
        ("CIRCLECI", "CIRCLE_OIDC_TOKEN_V2"),
        ("BITBUCKET_BUILD_NUMBER", "BITBUCKET_STEP_OIDC_TOKEN"),
    ] {
        let server = Server::tls().route(discovery()).start();
        let outcome = at(&server, &[])
            .env(marker, "true")
            .env(variable, &other)
            .env("PATH", empty_folder())
            .secret(&other)
            .fails(3, "identity_provider_failed");
        for words in ["api://AzureADTokenExchange", "not for connect"] {
            assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
        }
    }
    // The caller's own is the caller's to choose.
    let server = connect().start();
    at(&server, &["--identity-token", &other]).succeeds();
    assert_eq!(sent_token(&server), other);
}

#[test]
fn a_program_that_fails_has_no_variable_in_its_place() {
    let server = Server::tls().start();
    let stderr = format!("echo 'circleci: no OIDC {}' >&2", token());
    let bin = program("circleci", &format!("echo printed\n{stderr}\nexit 1"));
    let outcome = at(&server, &[])
        .env("CIRCLECI", "true")
        .env("CIRCLE_OIDC_TOKEN_V2", token())
        .env("PATH", &path_with(&bin))
        .fails(3, "identity_provider_failed");
    assert!(
        outcome.stderr.contains("it said: circleci: no OIDC"),
        "{outcome:?}"
    );
    assert!(!outcome.stderr.contains("printed"), "{outcome:?}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_programs_noise_neither_blocks_it_nor_is_shown() {
    let noise = "head -c 300000 /dev/zero | tr '\\0' x >&2";
    let bin = program("buildkite-agent", &format!("{noise}\necho '{}'", token()));
    let server = connect().start();
    at(&server, &[])
        .env("BUILDKITE", "true")
        .env("PATH", &path_with(&bin))
        .succeeds();
    assert_eq!(sent_token(&server), token());
}

#[test]
fn a_program_prints_one_token_and_nothing_else() {
    for (script, words) in [
        ("echo two words", "visible ASCII"),
        ("printf 'a\\000b'", "visible ASCII"),
        ("printf '\\377'", "visible ASCII"),
        (":", "is empty"),
    ] {
        let bin = program("buildkite-agent", script);
        let server = Server::tls().start();
        let outcome = at(&server, &[])
            .env("BUILDKITE", "true")
            .env("PATH", &path_with(&bin))
            .fails(3, "identity_provider_failed");
        assert!(outcome.stderr.contains(words), "{script}: {outcome:?}");
    }
}

#[test]
fn a_program_that_says_all_and_does_not_end_is_killed() {
    let pid = file("pid", "");
    let script = format!(
        "echo $$ >{pid}\necho '{}'\nexec >&- 2>&-\nexec sleep 60",
        token()
    );
    let bin = program("buildkite-agent", &script);
    let server = Server::tls().start();
    let outcome = at(&server, &["--timeout", "1"])
        .env("BUILDKITE", "true")
        .env("PATH", &path_with(&bin))
        .fails(5, "timeout");
    assert!(outcome.elapsed < Duration::from_secs(4), "{outcome:?}");
    let pid = std::fs::read_to_string(&pid).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn a_child_of_a_program_cannot_hold_its_output_past_the_deadline() {
    let bin = program("buildkite-agent", "sleep 6 &\nexit 0");
    let server = Server::tls().start();
    let outcome = at(&server, &["--timeout", "1"])
        .env("BUILDKITE", "true")
        .env("PATH", &path_with(&bin))
        .fails(5, "timeout");
    assert!(outcome.elapsed < Duration::from_secs(4), "{outcome:?}");
}

/// The program as a Workbench session calls it, its server at this URL.
fn in_workbench(server: &Server, url: &str, args: &[&str]) -> Call {
    at(server, args)
        .args(&["--identity-provider", "workbench"])
        .env("RS_SERVER_ADDRESS", url)
}

#[test]
fn workbench_is_never_chosen_by_itself() {
    let workbench = Server::plain().start();
    let server = Server::tls().start();
    at(&server, &[])
        .env("RS_SERVER_ADDRESS", &workbench.url())
        .env("RS_SESSION_RPC_COOKIE", "cookie")
        .fails(3, "no_identity_token");
    assert_eq!((workbench.connections(), server.connections()), (0, 0));
}

#[test]
fn the_federation_is_below_the_servers_prefix_and_gives_the_tokens_expiry() {
    let answer = Reply::json(200, json!({"token": token(), "expiry": "soon"}));
    let workbench = Server::plain()
        .step(post("/id_token").reply(answer))
        .start();
    let federation = post("/rsc/__api__/v1/oauth/integrations/credentials");
    let issued = json!({"access_token": KEY, "token_type": "Key"});
    let server = Server::tls()
        .step(federation.reply(Reply::json(200, issued)))
        .start();
    let prefixed = format!("{}/rsc", server.url());
    let document = call(&["-s", &prefixed, "--identity-provider", "workbench"])
        .env("SSL_CERT_FILE", ca_file())
        .env("RS_SERVER_ADDRESS", &workbench.url())
        .env("RS_SESSION_RPC_COOKIE", "cookie")
        .env("http_proxy", "http://127.0.0.1:1")
        .succeeds()
        .json();
    assert_eq!(document["server"], format!("{prefixed}/"));
    let payload = token().split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, payload).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let expires_at = unix(document["expires_at"].as_str().unwrap());
    assert_eq!(claims["exp"], expires_at);
}

#[test]
fn a_session_on_another_machine_is_asked_over_http_through_the_proxy() {
    let answer = Reply::json(200, json!({"token": token()}));
    let workbench = Server::plain()
        .step(post("/id_token").reply(answer))
        .start();
    let proxy = Proxy::start().forward_to(workbench.address());
    let server = Server::tls()
        .step(post("/__api__/v1/oauth/integrations/credentials").reply(Reply::json(200, issued())))
        .start();
    in_workbench(&server, "http://workbench.invalid:8787", &[])
        .env("RS_SESSION_RPC_COOKIE", "cookie")
        .env("http_proxy", &proxy.url())
        .succeeds();
    assert_eq!(
        proxy.requests()[0].line,
        "CONNECT workbench.invalid:8787 HTTP/1.1"
    );
}

#[test]
fn the_sessions_cookie_is_not_shown_and_its_absence_is_told() {
    let cookie = "session-rpc-cookie-0123456789";
    let echo = Reply::text(403, format!("no session for {cookie}"));
    let workbench = Server::plain().step(post("/id_token").reply(echo)).start();
    let server = Server::tls().start();
    let outcome = in_workbench(&server, &workbench.url(), &["-v"])
        .env("RS_SESSION_RPC_COOKIE", cookie)
        .secret(cookie)
        .fails(3, "identity_provider_failed");
    assert!(
        outcome.stderr.contains("no session for [redacted]"),
        "{outcome:?}"
    );

    let url = workbench.url();
    in_workbench(&server, &url, &[]).fails(3, "no_identity_token");
    in_workbench(&server, &url, &[])
        .env("PWB_SESSION_RUNTIME_DIR", empty_folder())
        .fails(3, "identity_provider_failed");
    assert_eq!(workbench.requests().len(), 1);
}

#[test]
fn workbenchs_token_is_held_against_an_audience_that_somebody_names() {
    let answer = Reply::json(200, json!({"token": token()}));
    let workbench = Server::plain()
        .step(post("/id_token").reply(answer))
        .start();
    let server = Server::tls().start();
    let outcome = in_workbench(&server, &workbench.url(), &["--audience", "other"])
        .env("RS_SESSION_RPC_COOKIE", "cookie")
        .fails(3, "identity_provider_failed");
    assert!(outcome.stderr.contains("not for other"), "{outcome:?}");
    assert_eq!(server.requests().len(), 0);
}

//! Identity tokens from the platforms that hand them out, each played as it behaves.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::jwt::{github_claims, jwt};
use crate::support::process::Outcome;
use crate::support::server::{Builder, Reply, Server, get, post};
use crate::world::*;

const REQUEST_TOKEN: &str = "runner-request-token-4f8a1c";

/// An empty folder: with it, what `SSL_CERT_FILE` names is the whole trust.
fn empty_folder() -> &'static str {
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
fn github(reply: Reply) -> Builder {
    Server::tls().step(get("/token?api-version=2.0&audience=connect").reply(reply))
}

fn github_url(server: &Server) -> String {
    format!("{}/token?api-version=2.0", server.url())
}

/// Asks GitHub for a token and Connect for nothing but, perhaps, its metadata.
fn failing(reply: Reply) -> Outcome {
    let github = github(reply).start();
    let server = Server::tls().route(discovery()).start();
    on_github(at(&server, &[]), &github_url(&github)).fails(3, "identity_provider_failed")
}

fn sent_token(server: &Server) -> String {
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
    let proxy = crate::support::proxy::Proxy::start();
    on_github(at(&server, &[]), &format!("{}/t", github.url()))
        .env("all_proxy", &proxy.url())
        .env("no_proxy", "unrelated.example")
        .succeeds();
    assert_eq!(proxy.requests().len(), 1, "Connect's own tunnel only");
}

//! The formats of tools: transcripts, requests that are none, and `-- COMMAND`.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use snapbox::{assert_data_eq, file};

use crate::support::jwt::{github_claims, jwt};
use crate::support::process::{Outcome, Run, Stdin};
use crate::support::server::{Reply, Server};
use crate::world::*;

const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";

/// A request as client-go makes it.
fn exec_info(version: &str, config: Value) -> String {
    json!({
        "apiVersion": format!("client.authentication.k8s.io/{version}"),
        "kind": "ExecCredential",
        "spec": {"cluster": {"server": "https://k8s.example", "config": config}, "interactive": false},
    })
    .to_string()
}

/// A transcript of a call with this on stdin and in the environment.
fn seen(server: &Server, args: &[&str], stdin: &str, variables: &[(&str, &str)]) -> String {
    let mut call = call_at(server, args).stdin(stdin);
    for (name, value) in variables {
        call = call.env(name, value);
    }
    let outcome = call.run();
    let shown = transcript(server, args, &outcome);
    // The expiry of git's answer is a number of seconds.
    let lines = shown
        .lines()
        .map(|line| match line.split_once("password_expiry_utc=") {
            Some((_, seconds)) if seconds.parse::<u64>().is_ok() => {
                "password_expiry_utc=1795471200"
            }
            _ => line,
        });
    lines.map(|line| format!("{line}\n")).collect()
}

/// A server whose keys have no known expiry.
fn timeless() -> Server {
    answering(Reply::json(200, json!({"access_token": KEY}))).start()
}

#[test]
fn kubernetes() {
    let golden = |name| snapbox::Data::read_from(&golden_file(name), None).raw();
    for (name, variables) in [
        (
            "kubernetes-v1.txt",
            &[(EXEC_INFO, exec_info("v1", json!(null)))][..],
        ),
        (
            "kubernetes-v1beta1.txt",
            &[(EXEC_INFO, exec_info("v1beta1", json!({})))],
        ),
    ] {
        let server = connect().start();
        let variables: Vec<_> = variables.iter().map(|(a, b)| (*a, b.as_str())).collect();
        assert_data_eq!(seen(&server, &[], "", &variables), golden(name));
    }
    let server = connect().start();
    let args = ["-f", "kubernetes"];
    assert_data_eq!(seen(&server, &args, "", &[]), golden("kubernetes.txt"));
    assert_data_eq!(
        seen(&timeless(), &args, "", &[]),
        golden("kubernetes-timeless.txt")
    );
}

fn golden_file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

#[test]
fn aws() {
    let server = connect().start();
    let args = ["-f", "aws"];
    assert_data_eq!(
        seen(&server, &args, "", &[]),
        file!["../golden/aws.txt"].raw()
    );
    assert_data_eq!(
        seen(&timeless(), &args, "", &[]),
        file!["../golden/aws-timeless.txt"].raw()
    );
}

#[test]
fn git() {
    let server = connect().start();
    assert_data_eq!(
        seen(&server, &["-f", "git"], "", &[]),
        file!["../golden/git-without-a-verb.txt"].raw()
    );
    let server = connect().start();
    let host = server.url().replace("https://", "");
    let asked = format!("protocol=https\nhost={host}\nwwwauth[]=Basic realm=\"x\"\n\n");
    assert_data_eq!(
        seen(&server, &["-f", "git", "get"], &asked, &[]),
        file!["../golden/git-get.txt"].raw()
    );
    let server = connect().start();
    let host = server.url().replace("https://", "");
    let asked = format!("capability[]=authtype\ncapability[]=state\nprotocol=https\nhost={host}\n");
    assert_data_eq!(
        seen(&server, &["-f", "git", "get"], &asked, &[]),
        file!["../golden/git-authtype.txt"].raw()
    );
}

#[test]
fn bazel() {
    let server = connect().start();
    let asked = json!({"uri": format!("{}/content/x", server.url())}).to_string();
    assert_data_eq!(
        seen(&server, &["-f", "bazel", "get"], &asked, &[]),
        file!["../golden/bazel.txt"].raw()
    );
    let args = ["-f", "bazel"];
    assert_data_eq!(
        seen(&timeless(), &args, "", &[]),
        file!["../golden/bazel-timeless.txt"].raw()
    );
}

// kubernetes

#[test]
fn the_clusters_config_may_say_where_to_go() {
    let server = connect().start();
    let config = json!({"server": server.url(), "audience": "connect", "unknown": 7});
    let outcome = call(&["-c", ca_file(), "--identity-token-file", token_file()])
        .env(EXEC_INFO, &exec_info("v1", config))
        .env("CONNECT_SERVER", "https://environment.invalid")
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

/// The failure of a call whose `KUBERNETES_EXEC_INFO` is this.
fn with_info(info: &str) -> Outcome {
    let outcome = call(&[
        "-f",
        "kubernetes",
        "-s",
        "https://h.invalid",
        "--identity-token",
        "t",
    ])
    .env(EXEC_INFO, info)
    .run();
    assert_eq!(
        (outcome.status, outcome.text().as_str()),
        (Some(2), ""),
        "{outcome:?}"
    );
    outcome
}

#[test]
fn info_that_is_no_request_is_told() {
    for (info, words) in [
        ("nonsense".to_owned(), "not a JSON object"),
        ("[]".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "client.authentication.k8s.io/v1beta1"),
        (
            exec_info("v2", json!({})),
            "client.authentication.k8s.io/v1 ",
        ),
        (
            exec_info("v1", json!({})).replace("ExecCredential", "Pod"),
            "another kind",
        ),
        (exec_info("v1", json!([])), "spec.cluster.config"),
        (
            r#"{"apiVersion":"client.authentication.k8s.io/v1","spec":7}"#.to_owned(),
            "spec",
        ),
        (exec_info("v1", json!({"server": 7})), "server"),
        (exec_info("v1", json!({"server": ""})), "is empty"),
    ] {
        let outcome = with_info(&info);
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
    }
}

#[test]
fn the_clusters_config_may_not_say_anything_of_tokens_or_trust() {
    for field in [
        "identity_token",
        "identity_token_file",
        "identity_provider",
        "cacert",
        "insecure",
        "token_endpoint",
        "params",
        "timeout",
        "version",
        "scheme",
        "client_id",
    ] {
        let outcome = with_info(&exec_info("v1", json!({field: "secret-secret-secret"})));
        assert!(outcome.stderr.contains(field), "{field}: {outcome:?}");
        assert!(!outcome.stderr.contains("secret-secret"), "{outcome:?}");
    }
}

#[test]
fn info_is_ignored_by_other_formats_and_commands() {
    let server = connect().start();
    let outcome = call_at(&server, &["-f", "key"])
        .env(EXEC_INFO, "nonsense")
        .succeeds();
    assert_eq!(outcome.text(), format!("{KEY}\n"));
    let server = connect().start();
    let outcome = call_at(&server, &[])
        .args(&["--", "true"])
        .env(EXEC_INFO, "nonsense")
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

// git and bazel

#[test]
fn what_git_asks_about_others_gets_no_answer() {
    let server = Server::tls().start();
    let port = server.port();
    for request in [
        format!("protocol=http\nhost=localhost:{port}\n"),
        "protocol=https\nhost=localhost\n".to_owned(),
        format!("protocol=https\nhost=evil.example:{port}\n"),
        format!("protocol=https\nhost=localhost:{port}#.evil\n"),
        format!("protocol=https\nhost=x@localhost:{port}\n"),
        format!("protocol=https\nhost=localhost:{port}\\x\n"),
        format!("protocol=https\nhost=localhost%3a{port}\n"),
        format!("protocol=https\nhost=localhost:{port}\r\n"),
        format!("protocol=https\nhost=a\nhost=localhost:{port}\n"),
        format!("protocol=https\nhost=localhost:{port}\nusername=ada\n"),
        format!("host=localhost:{port}\n"),
        "protocol=https\n".to_owned(),
        String::new(),
    ] {
        let outcome = call_at(&server, &["-f", "git", "get"])
            .stdin(&request)
            .succeeds();
        assert_eq!(outcome.text(), "", "{request}");
    }
    let url = format!("{}/rsc", server.url());
    for path in [
        "",
        "path=other/x\n",
        "path=rsc/../x\n",
        "path=rscx\n",
        "path=rsc%2fx\n",
    ] {
        let request = format!("protocol=https\nhost=localhost:{port}\n{path}");
        let outcome = call(&["-f", "git", "get", "-s", &url, "--identity-token", "t"])
            .stdin(&request)
            .succeeds();
        assert_eq!(outcome.text(), "", "{request}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn what_is_no_request_of_gits_is_told() {
    for request in [
        "nonsense\n".to_owned(),
        "host=a\0b\n".to_owned(),
        format!("host={}\n", "h".repeat(70_000)),
    ] {
        for verb in ["get", "store", "erase"] {
            let outcome = call(&["-f", "git", verb, "-s", "https://h.invalid"])
                .stdin(&request)
                .fails(2, "bad_request");
            assert_eq!(outcome.text(), "");
        }
    }
}

#[test]
fn an_unknown_expiry_is_left_out_for_git() {
    let lines = |capability: &str| {
        let server = timeless();
        let host = server.url().replace("https://", "");
        let outcome = call_at(&server, &["-f", "git", "get"])
            .stdin(format!("{capability}protocol=https\nhost={host}\n\n"))
            .succeeds();
        outcome.text()
    };
    assert_eq!(lines(""), format!("username=connect\npassword={KEY}\n"));
    assert_eq!(
        lines("capability[]=authtype\n"),
        format!("capability[]=authtype\nauthtype=Key\ncredential={KEY}\nephemeral=1\n")
    );
}

#[test]
fn a_request_that_does_not_come_ends_at_the_deadline() {
    let server = Server::tls().start();
    for (format, begun) in [("git", "protocol=https\n"), ("bazel", "{\"uri\":")] {
        for stdin in [Stdin::Silent, Stdin::BytesThenOpen(begun.into())] {
            let args = ["-f", format, "get", "--timeout", "0.3"];
            call_at(&server, &args).stdin(stdin).fails(5, "timeout");
        }
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn verbs_that_git_adds_later_are_ignored() {
    let outcome = call(&["-f", "git", "capability"]).succeeds();
    assert_eq!(outcome.text(), "");
    let request = format!("protocol=https\nhost=h\nusername=connect\npassword={KEY}\n");
    assert_eq!(
        call(&["-f", "git", "store"])
            .stdin(request)
            .succeeds()
            .text(),
        ""
    );
}

#[test]
fn what_is_no_request_of_bazels_is_told() {
    let server = Server::tls().start();
    let at = server.url();
    for request in [
        "nonsense".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        json!({"uri": 7}).to_string(),
        json!({"uri": "nonsense"}).to_string(),
        json!({"uri": "https://evil.example/"}).to_string(),
        json!({"uri": at.replace("https", "http")}).to_string(),
        json!({"uri": at.replace("localhost", "u@localhost")}).to_string(),
        json!({"uri": format!("{at}\\@evil.example/")}).to_string(),
        json!({"uri": format!("{at}/a\tb")}).to_string(),
    ] {
        let outcome = call_at(&server, &["-f", "bazel", "get"])
            .stdin(&request)
            .run();
        assert_eq!(
            (outcome.status, outcome.text().as_str()),
            (Some(2), ""),
            "{request}"
        );
    }
    for verb in ["store", "erase", "other"] {
        call(&["-f", "bazel", verb]).stdin("{}").fails(2, "usage");
    }
    assert_eq!(server.connections(), 0);
}

// github

#[test]
fn github_masks_first_and_appends() {
    for (before, after) in [("", ""), ("A=1\n", "A=1\n"), ("A=1", "A=1\n")] {
        let server = answering(Reply::json(
            200,
            json!({"access_token": "a%b", "expires_in": 9}),
        ));
        let server = server.start();
        let variables = file("github_env", before);
        let outcome = call_at(&server, &["-f", "github"])
            .env("GITHUB_ENV", &variables)
            .succeeds();
        assert_eq!(outcome.text(), "::add-mask::a%25b\n");
        let expected = format!(
            "{after}CONNECT_SERVER={}/\nCONNECT_API_KEY=a%b\n",
            server.url()
        );
        assert_eq!(std::fs::read_to_string(&variables).unwrap(), expected);
    }
}

#[test]
fn github_without_its_file_is_told_before_anything_is_sent() {
    let server = Server::tls().start();
    call_at(&server, &["-f", "github"]).fails(2, "usage");
    call_at(&server, &["-f", "github"])
        .env("GITHUB_ENV", "/nonexistent")
        .fails(2, "usage");
    call_at(&server, &["-f", "github"])
        .env("GITHUB_ENV", "/")
        .fails(2, "usage");
    assert_eq!(server.connections(), 0);
}

/// What a file that the system guards keeps, whoever writes.
#[cfg(target_os = "linux")]
#[test]
fn github_tells_a_file_that_cannot_be_written_and_shows_the_key_in_its_mask_only() {
    let server = connect().start();
    let outcome = call_at(&server, &["-f", "github"])
        .env("GITHUB_ENV", "/proc/version")
        .spawn()
        .wait();
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert_eq!(outcome.text(), format!("::add-mask::{KEY}\n"));
    assert!(outcome.stderr.contains("/proc/version"), "{outcome:?}");
    assert_hidden(KEY, &outcome.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn github_writes_no_key_that_it_could_not_mask() {
    let server = connect().start();
    let variables = file("github_env", "A=1\n");
    let script = format!(
        "exec \"$0\" -f github -s {} -c {} --identity-token-file {} >/dev/full",
        server.url(),
        ca_file(),
        token_file()
    );
    let outcome = Run::new("/bin/sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_connect-credential")])
        .env("GITHUB_ENV", &variables)
        .run();
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(&variables).unwrap(), "A=1\n");
}

// -- COMMAND

/// What a command sees of its environment.
fn environment_of_command(call: Call) -> Vec<String> {
    let outcome = call.args(&["--", "/usr/bin/env"]).run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let mut lines: Vec<String> = outcome.text().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_command_gets_the_credential_and_loses_what_it_was_made_from() {
    let server = connect().start();
    let lines = environment_of_command(
        call_at(&server, &[])
            .env("CONNECT_IDENTITY_TOKEN", "token-of-the-environment")
            .env("CONNECT_IDENTITY_TOKEN_FILE", "/nonexistent")
            .env("EMPTY", "")
            .env("OTHER", "kept"),
    );
    assert_eq!(
        lines,
        [
            format!("CONNECT_API_KEY={KEY}"),
            format!("CONNECT_CA_CERTIFICATE={}", ca_file()),
            format!("CONNECT_SERVER={}/", server.url()),
            "EMPTY=".to_owned(),
            "OTHER=kept".to_owned(),
        ]
    );
    let server = connect().start();
    let insecure = call(&["-i", "-s", &server.url(), "--identity-token", token()]);
    let lines = environment_of_command(insecure);
    assert!(
        lines.contains(&"CONNECT_INSECURE=1".to_owned()),
        "{lines:?}"
    );
}

/// Runs a script behind `--`.
fn script(server: &Server, script: &str) -> Run {
    let url = server.url();
    Run::new(env!("CARGO_BIN_EXE_connect-credential"))
        .args(["-s", &url, "-c", ca_file(), "--identity-token", token()])
        .args(["--", "/bin/sh", "-c", script])
}

#[test]
fn a_commands_stdin_stdout_and_end_are_its_own() {
    let server = open_connect().start();
    let outcome = script(&server, "cat; echo err >&2; exit 7")
        .stdin("through")
        .run();
    assert_eq!(
        (
            outcome.status,
            outcome.text().as_str(),
            outcome.stderr.as_str()
        ),
        (Some(7), "through", "err\n")
    );
    let outcome = script(&server, "kill -TERM $$").run();
    assert_eq!(outcome.signal, Some(15));
    // It is not left to ignore a reader that went away.
    let outcome = script(&server, "yes | head -1; exit 0").run();
    assert_eq!(
        (outcome.status, outcome.stderr.as_str()),
        (Some(0), ""),
        "{outcome:?}"
    );
}

#[test]
fn a_command_loses_the_provider_variable_that_was_used_and_keeps_the_others() {
    let spare = jwt(&github_claims("spare"));
    for (chooses, used, kept) in [
        ("GITLAB_CI", "CONNECT_ID_TOKEN", "OTHER_ID_TOKEN"),
        (
            "BITBUCKET_BUILD",
            "BITBUCKET_STEP_OIDC_TOKEN",
            "CONNECT_ID_TOKEN",
        ),
        ("CIRCLECI", "CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"),
    ] {
        let server = connect().start();
        let lines = environment_of_command(
            call(&["-s", &server.url(), "-c", ca_file()])
                .env(chooses, "true")
                .env(used, token())
                .env(kept, &spare),
        );
        let is_there = |name: &str| {
            lines
                .iter()
                .any(|line| line.starts_with(&format!("{name}=")))
        };
        assert!(!is_there(used) && is_there(kept), "{used}: {lines:#?}");
    }
}

#[test]
fn the_deadline_ends_where_a_command_starts() {
    let server = connect().start();
    let outcome = Run::new(env!("CARGO_BIN_EXE_connect-credential"))
        .args([
            "-s",
            &server.url(),
            "-c",
            ca_file(),
            "--identity-token",
            token(),
        ])
        .args([
            "--timeout",
            "2",
            "--",
            "/bin/sh",
            "-c",
            "sleep 2.5; echo done",
        ])
        .env("PATH", "/usr/bin:/bin")
        .run();
    assert_eq!(outcome.text(), "done\n", "{outcome:?}");
}

#[test]
fn a_commands_arguments_are_untouched() {
    let server = connect().start();
    let outcome = call_at(&server, &[])
        .args(&[
            "--",
            "/usr/bin/printf",
            "%s|",
            "--help",
            "-V",
            "a b",
            "--",
            "",
        ])
        .run();
    assert_eq!(outcome.text(), "--help|-V|a b|--||");
}

#[test]
fn a_command_that_cannot_be_run_is_told_before_anything_is_sent() {
    let server = Server::tls().start();
    let plain = file("not-executable", "x");
    let denied = folder("bin");
    std::fs::write(format!("{denied}/tool"), "#!/bin/sh\n").unwrap();
    let run = |command: &str, path: &str| {
        call_at(&server, &[])
            .args(&["--", command])
            .env("PATH", path)
            .spawn()
            .wait()
    };
    for (command, path, status) in [
        ("nonexistent-tool", "/usr/bin:/bin", 127),
        ("/nonexistent/tool", "", 127),
        (plain.as_str(), "", 126),
        ("/tmp", "", 126),
        ("tool", denied.as_str(), 126),
    ] {
        let outcome = run(command, path);
        assert_eq!(
            (outcome.status, outcome.text().as_str()),
            (Some(status), ""),
            "{outcome:?}"
        );
        assert!(
            outcome
                .stderr
                .starts_with("connect-credential: the command "),
            "{outcome:?}"
        );
    }
    assert_eq!(server.connections(), 0);
    let orphan = format!("{denied}/orphan");
    std::fs::write(&orphan, "#!/nonexistent/interpreter\n").unwrap();
    std::fs::set_permissions(&orphan, std::fs::Permissions::from_mode(0o755)).unwrap();
    let exchanging = connect().start();
    let outcome = call_at(&exchanging, &[])
        .args(&["--", &orphan])
        .spawn()
        .wait();
    assert_eq!(outcome.status, Some(127), "{outcome:?}");
    let tool = format!("{denied}/tool");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = connect().start();
    let found = call_at(&server, &[])
        .args(&["--", "tool"])
        .env("PATH", &denied)
        .run();
    assert_eq!(found.status, Some(0), "{found:?}");
}

#[test]
fn a_failure_before_a_command_writes_nothing_to_stdout() {
    let server = refusing("invalid_grant", "no").start();
    let outcome = call_at(&server, &[])
        .args(&["--", "echo", "ran"])
        .spawn()
        .wait();
    assert_eq!(
        (outcome.status, outcome.text().as_str()),
        (Some(4), ""),
        "{outcome:?}"
    );
    for args in [
        &["-s", "h", "--"][..],
        &["-s", "h", "--", ""],
        &["-s", "h", "-f", "key", "--", "true"],
        &["-s", "h", "get", "--", "true"],
        &["--nonsense", "--", "true"],
    ] {
        let outcome = call(args).spawn().wait();
        assert_eq!(
            (outcome.status, outcome.text().as_str()),
            (Some(2), ""),
            "{args:?}"
        );
    }
}

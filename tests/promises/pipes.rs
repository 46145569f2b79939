//! Signals, and streams that end or fail under the program.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::process::Run;
use crate::support::server::{Reply, Server, accept, get};
use crate::world::*;

/// A shell that runs the program with these redirections behind a good call.
fn redirected(server: &Server, redirections: &str) -> Run {
    let script = format!(
        "\"$0\" -s {} --cacert {} --identity-token-file {} {redirections}",
        server.url(),
        ca_file(),
        token_file()
    );
    Run::new("/bin/sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_connect-credential")])
        .env("PATH", "/usr/bin:/bin")
}

#[test]
fn a_signal_ends_it_as_it_ends_any_program_and_nothing_is_printed() {
    for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        for format in ["json", "env", "git", "key"] {
            let silent = Reply::json(200, issued()).silence_after(30);
            let server = answering(silent).start();
            let running = call_at(&server, &["-f", format]).spawn_with_usual_signals();
            while server.requests().len() < 2 {
                thread::sleep(Duration::from_millis(5));
            }
            running.kill(name);
            let outcome = running.wait();
            assert_eq!(
                (outcome.signal, outcome.text().as_str()),
                (Some(number), "")
            );
            // Steps may have been told, where they are asked for; a failure is not.
            assert!(!outcome.stderr.contains("hint: "), "{outcome:#?}");
            assert!(is_verbose() || outcome.stderr.is_empty(), "{outcome:#?}");
        }
    }
}

#[test]
fn a_signal_ends_it_before_any_reply_too() {
    let server = Server::tls().step(accept().stall_handshake(100)).start();
    let running = call_at(&server, &[]).spawn_with_usual_signals();
    while server.bytes_received() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    running.kill("TERM");
    let outcome = running.wait();
    assert_eq!((outcome.signal, outcome.text().as_str()), (Some(15), ""));
}

#[test]
fn a_signal_ends_it_while_it_waits_to_ask_again() {
    let busy = Reply::status(503).header("Retry-After", "10");
    let server = Server::tls().step(get(METADATA).reply(busy)).start();
    let running = call_at(&server, &[]).spawn_with_usual_signals();
    while server.requests().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    running.kill("INT");
    let outcome = running.wait();
    assert_eq!((outcome.signal, outcome.text().as_str()), (Some(2), ""));
}

#[test]
fn a_reader_that_goes_away_is_told_on_stderr() {
    let server = open_connect().start();
    for format in ["json", "key", "env", "git", "github"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_connect-credential"))
            .args(["-s", &server.url(), "--cacert", ca_file(), "-f", format])
            .args(["--identity-token-file", token_file()])
            .env_clear()
            .env("GITHUB_ENV", file("env", ""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
        assert_eq!(
            said,
            "connect-credential: stdout cannot be written: broken pipe\n"
        );
    }
}

#[test]
fn a_reader_of_stderr_that_goes_away_changes_nothing() {
    for (server, status) in [(connect(), 0), (refusing("invalid_grant", "no"), 4)] {
        let server = server.start();
        let mut child = Command::new(env!("CARGO_BIN_EXE_connect-credential"))
            .args(["-v", "-s", &server.url(), "--cacert", ca_file()])
            .args(["--identity-token-file", token_file()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer.get("api_key").is_some(), status == 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stderr_changes_nothing() {
    let server = refusing("invalid_grant", "no").start();
    let outcome = redirected(&server, "-v 2>/dev/full").run();
    assert_eq!(outcome.status, Some(4), "{outcome:#?}");
    assert_eq!(outcome.code(), "no_match");
}

/// A file or a connection that takes the place of a closed stream would get what goes there.
#[test]
fn closed_streams_are_nobodys() {
    let server = refusing("invalid_grant", "no").start();
    let outcome = redirected(&server, "-v <&- >&- 2>&-").run();
    assert_eq!(
        (outcome.status, outcome.text().as_str()),
        (Some(4), ""),
        "{outcome:#?}"
    );
    for request in server.requests() {
        assert!(!request.target.contains("connect-credential"));
    }
    let server = connect().start();
    let outcome = redirected(&server, "-v <&- 2>&-").run();
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    assert_eq!(outcome.json()["api_key"], KEY);
}

#[test]
fn a_closed_stdin_is_an_empty_request() {
    let server = Server::tls().start();
    let outcome = redirected(&server, "get <&-").run();
    assert_eq!(
        (outcome.status, outcome.code().as_str()),
        (Some(2), "bad_request")
    );
}

#[test]
fn a_request_that_nobody_finishes_leaves_nothing_behind() {
    let outcome = call(&["get", "--timeout", "0.5"])
        .stdin(crate::support::process::Stdin::BytesThenOpen(
            b"{\"version\":1,".to_vec(),
        ))
        .fails(5, "timeout");
    assert!(outcome.elapsed < Duration::from_secs(3), "{outcome:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_half_of_a_failures_document() {
    let server = refusing("invalid_grant", "no").start();
    let outcome = redirected(&server, ">/dev/full").run();
    assert_eq!(outcome.status, Some(4), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("no trusted publisher"),
        "{outcome:#?}"
    );
}

/// The program ignores SIGPIPE to tell a reader that went away; what it becomes must not.
#[cfg(target_os = "linux")]
#[test]
fn a_command_has_the_usual_signals() {
    let server = connect().start();
    let outcome = call_at(&server, &[])
        .args(&["--", "/bin/cat", "/proc/self/status"])
        .succeeds();
    let text = outcome.text();
    let ignored = text
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_eq!(ignored & (1 << (13 - 1)), 0, "SIGPIPE is ignored");
    let blocked = text
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .unwrap();
    assert_eq!(u64::from_str_radix(blocked.trim(), 16), Ok(0));
}

/// What strace tells of an exchange, of these system calls.
fn traced(calls: &str, args: &str) -> String {
    let server = open_connect()
        .route(get(USER).reply(Reply::json(200, json!({}))))
        .start();
    let trace = file("trace", "");
    let script = format!(
        "strace -f -qq -e trace={calls} -e write=none -o {trace} \"$0\" {args} \
         -s {} --cacert {} --identity-token-file {}",
        server.url(),
        ca_file(),
        token_file()
    );
    let outcome = Run::new("/bin/sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_connect-credential")])
        .env("PATH", std::env::var("PATH").unwrap())
        .env("GITHUB_ENV", file("github-env", ""))
        .run();
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    std::fs::read_to_string(trace).unwrap()
}

#[test]
fn an_answer_is_one_write() {
    if !is_installed("strace", "the writes of an answer") {
        return;
    }
    for format in [
        "json",
        "kubernetes",
        "aws",
        "git",
        "bazel",
        "key",
        "header",
        "env",
    ] {
        let trace = traced("write,writev", &format!("-f {format}"));
        let writes = trace
            .lines()
            .filter(|line| line.contains(" write(1, ") || line.contains(" writev(1, "));
        assert_eq!(writes.count(), 1, "{format}: {trace}");
    }
}

#[test]
fn nothing_is_written_to_disk() {
    if !is_installed("strace", "what is opened for writing") {
        return;
    }
    let changes = [
        "O_WRONLY", "O_RDWR", "O_CREAT", "mkdir", "rename", "link(", "linkat(", "trunc", "mknod",
    ];
    let changed = |args: &str| {
        let trace = traced("%file", args);
        assert!(trace.contains("O_RDONLY"), "{trace}");
        let lines = trace.lines().map(str::to_owned);
        let is_change = |line: &String| changes.iter().any(|change| line.contains(change));
        // What is looked up is not changed.
        let lines = lines.filter(|line| is_change(line) && !line.contains("readlink"));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(changed("-v --check"), [""; 0]);
    // The one exception, by which this test is seen to see.
    let variables = changed("-f github");
    assert_eq!(variables.len(), 1, "{variables:#?}");
    assert!(variables[0].contains("github-env"), "{variables:#?}");
}

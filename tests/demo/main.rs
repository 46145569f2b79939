//! The main job within a minute of cloning: a loopback Connect over TLS, a token of its own, and
//! the real exchange against it.

#![expect(clippy::print_stdout, reason = "a demonstration shows itself")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "it fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use connect_credential::{Clock, End, Invocation, run};
use serde_json::json;

use support::certs::Ca;
use support::jwt::{github_claims, jwt};
use support::server::{Reply, Server, get, post};

fn main() {
    let files = Files::new();
    let connect = connect(Reply::json(
        200,
        json!({"access_token": "Zq83hfkLmn20sQkxPqsA7c1f4a539f0e", "expires_in": 3600}),
    ));
    println!("A Connect server on loopback, and a token as GitHub Actions would give it.\n");
    show(&connect, &files, &[]);
    show(&connect, &files, &["-f", "key"]);
    show(&connect, &files, &["-f", "header"]);
    show(&connect, &files, &["-f", "env"]);
    show(&connect, &files, &["--check"]);

    println!("The same token at a Connect server that does not know it.\n");
    let refusing = self::connect(Reply::json(
        400,
        json!({"error": "invalid_grant", "error_description": "no service principal matches"}),
    ));
    show(&refusing, &files, &["-f", "key"]);
}

/// A Connect server that answers the exchange like this.
fn connect(answer: Reply) -> Server {
    let metadata = json!({
        "token_endpoint": "{origin}/__api__/v1/oauth/token",
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
    });
    Server::tls()
        .route(get("/.well-known/oauth-authorization-server").reply(Reply::json(200, metadata)))
        .route(post("/__api__/v1/oauth/token").reply(answer))
        .route(get("/__api__/v1/user").reply(Reply::json(200, json!({"username": "ada"}))))
        .start()
}

/// Runs the program in this process, and shows what a shell would have shown.
fn show(server: &Server, files: &Files, args: &[&str]) {
    let url = server.url();
    let options = [
        "-s",
        &url,
        "--cacert",
        "ca.pem",
        "--identity-token-file",
        "token.jwt",
    ];
    let line: Vec<&str> = options.iter().chain(args).copied().collect();
    println!("$ connect-credential {}", line.join(" "));

    let (stdout, stderr) = (Captured::default(), Captured::default());
    let end = run(Invocation {
        args: line.iter().map(|arg| files.real(arg).into()).collect(),
        env: Vec::new(),
        stdin: Box::new(io::empty()),
        stdin_is_terminal: false,
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        clock: Clock {
            instant: Instant::now,
            utc: SystemTime::now,
        },
        started: Instant::now(),
        seed: 0,
    });
    print!("{}{}", stdout.text(), stderr.text());
    match end {
        End::Exit(status) => println!("(exit status {status})\n"),
        end => println!("({end:?})\n"),
    }
}

/// The files that the command lines name, in a folder of their own until the demo ends.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let name = format!("connect-credential-demo-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), Ca::shared().pem()).unwrap();
        std::fs::write(folder.join("token.jwt"), jwt(&github_claims("connect"))).unwrap();
        Self(folder)
    }

    /// The argument, with the folder before a file's name.
    fn real(&self, arg: &str) -> String {
        match arg {
            "ca.pem" | "token.jwt" => self.0.join(arg).to_str().unwrap().to_owned(),
            other => other.to_owned(),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, as other temporary files are.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the program wrote.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

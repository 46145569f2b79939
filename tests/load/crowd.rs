//! Many runs at once against one server.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::{Value, json};

use crate::support::jwt::{github_claims, jwt};

use crate::support::server::{Reply, Request, Server};
use crate::world::*;

const RUNS: usize = 1_000;
const AT_ONCE: usize = 64;

/// The token of one run: like any other but for its subject.
fn token_of(run: usize) -> String {
    let mut claims = github_claims("connect");
    claims["sub"] = json!(format!("repo:acme/app-{run}:ref:refs/heads/main"));
    jwt(&claims)
}

/// The key that is issued for a token, which tells whose it is.
fn key_for(token: &str) -> String {
    let signature = token.rsplit('.').next().unwrap_or_default();
    format!("key-{}", &signature[..32])
}

fn exchanged(request: &Request) -> Reply {
    let key = key_for(&request.field("subject_token").unwrap_or_default());
    Reply::json(200, json!({"access_token": key, "expires_in": 3600}))
}

/// Runs them all, each with a token of its own, and returns those that did not print their key.
fn failed(server: &Server) -> Vec<Output> {
    let (next, url) = (AtomicUsize::new(0), server.url());
    let worker = || {
        let mut failed = Vec::new();
        loop {
            let run = next.fetch_add(1, Relaxed);
            if run >= RUNS {
                return failed;
            }
            let token = token_of(run);
            let output = Command::new(env!("CARGO_BIN_EXE_connect-credential"))
                .args(["-s", &url, "--cacert", ca_file(), "--timeout", "60"])
                .env_clear()
                .env("CONNECT_IDENTITY_TOKEN", &token)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let is_right = output.status.success() && output.stderr.is_empty();
            if !is_right || answer["api_key"] != key_for(&token) {
                failed.push(output);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    })
}

#[test]
fn a_thousand_runs_at_once_each_print_their_own_key() {
    let server = Server::tls()
        .route(discovery())
        .route_with("POST", TOKEN_ENDPOINT, exchanged)
        .start();
    assert_eq!(failed(&server), []);
    assert_eq!(server.connections(), RUNS);
    assert_eq!(server.requests().len(), 2 * RUNS);
}

#[test]
fn a_thousand_runs_succeed_where_one_request_in_three_is_turned_away() {
    let asked = AtomicUsize::new(0);
    let turned_away = AtomicUsize::new(0);
    let counts = std::sync::Arc::new((asked, turned_away));
    let counted = counts.clone();
    let server = Server::tls()
        .route_with("GET", METADATA, {
            let counts = counts.clone();
            move |_| turn_away(&counts).unwrap_or_else(|| Reply::json(200, metadata()))
        })
        .route_with("POST", TOKEN_ENDPOINT, move |request| {
            turn_away(&counts).unwrap_or_else(|| exchanged(request))
        })
        .start();
    assert_eq!(failed(&server), []);
    assert_eq!(counted.1.load(Relaxed), server.requests().len() / 3);
    assert_eq!(server.requests().len(), 2 * RUNS + counted.1.load(Relaxed));
}

/// Every third request is told to come again.
fn turn_away((asked, turned_away): &(AtomicUsize, AtomicUsize)) -> Option<Reply> {
    let is_third = asked.fetch_add(1, Relaxed) % 3 == 2;
    is_third.then(|| {
        turned_away.fetch_add(1, Relaxed);
        Reply::status(503)
    })
}

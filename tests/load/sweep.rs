//! The conversation broken after every byte of it, once by a reset and once by silence.
//!
//! `SWEEP=all cargo test sweep` takes every byte; otherwise one of many is taken. The count is
//! printed either way.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::json;

use crate::support::server::{Reply, Server, Step, accept, get, post};
use crate::world::*;

/// How many bytes apart the breaks of a sample are: a prime, so that they fall anywhere.
const SAMPLE: usize = 31;
/// How many runs go on at once; most of them wait.
const AT_ONCE: usize = 8;
/// The parts behind which there is another on the same connection.
const KEPT: [usize; 2] = [1, 2];
/// More than the bytes of a server's first flight.
const FLIGHT: usize = 1_200;

/// One reply of the conversation: how it is asked for, and what it is.
type Part = (fn(Reply) -> Step, Reply);

/// The conversation of a run with `--check`, in the order of its parts.
fn conversation() -> Vec<Part> {
    let metadata = json!({"token_endpoint": TOKEN_ENDPOINT});
    vec![
        (
            |reply| get("/token?audience=connect").reply(reply),
            Reply::json(200, json!({"value": token()})),
        ),
        (
            |reply| get(METADATA).reply(reply),
            Reply::json(200, metadata),
        ),
        (
            |reply| post(TOKEN_ENDPOINT).reply(reply),
            Reply::json(200, issued()),
        ),
        (
            |reply| get(USER).reply(reply),
            Reply::json(200, json!({"username": "ada"})),
        ),
    ]
}

/// A break: of which part, after how many bytes, and whether by silence.
#[derive(Clone, Copy, Debug)]
enum Break {
    Handshake {
        after: usize,
        silent: bool,
    },
    Reply {
        part: usize,
        after: usize,
        silent: bool,
    },
}

impl Break {
    fn all() -> Vec<Break> {
        let sizes = conversation().into_iter().map(|(_, reply)| reply.size());
        let both = |after| [false, true].map(|silent| (after, silent));
        let handshakes = (0..FLIGHT).flat_map(both);
        let handshakes = handshakes.map(|(after, silent)| Break::Handshake { after, silent });
        let replies = sizes.enumerate().flat_map(|(part, size)| {
            let breaks = (0..=size).flat_map(both);
            breaks.map(move |(after, silent)| Break::Reply {
                part,
                after,
                silent,
            })
        });
        handshakes.chain(replies).collect()
    }

    fn is_silent(self) -> bool {
        match self {
            Break::Handshake { silent, .. } | Break::Reply { silent, .. } => silent,
        }
    }

    /// Whether the break comes too late to hurt, or is mended by a second connection.
    fn is_survived(self) -> bool {
        match self {
            Break::Handshake { silent, .. } => !silent,
            Break::Reply {
                part,
                after,
                silent,
            } => {
                let is_whole = after >= conversation()[part].1.size();
                // A connection that falls silent behind a reply is kept, and tells at the next.
                is_whole && !(silent && KEPT.contains(&part))
            }
        }
    }

    /// Runs into it, and ends with the key or with a clean error.
    fn run(self) {
        let server = Server::tls();
        let mut server = match self {
            Break::Handshake {
                after,
                silent: true,
            } => server.step(accept().stall_handshake(after)),
            Break::Handshake {
                after,
                silent: false,
            } => server.step(accept().cut_handshake(after)),
            Break::Reply { .. } => server,
        };
        for (index, (ask, reply)) in conversation().into_iter().enumerate() {
            let reply = match self {
                Break::Reply {
                    part,
                    after,
                    silent: true,
                } if part == index => reply.silence_after(after),
                Break::Reply {
                    part,
                    after,
                    silent: false,
                } if part == index => reply.reset_after(after),
                _ => reply,
            };
            server = server.route(ask(reply));
        }
        let server = server.start();
        let url = server.url();
        // Silence costs the whole deadline, and a reset some waits between the tries.
        let timeout = if self.is_silent() { "0.5" } else { "10" };
        let call = call(&["-s", &url, "--check", "--timeout", timeout])
            .env("SSL_CERT_FILE", ca_file())
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{url}/token"))
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token-0123456789");
        let outcome = call.run();
        let is_survived = self.is_survived() && outcome.status == Some(0);
        if is_survived {
            assert_eq!(outcome.json()["api_key"], KEY, "{self:?}");
            return;
        }
        let code = outcome.code();
        let expected = match self {
            _ if self.is_survived() => panic!("{self:?} {outcome:#?}"),
            _ if self.is_silent() => "timeout",
            Break::Reply { part: 0, .. } => "identity_provider_failed",
            _ => "unreachable",
        };
        assert_eq!(code, expected, "{self:?} {outcome:#?}");
    }
}

#[test]
fn wherever_the_conversation_breaks_the_run_ends_with_the_key_or_one_clean_error() {
    let is_whole = std::env::var("SWEEP").is_ok_and(|sweep| sweep == "all");
    let all = Break::all();
    let step = if is_whole { 1 } else { SAMPLE };
    let chosen: Vec<Break> = all.iter().copied().step_by(step).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(broken) = chosen.get(next.fetch_add(1, Relaxed)) {
                    if let Err(why) = std::panic::catch_unwind(|| broken.run()) {
                        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                        failed.lock().unwrap().push(format!("{broken:?}: {why}"));
                    }
                }
            });
        }
    });
    let line = format!("sweep: {} of {} breaks\n", chosen.len(), all.len());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

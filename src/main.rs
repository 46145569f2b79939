//! The process: the only place that touches arguments, environment, stdio and clocks.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use connect_credential::{Clock, Invocation, run};

fn main() -> ExitCode {
    let started = Instant::now();
    ExitCode::from(run(Invocation {
        args: std::env::args_os().skip(1).collect(),
        env: std::env::vars_os().collect(),
        stdin: Box::new(io::stdin()),
        stdin_is_terminal: io::stdin().is_terminal(),
        stdout: Box::new(io::stdout()),
        stderr: Box::new(io::stderr()),
        clock: Clock {
            instant: Instant::now,
            utc: SystemTime::now,
        },
        started,
        // The standard library's own randomness, which it has from the system.
        seed: RandomState::new().hash_one(0),
    }))
}

//! The process: the only place that touches arguments, environment, stdio and clocks.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use connect_credential::{Clock, End, Invocation, become_command, run};

fn main() -> ExitCode {
    let started = Instant::now();
    let end = run(Invocation {
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
    });
    match end {
        End::Exit(status) => ExitCode::from(status),
        End::Become(command) => not_started(&become_command(*command)),
    }
}

fn not_started(error: &io::Error) -> ExitCode {
    // The exit status tells it where stderr cannot.
    let _ = writeln!(
        io::stderr(),
        "connect-credential: the command cannot be executed: {}",
        error.kind()
    );
    // As `env` has it: a script whose interpreter is missing is not found.
    let status = if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    ExitCode::from(status)
}

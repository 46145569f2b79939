//! What the program costs, beside the least that its work can cost and beside other ways to do it.
//!
//! `cargo bench` measures, and prints Markdown. `cargo bench -- check` holds what does not depend
//! on the clock to its limits, and fails where one is passed; `cargo bench -- record` makes the
//! instructions that it counts the limits.

#![allow(clippy::print_stdout, reason = "it shows what it measured")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it fails by panicking"
)]
#![allow(
    unreachable_pub,
    reason = "what the modules share is public among them"
)]

mod figures;
mod jobs;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the promises use all of it")]
#[path = "../promises/world.rs"]
mod world;

use std::process::{Command, ExitCode};
use std::time::Duration;

use figures::{calls, instructions, peak_memory, traffic};
use jobs::{Job, Trust, World};
use world::is_on_path;

const ROUNDS: usize = 200;
const WARM_UP: usize = 3;

/// The instructions that each kind of run may take, counted with what the file's head says.
const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions.txt");
/// What a run may take over its limit: more than counts vary by, less than a mistake costs.
const MARGIN_PERCENT: u64 = 5;
/// The files that a run with the system's trust may open, of which the C library has its share.
const FILES_LIMIT: u64 = 12;

fn main() -> ExitCode {
    let is_asked = |word: &str| std::env::args().any(|arg| arg == word);
    let world = World::new();
    if is_asked("record") {
        record(&world);
    } else if is_asked("check") {
        return check(&world);
    } else {
        report(&world);
    }
    ExitCode::SUCCESS
}

/// The runs whose instructions are held to limits: to an address, as looking up a name is the C
/// library's work, and with certificates that are the same everywhere.
fn counted(world: &World) -> [(&'static str, u64); 3] {
    let url = world.server.url_for("127.0.0.1");
    // The middle of three, because what arrives together differs from run to run.
    let count = |job: Job| {
        let mut counts = [(); 3].map(|()| instructions(&job));
        counts.sort_unstable();
        counts[1]
    };
    [
        ("cacert", count(world.exchange(&url, Trust::OneCa))),
        ("system", count(world.exchange(&url, Trust::MadeUp))),
        ("version", count(world.version())),
    ]
}

fn record(world: &World) {
    let mut text = format!(
        "# Written by `cargo bench -- record`, with {}, {}, {}.\n",
        said(Command::new("rustc").arg("--version")),
        said(Command::new("valgrind").arg("--version")),
        std::env::consts::ARCH
    );
    for (name, count) in counted(world) {
        text += &format!("{name} {count}\n");
    }
    print!("{text}");
    std::fs::write(LIMITS, text).unwrap();
}

fn check(world: &World) -> ExitCode {
    let mut passed = true;
    let mut hold = |what: &str, found: u64, limit: u64| {
        let verdict = if found > limit { "OVER" } else { "ok" };
        println!("{verdict} {what}: {found}, at most {limit}");
        passed &= found <= limit;
    };
    let limits = std::fs::read_to_string(LIMITS).unwrap();
    for (name, count) in counted(world) {
        let limit = limits
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let limit: u64 = limit.expect("a limit").parse().unwrap();
        let what = format!("instructions, {name}");
        hold(&what, count, limit + limit * MARGIN_PERCENT / 100);
    }
    if is_on_path("strace") {
        for (host, threads_limit) in [("127.0.0.1", 0), ("localhost", 1)] {
            let job = world.exchange(&world.server.url_for(host), Trust::MadeUp);
            let [files, threads] = calls(&job).map(|count| count as u64);
            hold(&format!("files opened, {host}"), files, FILES_LIMIT);
            hold(&format!("threads started, {host}"), threads, threads_limit);
        }
    } else {
        println!("not checked: files and threads, because strace is not installed");
    }
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A job that is timed, in every so many rounds.
struct Candidate {
    name: String,
    job: Job,
    every: usize,
    times: Vec<Duration>,
}

fn report(world: &World) {
    println!(
        "Measured on {}: whole processes, which take turns,",
        machine()
    );
    println!("against a TLS 1.3 server on loopback. The system's trust is its bundle and the");
    println!("test's CA, named by SSL_CERT_FILE.\n");
    let mut missing = Vec::new();
    if !world.has_bundle {
        missing
            .push("the system's own certificates: there are none, so made-up ones served".into());
    }
    times(world, &mut missing);
    println!();
    costs(world, &mut missing);
    println!();
    for missing in missing {
        println!("not measured: {missing}");
    }
}

/// Whole processes, from the start to the end, that take turns.
fn times(world: &World, missing: &mut Vec<String>) {
    let url = world.server.url();
    let mut candidates = Vec::new();
    let mut add = |name: &str, every, job| match job {
        Ok(job) => candidates.push(Candidate {
            name: name.into(),
            job,
            every,
            times: Vec::new(),
        }),
        Err(absent) => missing.push(format!("{name}: {absent} is not installed")),
    };
    add(
        "floor: `rustls` and two fixed requests",
        1,
        Ok(world.floor(&url)),
    );
    let cacert = world.exchange(&url, Trust::OneCa);
    add("`connect-credential --cacert`", 1, Ok(cacert));
    let system = world.exchange(&url, Trust::System);
    add("`connect-credential`, the system's trust", 1, Ok(system));
    add("`curl` and `jq`", 5, world.curl_and_jq());
    add("`rsconnect login`", 25, world.rsconnect());
    add("an empty Rust program", 1, Ok(world.empty()));
    add("`connect-credential --version`", 1, Ok(world.version()));

    for candidate in &mut candidates {
        for _ in 0..WARM_UP {
            candidate.job.run();
        }
    }
    for round in 0..ROUNDS {
        for candidate in &mut candidates {
            if round % candidate.every == 0 {
                candidate.times.push(candidate.job.run());
            }
        }
    }

    println!("| wall time | median | middle half | ratio |\n|---|---|---|---|");
    let mut base = 0.0;
    for mut candidate in candidates {
        candidate.times.sort_unstable();
        let [low, median, high] = [1, 2, 3].map(|quarter| {
            candidate.times[candidate.times.len() * quarter / 4].as_secs_f64() * 1_000.0
        });
        if candidate.name.contains("floor") || candidate.name.contains("empty") {
            base = median;
        }
        println!(
            "| {} | {median:.2} ms | {low:.2} to {high:.2} | {:.2} |",
            candidate.name,
            median / base
        );
    }
}

/// What else a run costs, by column: the floor, `--cacert`, the system's trust, `--version`.
fn costs(world: &World, missing: &mut Vec<String>) {
    let exchanges = |url: &str| {
        [
            world.floor(url),
            world.exchange(url, Trust::OneCa),
            world.exchange(url, Trust::System),
        ]
    };
    let size = std::fs::metadata(&world.program).unwrap().len();
    println!("The binary has {size} bytes.\n");
    println!("| one run | floor | `--cacert` | the system's trust | `--version` |");
    println!("|---|---|---|---|---|");
    let row = |what: &str, cells: Vec<String>| println!("| {what} | {} |", cells.join(" | "));

    let (name, address) = (world.server.url(), world.server.url_for("127.0.0.1"));
    let at = |url| exchanges(url).into_iter().chain([world.version()]);
    let kib = |kib: Option<u64>| kib.map_or("unknown".into(), |kib| format!("{kib} KiB"));
    let peaks = at(&name).map(|mut job| kib(peak_memory(&mut job)));
    row("peak memory", peaks.collect());

    let traffic: Vec<_> = (0..3)
        .map(|column| traffic(|url| exchanges(url).into_iter().nth(column).unwrap()))
        .chain([[0; 3]])
        .collect();
    let counts = [
        "bytes sent",
        "bytes received",
        "round trips, TCP's included",
    ];
    for (index, what) in counts.iter().enumerate() {
        row(
            what,
            traffic.iter().map(|all| all[index].to_string()).collect(),
        );
    }

    if is_on_path("strace") {
        for (url, to) in [(&name, "a name"), (&address, "an address")] {
            let calls: Vec<_> = at(url).map(|job| calls(&job)).collect();
            for (index, what) in ["files opened", "threads started"].iter().enumerate() {
                let cells = calls.iter().map(|all| all[index].to_string());
                row(&format!("{what}, to {to}"), cells.collect());
            }
        }
    } else {
        missing.push("files and threads: strace is not installed".into());
    }
    if is_on_path("valgrind") {
        let counts = at(&address).map(|job| instructions(&job).to_string());
        row("instructions, to an address", counts.collect());
    } else {
        missing.push("instructions: valgrind is not installed".into());
    }
}

/// The machine in general terms.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    format!("{cores} cores, {system}, {}", std::env::consts::ARCH)
}

/// The first line of what a command says.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

//! Knows how to run a program in an empty environment and to end it whatever it does.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// How long output may go on after the program ended: a child of it may hold the pipes.
const AFTER_EXIT: Duration = Duration::from_secs(2);

/// What the program finds on its standard input.
#[derive(Clone, Debug)]
pub enum Stdin {
    /// A pipe that stays open and empty: reading it would hang.
    Silent,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then nothing, and no end.
    BytesThenOpen(Vec<u8>),
}

impl Stdin {
    fn into_parts(self) -> (Vec<u8>, bool) {
        match self {
            Stdin::Silent => (Vec::new(), true),
            Stdin::Bytes(bytes) => (bytes, false),
            Stdin::BytesThenOpen(bytes) => (bytes, true),
        }
    }
}

/// Bytes, then the end: what a test means that says nothing else.
impl<T: AsRef<[u8]>> From<T> for Stdin {
    fn from(bytes: T) -> Stdin {
        Stdin::Bytes(bytes.as_ref().to_vec())
    }
}

/// A program about to run, with no environment but what the test gives it.
#[derive(Debug)]
pub struct Run {
    command: Command,
    stdin: Stdin,
    limit: Duration,
}

impl Run {
    pub fn new(program: impl Into<PathBuf>) -> Run {
        let mut command = Command::new(program.into());
        command.env_clear();
        Run {
            command,
            stdin: Stdin::Silent,
            limit: LIMIT,
        }
    }

    pub fn arg(self, arg: impl AsRef<str>) -> Run {
        self.args([arg])
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<str>>) -> Run {
        for arg in args {
            self.command.arg(arg.as_ref());
        }
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Run {
        self.command.env(name, value.as_ref());
        self
    }

    /// Gives it the usual signals, whatever they are here: a shell's background job ignores some, and
    /// so does what `nohup` starts.
    #[cfg(target_os = "linux")]
    pub fn usual_signals(self) -> Run {
        let mut command = Command::new("/usr/bin/env");
        let variables = self.command.get_envs();
        command
            .arg("--default-signal")
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .env_clear()
            .envs(variables.filter_map(|(name, value)| Some((name, value?))));
        Run { command, ..self }
    }

    /// Elsewhere they are taken as they are.
    #[cfg(not(target_os = "linux"))]
    pub fn usual_signals(self) -> Run {
        self
    }

    /// Runs it in this directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Run {
        self.command.current_dir(dir.into());
        self
    }

    /// What it reads; [`Stdin::Silent`] unless told.
    pub fn stdin(self, stdin: impl Into<Stdin>) -> Run {
        Run {
            stdin: stdin.into(),
            ..self
        }
    }

    /// Kills it after this long; 20 seconds unless told.
    pub fn limit(self, limit: Duration) -> Run {
        Run { limit, ..self }
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Starts it, for a test that acts while it runs.
    pub fn spawn(mut self) -> Running {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        own_group(&mut self.command);
        let started = Instant::now();
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} does not start: {error}", self.command));
        let stdin = feed(child.stdin.take().expect("piped"), self.stdin);
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        let child = Arc::new(Mutex::new(child));
        let (report, outcome) = channel();
        let watched = Arc::clone(&child);
        thread::spawn(move || {
            let end = watch(&watched, started, self.limit);
            drop(stdin);
            let deadline = Instant::now() + AFTER_EXIT;
            // The test may have stopped caring.
            let _ = report.send(Outcome {
                status: end.status.code(),
                signal: signal_of(end.status),
                stdout: stdout.finish(deadline),
                stderr: String::from_utf8_lossy(&stderr.finish(deadline)).into_owned(),
                elapsed: end.elapsed,
                peak_memory: end.peak_memory,
                killed: end.killed,
            });
        });
        Running { child, outcome }
    }
}

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Arc<Mutex<Child>>,
    outcome: Receiver<Outcome>,
}

impl Running {
    pub fn id(&self) -> u32 {
        hold(&self.child).id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        matches!(hold(&self.child).try_wait(), Ok(None))
    }

    /// Sends it a signal by name, such as `TERM`, unless it has ended.
    pub fn kill(&self, signal: &str) {
        signal_child(&mut hold(&self.child), signal, false);
    }

    pub fn wait(self) -> Outcome {
        self.outcome.recv().expect("the watching thread reports")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill_group(&mut hold(&self.child));
    }
}

/// How a program ended, and what it said.
#[derive(Clone)]
pub struct Outcome {
    /// The exit status, if it exited.
    pub status: Option<i32>,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub elapsed: Duration,
    /// The most memory it held at once, in bytes, where the system tells (Linux).
    pub peak_memory: Option<u64>,
    /// Whether it ran into the limit.
    pub killed: bool,
}

/// The output as text, for the messages of tests.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "status {:?}, signal {:?}, after {:?}, peak memory {:?}, killed {}",
            self.status, self.signal, self.elapsed, self.peak_memory, self.killed
        )?;
        write!(
            f,
            "--- stdout\n{}\n--- stderr\n{}",
            self.text(),
            self.stderr
        )
    }
}

impl Outcome {
    /// Its output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its output, which is one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("the output is not JSON: {error}\n{self:#?}"))
    }

    /// The `error.code` of its JSON output.
    pub fn code(&self) -> String {
        match self.json().pointer("/error/code").and_then(Value::as_str) {
            Some(code) => code.to_owned(),
            None => panic!(
                "the output has no error.code: {}\n{}",
                self.text(),
                self.stderr
            ),
        }
    }
}

struct End {
    status: ExitStatus,
    elapsed: Duration,
    peak_memory: Option<u64>,
    killed: bool,
}

/// Waits by asking again, because waiting would keep others from signalling the child.
fn watch(child: &Mutex<Child>, started: Instant, limit: Duration) -> End {
    let (mut peak_memory, mut killed) = (None, false);
    loop {
        let mut child = hold(child);
        peak_memory = peak_memory_of(child.id()).max(peak_memory);
        if let Some(status) = child
            .try_wait()
            .expect("a child can be asked for its status")
        {
            return End {
                status,
                elapsed: started.elapsed(),
                peak_memory,
                killed,
            };
        }
        if !killed && started.elapsed() >= limit {
            killed = true;
            kill_group(&mut child);
        }
        drop(child);
        thread::sleep(POLL);
    }
}

fn hold(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the program and what it started.
fn kill_group(child: &mut Child) {
    signal_child(child, "KILL", true);
    // Also where there is no such tool as `kill`.
    let _ = child.kill();
}

/// A child that was not waited for keeps its id, so the signal cannot reach another process.
fn signal_child(child: &mut Child, signal: &str, group: bool) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let mut kill = Command::new("/bin/kill");
    kill.arg(format!("-{signal}"));
    if group {
        // Without the dashes some versions take the group's first digit for all of it.
        kill.arg("--").arg(format!("-{}", child.id()));
    } else {
        kill.arg(child.id().to_string());
    }
    let _ = kill.stderr(Stdio::null()).status();
}

/// Writes the input and returns what keeps the pipe open, if it should stay so.
fn feed(mut pipe: ChildStdin, stdin: Stdin) -> Receiver<ChildStdin> {
    let (keep, kept) = channel();
    let (bytes, stays_open) = stdin.into_parts();
    // A thread, because a program that does not read blocks its writer.
    thread::spawn(move || {
        let _ = pipe.write_all(&bytes);
        if stays_open {
            let _ = keep.send(pipe);
        }
    });
    kept
}

/// One output of the program, as far as it was read.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    done: Receiver<()>,
}

fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (end, done) = channel::<()>();
    let read = Arc::clone(&bytes);
    thread::spawn(move || {
        // Dropped at the end, which is what `finish` waits for.
        let _end = end;
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            read.lock()
                .expect("only appended to")
                .extend_from_slice(&buffer[..count]);
        }
    });
    Collected { bytes, done }
}

impl Collected {
    fn finish(self, deadline: Instant) -> Vec<u8> {
        let _ = self
            .done
            .recv_timeout(deadline.saturating_duration_since(Instant::now()));
        std::mem::take(&mut self.bytes.lock().expect("only appended to"))
    }
}

/// Linux keeps the peak; elsewhere there is no such file.
fn peak_memory_of(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn own_group(_: &mut Command) {}

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

//! What a job costs besides time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::jobs::{Job, connect};
use crate::world::file;

/// The instructions of a job, by callgrind.
pub fn instructions(job: &Job) -> u64 {
    let options = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let report = job.under("valgrind", &options);
    let (_, count) = report.split_once("Collected :").unwrap();
    count.split_whitespace().next().unwrap().parse().unwrap()
}

/// The files that a job opens, shared libraries among them, and the threads that it starts.
pub fn calls(job: &Job) -> [usize; 2] {
    let log = file("strace.log", "");
    let traced = "trace=openat,clone,?clone3";
    job.under("strace", &["-f", "-o", &log, "-e", traced]);
    let log = std::fs::read_to_string(log).unwrap();
    // A call that another thread interrupts has its result in a second line.
    let succeeded = |line: &&str| {
        let result = line.rsplit_once(" = ");
        result.is_some_and(|(_, result)| result.starts_with(|c: char| c.is_ascii_digit()))
    };
    ["openat", "clone"].map(|name| {
        let lines = log.lines().filter(succeeded);
        lines.filter(|line| line.contains(name)).count()
    })
}

/// The most memory that a job held, in KiB, where the system tells (Linux). Its stdout is a full
/// pipe, so that it stops at its last step, where there is time to look. What `wait4` reports
/// would be no less than the memory of this program.
pub fn peak_memory(job: &mut Job) -> Option<u64> {
    let (reader, mut writer) = io::pipe().unwrap();
    let stdout = writer.try_clone().unwrap();
    let filler = thread::spawn(move || while writer.write(&[0; 4096]).is_ok() {});
    thread::sleep(Duration::from_millis(100));
    let mut child = job.command().stdout(stdout).spawn().unwrap();
    thread::sleep(Duration::from_secs(1));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let still_runs = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    drop(reader);
    filler.join().unwrap();
    assert!(still_runs, "it ended before it wrote the key");
    let line = status.ok()?;
    let line = line.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// How long a relay holds what the server sends: until its flight is whole, and all that the client
/// sends without waiting for it has left.
const HOLD: Duration = Duration::from_millis(50);

/// The bytes that a job sends and receives over its one new connection, TLS and all, and the round
/// trips: TCP's, and one for each time that the server's bytes arrive after the client's have left.
pub fn traffic(job: impl FnOnce(&str) -> Job) -> [usize; 3] {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", relay.local_addr().unwrap().port());
    let server = connect(&url).start();
    let address = server.address();
    let counted = thread::spawn(move || count(&relay, address));
    job(&url).run();
    counted.join().unwrap()
}

fn count(relay: &TcpListener, address: SocketAddr) -> [usize; 3] {
    let client = relay.accept().unwrap().0;
    let server = TcpStream::connect(address).unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (asked, left) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut round_trips = 1;
    thread::scope(|scope| {
        let up = scope.spawn(|| {
            let sent = pass(&client, &server, || asked.store(true, SeqCst));
            left.store(true, SeqCst);
            let _ = server.shutdown(Shutdown::Write);
            sent
        });
        let received = pass(&server, &client, || {
            thread::sleep(HOLD);
            // A client that has said its last word waits for nothing.
            let waited = asked.swap(false, SeqCst) && !left.load(SeqCst);
            round_trips += usize::from(waited);
        });
        [up.join().unwrap(), received, round_trips]
    })
}

/// Passes on what comes until it ends, and returns how many bytes that was.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut before_each: impl FnMut()) -> usize {
    let mut buffer = [0; 64 * 1024];
    let mut total = 0;
    while let Ok(1..) = from.peek(&mut buffer) {
        before_each();
        let Ok(count) = from.read(&mut buffer) else {
            break;
        };
        total += count;
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    total
}

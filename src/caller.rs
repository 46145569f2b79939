//! What a run takes from its caller and gives back: stdin, environment, clocks; stdout and stderr.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Deadline};
use crate::environment::Environment;
use crate::error::{Code, Error};
use crate::http::{Http, Trust};
use crate::input::Patient;
use crate::proxy::Proxies;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::words::{Redactor, shown};

/// Where the steps are told, with `--verbose`.
pub(crate) type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// The secrets of the run so far, which the log keeps out of the steps: a server may put one into
/// a URL that it has the program ask.
pub(crate) type Secrets = Arc<Mutex<Redactor>>;

/// Standard error, which the log shares with whoever tells a failure. The failure has the last
/// word: it takes the stream away from a thread that is left behind and still tells its steps.
pub(crate) type Stderr = Arc<Mutex<Option<Box<dyn Write + Send>>>>;

/// What a run takes from its caller.
pub(crate) struct Caller {
    pub(crate) stdin: Option<Box<dyn Read + Send>>,
    pub(crate) stdin_is_terminal: bool,
    pub(crate) env: Environment,
    pub(crate) clock: Clock,
    pub(crate) started: Instant,
    pub(crate) seed: u64,
    pub(crate) log: Log,
    pub(crate) secrets: Secrets,
}

impl Caller {
    /// Keeps a secret out of the steps from here on.
    pub(crate) fn learn(&self, secret: &Secret) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.add(secret);
    }

    pub(crate) fn deadline(&self, timeout: Duration) -> Deadline {
        Deadline::new(self.clock, self.started, timeout)
    }

    /// Stdin, to be read at most until the deadline.
    pub(crate) fn stdin(&mut self, deadline: Deadline) -> Result<Patient, Error> {
        let unreadable = || Error::usage("stdin cannot be read");
        let stdin = self.stdin.take().ok_or_else(unreadable)?;
        Patient::new(move || Ok(stdin), deadline).map_err(|_| unreadable())
    }

    /// A client for the Connect server, with the trust that was asked for.
    pub(crate) fn http(&self, settings: &Settings, deadline: Deadline) -> Result<Http, Error> {
        let trust = match (&settings.cacert, settings.insecure) {
            (_, true) => Trust::Nothing,
            (Some(file), false) => Trust::from_file(file, deadline)?,
            (None, false) => Trust::system(&self.env),
        };
        Ok(self.client(settings.proxies.clone(), trust, deadline))
    }

    /// A client for an identity provider: always with the system's trust.
    pub(crate) fn provider_http(&self, proxies: Proxies, deadline: Deadline) -> Http {
        self.client(proxies, Trust::system(&self.env), deadline)
    }

    fn client(&self, proxies: Proxies, trust: Trust, deadline: Deadline) -> Http {
        Http::new(deadline, proxies, trust, self.seed, self.log.clone())
    }
}

/// One write, flushed.
///
/// # Errors
/// `output`.
pub(crate) fn print(stdout: &mut dyn Write, bytes: &[u8]) -> Result<(), Error> {
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| unwritable("stdout", &error))
}

/// Appends lines to a file in one write, after a line feed if its last line has none.
///
/// # Errors
/// `output`.
pub(crate) fn append(path: &Path, lines: &str) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        let separator = if last == *b"\n" { "" } else { "\n" };
        file.write_all(format!("{separator}{lines}").as_bytes())
    };
    write().map_err(|error| unwritable(&shown(path), &error))
}

fn unwritable(name: &str, error: &std::io::Error) -> Error {
    Error::new(
        Code::Output,
        format!("{name} cannot be written: {}", error.kind()),
    )
}

/// The lines of a failure. Where even that is impossible, the exit status is left to speak.
pub(crate) fn tell(stderr: &Stderr, error: &Error) {
    let mut lines = format!("connect-credential: {error}\n");
    for hint in &error.hints {
        lines.push_str(&format!("hint: {hint}\n"));
    }
    let stderr = stderr.lock().unwrap_or_else(PoisonError::into_inner).take();
    let _ = stderr.map(|mut stderr| stderr.write_all(lines.as_bytes()));
}

/// Tells the steps on stderr, or nobody.
pub(crate) fn logger(verbose: bool, stderr: Stderr, secrets: Secrets) -> Log {
    if !verbose {
        return Arc::new(|_| {});
    }
    Arc::new(move |step| {
        let secrets = secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let step = secrets.quote(step);
        let mut stderr = stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stderr) = stderr.as_mut() {
            let _ = stderr.write_all(format!("connect-credential: {step}\n").as_bytes());
        }
    })
}

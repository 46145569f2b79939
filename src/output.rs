//! What goes out: the answer, the failure, the steps of `--verbose`, and the variables of
//! `-f github`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Code, Error};
use crate::words::{Redactor, shown};

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

fn unwritable(name: &str, error: &io::Error) -> Error {
    let message = format!("{name} cannot be written: {}", error.kind());
    Error::new(Code::Output, message)
}

/// Standard error, which the failure shares with the steps. The failure has the last word: it
/// takes the stream away from a thread that is left behind and still tells its steps.
#[derive(Clone)]
pub(crate) struct Stderr(Arc<Mutex<Option<Box<dyn Write + Send>>>>);

impl Stderr {
    pub(crate) fn new(stream: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    /// The lines of a failure. Where even that is impossible, the exit status is left to speak.
    pub(crate) fn fail(&self, error: &Error) {
        let mut lines = format!("connect-credential: {error}\n");
        for hint in &error.hints {
            lines.push_str(&format!("hint: {hint}\n"));
        }
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = stream.map(|mut stream| stream.write_all(lines.as_bytes()));
    }

    fn step(&self, step: &str) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = stream.as_mut() {
            let _ = stream.write_all(format!("connect-credential: {step}\n").as_bytes());
        }
    }
}

/// Tells the steps on stderr with `--verbose`, else nobody. What a server has the program ask may
/// hold a secret, so each step is quoted.
#[derive(Clone)]
pub(crate) struct Log(Option<(Stderr, Redactor)>);

impl Log {
    pub(crate) fn new(verbose: bool, stderr: &Stderr, redactor: &Redactor) -> Self {
        Self(verbose.then(|| (stderr.clone(), redactor.clone())))
    }

    pub(crate) fn tell(&self, step: fmt::Arguments) {
        if let Some((stderr, redactor)) = &self.0 {
            stderr.step(&redactor.quote(&step.to_string()));
        }
    }
}

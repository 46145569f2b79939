//! Bytes from files and pipes: bounded, and never past the deadline.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::error::{Code, Error};

/// Why a file or pipe could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    Io(io::ErrorKind),
    Directory,
    TooLong { limit: usize },
    Deadline,
}

impl Unread {
    /// The error, of a code of the caller's but for the deadline, behind the name of the input.
    pub(crate) fn into_error(self, code: Code, name: String) -> Error {
        match self {
            Self::Io(kind) => Error::new(code, format!("{name} cannot be read: {kind}")),
            Self::Directory => {
                Error::new(code, format!("{name} cannot be read: it is a directory"))
            }
            Self::TooLong { limit } => {
                Error::new(code, format!("{name} is longer than {limit} bytes"))
            }
            Self::Deadline => {
                let message = format!("the deadline passed while waiting for {name}");
                Error::new(Code::Timeout, message)
            }
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::IsADirectory => Self::Directory,
            io::ErrorKind::TimedOut => Self::Deadline,
            kind => Self::Io(kind),
        }
    }
}

/// All of a file, at most `limit` bytes. What is not a regular file (a FIFO, as a shell's `<(...)`
/// is, or a device) may block in `open` already, so it is read on a thread.
pub(crate) fn read_file(path: &Path, limit: usize, deadline: Deadline) -> Result<Vec<u8>, Unread> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        return Err(Unread::Directory);
    }
    if about.is_file() {
        let room = usize::try_from(about.len()).unwrap_or(limit).min(limit) + 1;
        return read_to_end(&mut File::open(path)?, limit, room);
    }
    let path = path.to_owned();
    let mut patient = Patient::new(move || File::open(path), deadline)?;
    read_to_end(&mut patient, limit, 0)
}

/// All of a stream, at most `limit` bytes; `room` is a guess of its length.
pub(crate) fn read_to_end(
    from: &mut dyn Read,
    limit: usize,
    room: usize,
) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::with_capacity(room);
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(Unread::TooLong { limit });
    }
    Ok(bytes)
}

/// Some bytes of a stream, which may be a token's.
type Chunk = Zeroizing<Vec<u8>>;

/// A stream that blocks in a thread of its own, so that reading it ends at the deadline.
pub(crate) struct Patient {
    chunks: Receiver<io::Result<Chunk>>,
    current: io::Cursor<Chunk>,
    deadline: Deadline,
}

impl Patient {
    pub(crate) fn new<R: Read>(
        open: impl FnOnce() -> io::Result<R> + Send + 'static,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let (sender, chunks) = mpsc::sync_channel(1);
        thread::Builder::new().spawn(move || {
            let mut from = match open() {
                Ok(from) => from,
                Err(error) => return drop(sender.send(Err(error))),
            };
            loop {
                let mut chunk = Chunk::new(vec![0; 8 * 1024]);
                let read = from.read(&mut chunk);
                let is_last = !matches!(read, Ok(1..));
                let chunk = read.map(|length| {
                    chunk.truncate(length);
                    chunk
                });
                // Nobody listens any more once the reader has what it wants.
                if sender.send(chunk).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self {
            chunks,
            current: io::Cursor::new(Chunk::default()),
            deadline,
        })
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_from(&mut self.current, buffer);
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
        let left = self.deadline.remaining().ok_or_else(timed_out)?;
        match self.chunks.recv_timeout(left) {
            Ok(chunk) => {
                self.current = io::Cursor::new(chunk?);
                Ok(read_from(&mut self.current, buffer))
            }
            Err(RecvTimeoutError::Timeout) => Err(timed_out()),
            Err(RecvTimeoutError::Disconnected) => Ok(0),
        }
    }
}

/// [`Read`] for a cursor over bytes that are wiped.
fn read_from(chunk: &mut io::Cursor<Chunk>, buffer: &mut [u8]) -> usize {
    let place = usize::try_from(chunk.position()).unwrap_or(usize::MAX);
    let left = chunk.get_ref().get(place..).unwrap_or_default();
    let length = left.len().min(buffer.len());
    if let (Some(from), Some(to)) = (left.get(..length), buffer.get_mut(..length)) {
        to.copy_from_slice(from);
    }
    chunk.set_position((place + length) as u64);
    length
}

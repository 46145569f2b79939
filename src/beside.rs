//! Two things at once: on threads of their own, the first failure told without waiting.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::error::{Code, Error};

/// Does both at once. The first failure is told without waiting for the other, which is left
/// behind; where both have failed, it is the first one's.
///
/// # Errors
/// Either's.
pub(crate) fn side_by_side<A: Send + 'static, B: Send + 'static>(
    first: impl FnOnce() -> Result<A, Error> + Send + 'static,
    second: impl FnOnce() -> Result<B, Error> + Send + 'static,
) -> Result<(A, B), Error> {
    let (done, either_done) = mpsc::channel();
    let first = begin(first, done.clone())?;
    let second = begin(second, done)?;
    let (mut a, mut b) = (None, None);
    loop {
        either_done.recv().map_err(|_| lost())?;
        if let Ok(result) = first.try_recv() {
            a = Some(result?);
        }
        if let Ok(result) = second.try_recv() {
            b = Some(result?);
        }
        match (a.take(), b.take()) {
            (Some(a), Some(b)) => return Ok((a, b)),
            (one, other) => (a, b) = (one, other),
        }
    }
}

fn begin<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    done: Sender<()>,
) -> Result<Receiver<Result<T, Error>>, Error> {
    let (result, received) = mpsc::sync_channel(1);
    thread::Builder::new()
        .spawn(move || {
            // Nobody waits any more once the other has failed.
            let _ = result.send(work());
            let _ = done.send(());
        })
        .map_err(|_| lost())?;
    Ok(received)
}

fn lost() -> Error {
    Error::new(
        Code::Unavailable,
        "this machine has no room for another thread",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failing(code: Code) -> Result<(), Error> {
        Err(Error::new(code, "failed"))
    }

    #[test]
    fn both_results_come_back() {
        let both = side_by_side(|| Ok(1), || Ok("two")).unwrap();
        assert_eq!(both, (1, "two"));
    }

    #[test]
    fn the_first_failure_does_not_wait_for_the_other() {
        let forever = || -> Result<(), Error> {
            loop {
                thread::sleep(Duration::from_secs(60));
            }
        };
        let error = side_by_side(forever, || failing(Code::Tls)).unwrap_err();
        assert_eq!(error.code, Code::Tls);
        let error = side_by_side(|| failing(Code::Refused), forever).unwrap_err();
        assert_eq!(error.code, Code::Refused);
    }
}

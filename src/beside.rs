//! Two things at once: on threads of their own, the first failure told without waiting.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use crate::error::{Code, Error};

/// What has come of one of them.
enum Done<A, B> {
    First(Result<A, Error>),
    Second(Result<B, Error>),
}

/// How long the second one's failure waits for one of the first's. Where nothing can be reached
/// both fail together, and the same call is to end in the same way each time.
const MOMENT: Duration = Duration::from_millis(20);

/// Does both at once. The first failure is told without waiting for the other, which is left
/// behind; where both fail within a moment, it is the first one's.
///
/// # Errors
/// Either's.
pub(crate) fn side_by_side<A: Send + 'static, B: Send + 'static>(
    first: impl FnOnce() -> Result<A, Error> + Send + 'static,
    second: impl FnOnce() -> Result<B, Error> + Send + 'static,
) -> Result<(A, B), Error> {
    let (sender, done) = mpsc::channel();
    begin(sender.clone(), || Done::First(first()))?;
    begin(sender, || Done::Second(second()))?;
    let mut both = (None, None);
    loop {
        match done.recv().map_err(|_| lost())? {
            Done::First(result) => both.0 = Some(result?),
            Done::Second(Ok(result)) => both.1 = Some(result),
            Done::Second(Err(error)) if both.0.is_some() => return Err(error),
            Done::Second(Err(error)) => {
                return Err(match done.recv_timeout(MOMENT) {
                    Ok(Done::First(Err(first))) => first,
                    _ => error,
                });
            }
        }
        both = match both {
            (Some(first), Some(second)) => return Ok((first, second)),
            one => one,
        };
    }
}

fn begin<T: Send + 'static>(
    sender: Sender<T>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(), Error> {
    // Nobody waits any more once the other has failed.
    let work = move || drop(sender.send(work()));
    let begun = thread::Builder::new().spawn(work);
    begun.map(drop).map_err(|_| lost())
}

fn lost() -> Error {
    Error::new(
        Code::Unavailable,
        "this machine has no room for another thread",
    )
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn where_both_fail_together_it_is_the_first_ones_failure() {
        for _ in 0..100 {
            let error = side_by_side(|| failing(Code::Refused), || failing(Code::Tls)).unwrap_err();
            assert_eq!(error.code, Code::Refused);
        }
    }
}

//! Time as a value that is passed in: the two clocks, and the one deadline of a run.

use std::time::{Duration, Instant, SystemTime};

/// The clocks of a run: functions, so that nothing below `main` asks the machine by itself.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The monotonic clock, for the deadline.
    pub instant: fn() -> Instant,
    /// The time of day (UTC), for expiries.
    pub utc: fn() -> SystemTime,
}

/// The moment at which a run ends, whatever it is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    clock: Clock,
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(crate) fn new(clock: Clock, started: Instant, timeout: Duration) -> Self {
        Self {
            clock,
            at: started + timeout,
            timeout,
        }
    }

    /// The time that is left, or `None` when it is up.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let left = self.at.saturating_duration_since((self.clock.instant)());
        (!left.is_zero()).then_some(left)
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.remaining().is_none()
    }

    /// How long the whole run may take, for messages.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }
}

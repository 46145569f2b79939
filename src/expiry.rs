//! The moment at which a key ends, and its two spellings.
//!
//! Pure: no clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can spell.
const LAST: u64 = 253_402_300_799;

/// A moment in whole seconds since 1970-01-01T00:00:00Z, at most the end of the year 9999.
/// Displayed as RFC 3339 with a capital `Z` and no fraction, as client-go, botocore and Bazel all
/// parse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expiry(u64);

impl Expiry {
    /// The moment `lifetime` after `sent`, rounded down to whole seconds.
    pub(crate) fn after(sent: SystemTime, lifetime: Duration) -> Self {
        let sent = sent.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(sent.saturating_add(lifetime).as_secs().min(LAST))
    }

    /// A moment given in seconds since 1970, as a JWT's `exp` is.
    pub(crate) fn from_unix(seconds: u64) -> Self {
        Self(seconds.min(LAST))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) fn unix(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, second) = (self.0 / 86_400, self.0 % 86_400);
        // Days since 0000-03-01, in eras of 400 years of 146,097 days each: with the leap day at
        // the end of a year, months follow from a linear formula.
        let day = day + 719_468;
        let (era, day) = (day / 146_097, day % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_467_600, "2026-11-23T21:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ];
        for (unix, text) in cases {
            assert_eq!(Expiry::from_unix(unix).to_string(), text);
        }
    }

    #[test]
    fn rounded_down_and_never_past_the_year_9999() {
        let sent = UNIX_EPOCH + Duration::from_millis(1_999);
        assert_eq!(Expiry::after(sent, Duration::from_millis(1_000)).unix(), 2);
        assert_eq!(Expiry::after(sent, Duration::from_millis(1_001)).unix(), 3);
        assert_eq!(Expiry::after(sent, Duration::MAX).unix(), LAST);
    }
}

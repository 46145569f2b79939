//! The moment at which a key ends, and its two spellings.
//!
//! Pure: no clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

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

    /// A moment as a JSON answer tells it: RFC 3339, or a number of seconds since 1970.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::from_rfc_3339(text),
            // A float outside the range becomes the nearest value inside.
            number => number
                .as_f64()
                .filter(|seconds| *seconds > 0.0)
                .map(|s| Self::from_unix(s as u64)),
        }
    }

    /// `YYYY-MM-DDThh:mm:ss`, a fraction that is dropped, and `Z` or an offset.
    fn from_rfc_3339(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = text.get(from..to)?;
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let zone = text
            .get(19..)?
            .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        let offset = match zone.split_at_checked(1)? {
            ("Z" | "z", "") => 0,
            (sign @ ("+" | "-"), offset) => {
                let (hours, minutes) = offset.split_once(':')?;
                // Longer numbers are no offset, and overflow.
                let two = |digits: &str| digits.parse::<u8>().ok().filter(|_| digits.len() == 2);
                let seconds = i64::from(two(hours)?) * 3_600 + i64::from(two(minutes)?) * 60;
                if sign == "+" { seconds } else { -seconds }
            }
            _ => return None,
        };
        // Days since 0000-03-01, as in `Display`.
        let (year, month) = if month <= 2 {
            (year - 1, month + 9)
        } else {
            (year, month - 3)
        };
        let day = 365 * year + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + (153 * month + 2) / 5
            + day
            - 1
            - 719_468;
        let seconds = ((day * 24 + hour) * 60 + minute) * 60 + second - offset;
        u64::try_from(seconds).ok().map(Self::from_unix)
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
    fn read_as_rfc_3339_or_seconds() {
        let read = |value: Value| Expiry::read(&value).map(|expiry| expiry.to_string());
        for (text, moment) in [
            ("2026-11-23T22:00:00Z", "2026-11-23T22:00:00Z"),
            ("2000-02-29T23:59:59.999Z", "2000-02-29T23:59:59Z"),
            ("2026-11-23T22:00:00.5+01:30", "2026-11-23T20:30:00Z"),
            ("2026-12-31T23:00:00-02:00", "2027-01-01T01:00:00Z"),
        ] {
            assert_eq!(read(text.into()).as_deref(), Some(moment), "{text}");
        }
        assert_eq!(
            read(951_782_400.into()).as_deref(),
            Some("2000-02-29T00:00:00Z")
        );
        for bad in [
            "",
            "soon",
            "2026-11-23",
            "2026-11-23T22:00:00",
            "2026-11-23T22:00:00é",
            "+026-11-23T22:00:00Z",
        ] {
            assert_eq!(read(bad.into()), None, "{bad}");
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

//! What an identity token says of itself (RFC 7519), for messages and for the audience rule.
//!
//! Pure. Nothing here is verified: that is the server's to do.

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::expiry::Expiry;
use crate::secret::SubjectToken;

/// The claims of a token that is a JWT.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    /// The claims, or nothing where the token is no JWT, which is no fault.
    pub(crate) fn of(token: &SubjectToken) -> Option<Self> {
        let mut segments = token.0.expose().split('.');
        let (Some(_), Some(payload), Some(_), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return None;
        };
        let payload = BASE64_URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()?;
        match serde_json::from_slice(&payload) {
            Ok(Value::Object(claims)) => Some(Self(claims)),
            _ => None,
        }
    }

    /// A claim that is a non-empty text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// `aud`, a text or a list of texts.
    pub(crate) fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// `exp`, `nbf` or another moment, in whole seconds.
    pub(crate) fn moment(&self, name: &str) -> Option<Expiry> {
        let seconds = self.0.get(name)?.as_f64()?;
        // A float outside the range becomes the nearest value inside.
        (seconds >= 0.0).then(|| Expiry::from_unix(seconds as u64))
    }

    /// How many seconds from `now` until a moment; negative where it has passed.
    pub(crate) fn seconds_until(&self, name: &str, now: SystemTime) -> Option<i64> {
        let moment = self.moment(name)?.unix();
        let now = Expiry::after(now, std::time::Duration::ZERO).unix();
        Some(moment.cast_signed() - now.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::secret::Secret;

    fn claims(payload: &Value) -> Option<Claims> {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(payload.to_string());
        Claims::of(&SubjectToken(Secret::new(format!("e30.{payload}.c2ln"))))
    }

    #[test]
    fn claims_are_read_from_a_jwt_and_from_nothing_else() {
        let read = claims(&json!({"iss": "i", "aud": ["a", 1, "b"], "exp": 1e300})).unwrap();
        assert_eq!(read.text("iss"), Some("i"));
        assert_eq!(read.audiences(), ["a", "b"]);
        assert_eq!(
            read.moment("exp").unwrap().to_string(),
            "9999-12-31T23:59:59Z"
        );
        assert_eq!(claims(&json!({"aud": "a"})).unwrap().audiences(), ["a"]);
        assert!(claims(&json!([])).is_none());
        for other in ["opaque", "a.b", "a.!.c", "a.e30.c.d", ".."] {
            assert!(
                Claims::of(&SubjectToken(Secret::new(other))).is_none(),
                "{other}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_token_has_claims_or_none(token in "[!-~]{0,60}", payload: Vec<u8>) {
            let _ = Claims::of(&SubjectToken(Secret::new(token)));
            let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
            let _ = Claims::of(&SubjectToken(Secret::new(format!("a.{payload}.b"))));
        }
    }
}

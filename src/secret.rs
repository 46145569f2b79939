//! Values that must not be seen: no `Display`, a redacted `Debug`, wiped when dropped.
//!
//! Pure.

use std::fmt;

use zeroize::Zeroizing;

/// A text that only [`Secret::expose`] yields.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: for the wire, for the answer, and for redaction, nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The text without the white space around it, if what is left is visible ASCII.
    pub(crate) fn visible_ascii(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        if text.is_empty() {
            Err(NotAToken::Empty)
        } else if !is_visible_ascii(text) {
            Err(NotAToken::NotVisibleAscii)
        } else {
            Ok(Self::new(text))
        }
    }
}

/// Whether a text is made of 0x21 to 0x7E only: what can stand in a header, in a line of git's
/// protocol and in a shell's quotes without ending them.
pub(crate) fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Why a text cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAToken {
    /// Nothing but white space.
    Empty,
    /// Something other than 0x21 to 0x7E inside.
    NotVisibleAscii,
}

impl NotAToken {
    /// What to say of it, behind the name of where the text came from.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::NotVisibleAscii => {
                "holds more than one word of visible ASCII, so it is not a token"
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The identity token, RFC 8693's `subject_token`.
#[derive(Clone, Debug)]
pub(crate) struct SubjectToken(pub(crate) Secret);

/// The issued key: non-empty visible ASCII, by its only constructor.
#[derive(Clone, Debug)]
pub(crate) struct ApiKey(Secret);

impl ApiKey {
    /// A key as the server spelled it; nothing is trimmed, since a line feed at its end would be
    /// an injection into git's protocol and not a slip.
    pub(crate) fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && is_visible_ascii(text)).then(|| Self(Secret::new(text)))
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_secret() {
        let token = SubjectToken(Secret::new("eyJhbGciOi.secret"));
        let key = ApiKey::new("key-0123456789").unwrap();
        assert_eq!(format!("{token:?}"), "SubjectToken([redacted])");
        assert_eq!(format!("{key:#?}"), "ApiKey(\n    [redacted],\n)");
    }

    #[test]
    fn a_key_is_visible_ascii_or_no_key() {
        for bad in ["", " key", "key\n", "k\0y", "kéy", "k y", "\u{7f}"] {
            assert!(ApiKey::new(bad).is_none(), "{bad:?}");
        }
        assert!(ApiKey::new("!~").is_some());
    }
}

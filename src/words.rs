//! The words of others made fit to show: bounded, control characters escaped, secrets cut out.
//!
//! Pure, but for a look whether a path exists. The one place that redacts and the one place that
//! bounds text.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::secret::Secret;

/// The most characters of somebody else's words that are shown.
const SHOWN: usize = 300;
/// The most bytes that are looked at: enough that a long run of secrets does not hide all the
/// rest, little enough that a reply of a megabyte costs nothing.
const LOOKED_AT: usize = 8 * SHOWN;
/// The shortest piece of a secret that is cut out; a shorter secret is cut out as a whole.
const PIECE: usize = 12;
/// A secret shorter than this would cut holes into ordinary words, and show itself by them.
const SHORTEST: usize = 4;

/// A file's name from this length on is not shown where there is no such file.
const LONG_NAME: usize = 24;

/// Knows the secrets of a run so far, and quotes the words of others without them. A clone knows
/// and learns the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redactor {
    secrets: Arc<Mutex<Vec<Secret>>>,
}

/// A path or a program's name as it can be shown: it is the caller's word, and may be a token
/// that was given by mistake in place of its file.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_bare = path.components().count() == 1;
    if is_bare && text.len() >= LONG_NAME && !path.exists() {
        return format!("(a name of {} characters)", text.chars().count());
    }
    Redactor::default().quote(&text)
}

impl Redactor {
    /// Keeps a secret out of sight from here on.
    pub(crate) fn learn(&self, secret: &Secret) {
        self.known().push(secret.clone());
    }

    /// Another one that knows one secret more.
    pub(crate) fn with(&self, secret: &Secret) -> Self {
        let known = [self.known().as_slice(), std::slice::from_ref(secret)].concat();
        Self {
            secrets: Arc::new(Mutex::new(known)),
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Secret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The words, on one line, at most 300 characters, without any 12-character piece of a
    /// secret (percent-decoded too) and without anything shaped like a JWT.
    pub(crate) fn quote(&self, words: &str) -> String {
        let mut end = words.len().min(LOOKED_AT);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        let (looked_at, rest) = words.split_at(end);
        let hidden = self.hidden(looked_at);
        let mut quoted = String::new();
        let mut length = 0;
        let mut last = '\0';
        let mut hiding = false;
        for (index, character) in looked_at.char_indices() {
            if length >= SHOWN {
                quoted.push('…');
                return quoted;
            }
            if hidden.get(index).copied().unwrap_or(false) {
                if !hiding {
                    quoted.push_str("[redacted]");
                    length += 10;
                }
                hiding = true;
                continue;
            }
            hiding = false;
            let before = quoted.len();
            match character {
                '"' | '\'' | '\\' => quoted.push(character),
                // Azure Pipelines runs `##vso[...]` wherever it stands in a line of a log.
                '#' if last == '#' => quoted.extend(character.escape_unicode()),
                _ => quoted.extend(character.escape_debug()),
            }
            length += quoted[before..].chars().count();
            last = character;
        }
        if !rest.is_empty() {
            quoted.push('…');
        }
        quoted
    }

    /// For each byte of the text whether it is part of a secret.
    fn hidden(&self, text: &str) -> Vec<bool> {
        let mut hidden = vec![false; text.len()];
        // The text as it stands, then percent-decoded, until decoding changes nothing: each byte
        // with the range of the text that it came from.
        let mut view: Vec<(u8, usize, usize)> = text
            .bytes()
            .enumerate()
            .map(|(index, byte)| (byte, index, index + 1))
            .collect();
        loop {
            let bytes: Vec<u8> = view.iter().map(|(byte, ..)| *byte).collect();
            let mut hide = |from: usize, to: usize| {
                if let (Some(first), Some(last)) = (view.get(from), view.get(to - 1))
                    && let Some(range) = hidden.get_mut(first.1..last.2)
                {
                    range.fill(true);
                }
            };
            self.find_secrets(&bytes, &mut hide);
            find_tokens(&bytes, &mut hide);
            let decoded = percent_decoded(&view);
            if decoded.len() == view.len() {
                return hidden;
            }
            view = decoded;
        }
    }

    fn find_secrets(&self, bytes: &[u8], hide: &mut impl FnMut(usize, usize)) {
        // Case is ignored: a host name is lowered on its way, and is a leak all the same.
        let bytes = bytes.to_ascii_lowercase();
        for secret in self.known().iter() {
            let secret = secret.expose().to_ascii_lowercase();
            let length = secret.len().min(PIECE);
            if length < SHORTEST {
                continue;
            }
            // The text is short and a token may be a megabyte: index the text, walk the secret.
            let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
            for (place, piece) in bytes.windows(length).enumerate() {
                places.entry(piece).or_default().push(place);
            }
            for piece in secret.as_bytes().windows(length) {
                for place in places.remove(piece).into_iter().flatten() {
                    hide(place, place + length);
                }
            }
        }
    }
}

/// Hides what looks like a JWT: `eyJ` (the base64 of `{"`), then segments with a dot among them.
fn find_tokens(bytes: &[u8], hide: &mut impl FnMut(usize, usize)) {
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let mut from = 0;
    while let Some(rest) = bytes.get(from..).filter(|rest| !rest.is_empty()) {
        let skipped = rest.windows(3).position(|window| window == b"eyJ");
        let start = from + skipped.unwrap_or(rest.len());
        let token = bytes.get(start..).unwrap_or_default();
        let length = token.iter().take_while(|byte| in_token(byte)).count();
        if token.iter().take(length).any(|byte| *byte == b'.') {
            hide(start, start + length);
        }
        from = start + length;
    }
}

fn percent_decoded(view: &[(u8, usize, usize)]) -> Vec<(u8, usize, usize)> {
    let digit = |place: usize| {
        view.get(place)
            .and_then(|(byte, ..)| char::from(*byte).to_digit(16))
    };
    let mut decoded = Vec::with_capacity(view.len());
    let mut place = 0;
    while let Some(&(byte, start, end)) = view.get(place) {
        match (byte, digit(place + 1), digit(place + 2)) {
            (b'%', Some(high), Some(low)) => {
                let end = view.get(place + 2).map_or(end, |last| last.2);
                decoded.push(((high * 16 + low) as u8, start, end));
                place += 3;
            }
            _ => {
                decoded.push((byte, start, end));
                place += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor() -> Redactor {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("abcdefghijklmnopqrstuvwxyz+/="));
        redactor.learn(&Secret::new("hunter2"));
        redactor
    }

    #[test]
    fn pieces_of_secrets_are_cut_out_whatever_their_spelling() {
        let cases = [
            (
                "got abcdefghijklmnopqrstuvwxyz+/= here",
                "got [redacted] here",
            ),
            ("got ABCDEFGHIJKLM here", "got [redacted] here"),
            ("only abcdefghijk", "only abcdefghijk"),
            (
                "xyz%2B%2f%3D uvwxyz%2B%2F%3D ijkl%6dnopqrstuv.",
                "xyz%2B%2f%3D uvwxyz%2B%2F%3D [redacted].",
            ),
            (
                "tuvwxyz%252B%252F%253D tuvwxyzuvwxyz",
                "tuvwxyz%252B%252F%253D tuvwxyzuvwxyz",
            ),
            ("qrstuvwxyz%252B%252F%253D.", "[redacted]."),
            ("password hunter2!", "password [redacted]!"),
            ("jwt eyJhbGciOi.eyJpc3M.c2ln, done", "jwt [redacted], done"),
            ("eyJust a word", "eyJust a word"),
        ];
        for (words, shown) in cases {
            assert_eq!(redactor().quote(words), shown, "{words}");
        }
    }

    #[test]
    fn control_characters_and_log_commands_are_escaped() {
        let quoted = redactor().quote("a\nb\u{1b}[31m\u{202e}c\t\"q\" 'it' \\ é ##vso[x]");
        assert_eq!(
            quoted,
            "a\\nb\\u{1b}[31m\\u{202e}c\\t\"q\" 'it' \\ é #\\u{23}vso[x]"
        );
    }

    #[test]
    fn words_are_bounded() {
        let quoted = redactor().quote(&"word ".repeat(40_000));
        assert_eq!(quoted.chars().count(), SHOWN + 1);
        assert!(quoted.ends_with('…'));
    }

    proptest! {
        #[test]
        fn no_words_show_twelve_characters_of_a_secret(
            secret in "[!-~]{12,80}",
            before in ".{0,30}",
            from in 0usize..80,
            length in 12usize..80,
            after in ".{0,30}",
            encoded: bool,
        ) {
            let piece: String = secret.chars().skip(from).take(length).collect();
            let piece = match encoded {
                true => piece.bytes().map(|byte| format!("%{byte:02x}")).collect(),
                false => piece,
            };
            let redactor = Redactor::default().with(&Secret::new(secret.clone()));
            let quoted = redactor.quote(&format!("{before}{piece}{after}"));
            prop_assert!(!quoted.contains(char::is_control), "{quoted:?}");
            prop_assert!(quoted.chars().count() <= SHOWN + 12, "{quoted:?}");
            for window in secret.as_bytes().windows(PIECE) {
                let window = std::str::from_utf8(window).unwrap();
                prop_assert!(!quoted.contains(window), "{quoted:?}");
            }
        }
    }
}

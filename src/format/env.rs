//! `env`: assignments for the `eval` of a POSIX shell.

use super::Credential;
use crate::error::Error;

pub(super) fn render(credential: &Credential) -> String {
    format!(
        "export CONNECT_SERVER={}\nexport CONNECT_API_KEY={}\n",
        quoted(credential.server.as_str()),
        quoted(credential.api_key.expose())
    )
}

/// A command that fails as the program did, so that `eval` does.
pub(super) fn render_failure(error: &Error) -> String {
    format!("(exit {})\n", error.code.row().exit_status)
}

/// A word in single quotes, inside which a shell reads nothing but their end.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_does_not_end_the_word() {
        assert_eq!(quoted("https://h/a'b$(x)/"), r"'https://h/a'\''b$(x)/'");
    }
}

//! `key`: the key and a line feed.

use super::Credential;

pub(super) fn render(credential: &Credential) -> String {
    format!("{}\n", credential.api_key.expose())
}

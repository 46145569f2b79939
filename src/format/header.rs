//! `header`: an `Authorization` header, as `curl -H @-` reads it.

use super::Credential;

pub(super) fn render(credential: &Credential) -> String {
    format!("Authorization: {}\n", credential.authorization())
}

//! `aws`: what the AWS SDKs read from a `credential_process`.

use serde::Serialize;

use super::{Credential, json};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    version: u8,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
}

pub(super) fn render(credential: &Credential) -> String {
    json::line(&Answer {
        version: 1,
        access_key_id: credential.server.host(),
        secret_access_key: credential.api_key.expose(),
        expiration: credential.expires_at.map(|expiry| expiry.to_string()),
    })
}

//! `bazel`: the `get` of the credential-helper specification that Bazel and others speak.

use std::io::Read;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::{Credential, json};
use crate::error::{Code, Error};
use crate::server::ServerUrl;

/// What is to be fetched with the credential.
#[derive(Debug)]
pub(crate) struct Question(Url);

/// Reads the request.
///
/// # Errors
/// `bad_request` or `timeout`.
pub(crate) fn read_request(from: &mut dyn Read) -> Result<Question, Error> {
    let request = json::read_request(from)?;
    let uri = match request.get("uri") {
        Some(Value::String(uri)) => uri,
        Some(_) => return Err(bad("uri in the request is not a string")),
        None => return Err(bad("uri is missing in the request")),
    };
    if uri.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(bad(
            "uri in the request holds white space, a control character or a backslash",
        ));
    }
    let url = Url::parse(uri).map_err(|_| bad("uri in the request is not a valid URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("uri in the request holds a user name or password"));
    }
    Ok(Question(url))
}

impl Question {
    /// Holds the URI against the server.
    ///
    /// # Errors
    /// `bad_request` where it lies elsewhere.
    pub(crate) fn check(&self, server: &ServerUrl) -> Result<(), Error> {
        let path = percent_decode_str(self.0.path()).decode_utf8_lossy();
        if self.0.origin() == server.origin() && server.covers(&path) {
            return Ok(());
        }
        let message = format!("uri in the request is outside the server {server}");
        Err(Error::new(Code::BadRequest, message)
            .hint("Bazel's --credential_helper takes a pattern of hosts before the program's path"))
    }
}

fn bad(message: &str) -> Error {
    Error::new(Code::BadRequest, message)
}

#[derive(Serialize)]
struct Answer {
    headers: Headers,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "Authorization")]
    authorization: [String; 1],
}

pub(super) fn render(credential: &Credential) -> String {
    json::line(&Answer {
        headers: Headers {
            authorization: [credential.authorization()],
        },
        expires: credential.expires_at.map(|expiry| expiry.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_a_uri_of_the_server_is_answered(
            uri in "(https?://)?(h|evil|h\\.evil|u@h|h:8443|H)?(/|/rsc|/rsc/|/rscx|/rsc/\\.\\.|/%2e%2e|/rsc/%2e%2e%2fx|\\\\|\\?|#|[ -~]){0,4}",
        ) {
            let server = ServerUrl::parse("https://h/rsc").unwrap();
            let request = serde_json::json!({"uri": uri}).to_string();
            let answered = read_request(&mut request.as_bytes())
                .is_ok_and(|question| question.check(&server).is_ok());
            if answered {
                let url = Url::parse(&uri).unwrap();
                prop_assert_eq!(url.scheme(), "https");
                prop_assert_eq!(url.host_str(), Some("h"));
                prop_assert_eq!(url.port_or_known_default(), Some(443));
                prop_assert!(url.path() == "/rsc" || url.path().starts_with("/rsc/"), "{}", url);
            }
        }
    }
}

//! The server's metadata: where it is, and what of it is believed (RFC 8414).
//!
//! Pure.

use serde_json::Value;
use url::Url;

use crate::error::{Code, Error};
use crate::server::{Advertised, Endpoint, ServerUrl};

/// The grant of RFC 8693 section 2.1.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What a Connect server must be to exchange tokens.
pub(crate) const REQUIREMENT: &str =
    "token exchange needs Connect 2026.07 or later with an Enhanced or Advanced licence";

/// What is often wrong where nothing is found.
pub(crate) const MISSING_PREFIX: &str =
    "check the URL: the path prefix may be missing, such as https://HOST/connect-prefix/";

/// The places to look for the metadata, in order; the next one is asked after a 404.
///
/// First what Connect serves, below any path prefix; then RFC 8414 section 3.1's own form, the
/// well-known segment between host and prefix; then OpenID Connect Discovery 1.0 section 4.
pub(crate) fn well_known_urls(server: &ServerUrl) -> Vec<Url> {
    let oauth = ".well-known/oauth-authorization-server";
    let mut urls = vec![server.join(oauth)];
    if server.prefix() != "/" {
        let mut url = server.url().clone();
        url.set_path(&format!(
            "/{oauth}{}",
            server.prefix().trim_end_matches('/')
        ));
        urls.push(url);
    }
    urls.push(server.join(".well-known/openid-configuration"));
    urls
}

/// The authorization server metadata (RFC 8414 section 2), as far as it is used.
#[derive(Debug)]
pub(crate) struct Metadata {
    members: serde_json::Map<String, Value>,
}

impl Metadata {
    /// Reads a 200 reply's body.
    ///
    /// # Errors
    /// `bad_response` for anything but a JSON object.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self { members }),
            Ok(_) => Err(bad("the server's metadata is JSON, but not an object")),
            Err(_) if looks_like_html(body) => {
                Err(bad("the server's metadata is a web page, not JSON"))
            }
            Err(_) => Err(bad("the server's metadata is not JSON")),
        }
    }

    /// Where to exchange a token: the advertised `token_endpoint` under the endpoint rule.
    ///
    /// # Errors
    /// `unsupported_server` where token exchange is not among the server's grants,
    /// `bad_response` where a member is missing or of another type, `unsafe_endpoint` by the rule.
    pub(crate) fn token_endpoint(&self, server: &ServerUrl) -> Result<Advertised, Error> {
        match self.members.get("grant_types_supported") {
            None | Some(Value::Null) => {}
            Some(Value::Array(grants)) => {
                if !grants.iter().any(|grant| grant == TOKEN_EXCHANGE) {
                    return Err(Error::new(
                        Code::UnsupportedServer,
                        "the server's metadata does not list token exchange among its grants",
                    )
                    .hint(REQUIREMENT));
                }
            }
            Some(_) => {
                return Err(bad(
                    "grant_types_supported in the server's metadata is not an array",
                ));
            }
        }
        self.endpoint("token_endpoint", server)?
            .ok_or_else(|| bad("the server's metadata has no token_endpoint"))
    }

    /// Where to revoke a key (RFC 7009), if the server has such a place.
    ///
    /// # Errors
    /// As for [`Self::token_endpoint`].
    pub(crate) fn revocation_endpoint(
        &self,
        server: &ServerUrl,
    ) -> Result<Option<Endpoint>, Error> {
        let advertised = self.endpoint("revocation_endpoint", server)?;
        Ok(advertised.map(|advertised| advertised.endpoint))
    }

    fn endpoint(&self, member: &str, server: &ServerUrl) -> Result<Option<Advertised>, Error> {
        match self.members.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(advertised)) if !advertised.is_empty() => {
                server.endpoint(advertised).map(Some).map_err(|why| {
                    let message = format!("{member} in the server's metadata {why}");
                    Error::new(Code::UnsafeEndpoint, message)
                })
            }
            Some(_) => Err(bad(format!(
                "{member} in the server's metadata is not a URL in a string"
            ))),
        }
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadResponse, message)
}

/// Whether a body is a web page: what a sign-in page in front of the server answers.
pub(crate) fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn places(server: &str) -> Vec<String> {
        let server = ServerUrl::parse(server).unwrap();
        well_known_urls(&server)
            .into_iter()
            .map(String::from)
            .collect()
    }

    #[test]
    fn metadata_is_looked_for_in_the_well_known_places() {
        assert_eq!(
            places("https://h"),
            [
                "https://h/.well-known/oauth-authorization-server",
                "https://h/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            places("https://h/a/b"),
            [
                "https://h/a/b/.well-known/oauth-authorization-server",
                "https://h/.well-known/oauth-authorization-server/a/b",
                "https://h/a/b/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn what_metadata_must_hold() {
        let server = ServerUrl::parse("https://h/").unwrap();
        let code = |value: Value| {
            Metadata::parse(value.to_string().as_bytes())
                .and_then(|metadata| metadata.token_endpoint(&server))
                .map(|made| made.endpoint.url().to_string())
                .map_err(|error| error.code)
        };
        let fine = Ok("https://h/token".to_owned());
        assert_eq!(code(json!({"token_endpoint": "/token"})), fine);
        assert_eq!(
            code(json!({"token_endpoint": "/token", "grant_types_supported": null})),
            fine
        );
        assert_eq!(
            code(json!({"token_endpoint": "/token", "grant_types_supported": [TOKEN_EXCHANGE]})),
            fine
        );
        for (value, expected) in [
            (
                json!({"token_endpoint": "/t", "grant_types_supported": []}),
                Code::UnsupportedServer,
            ),
            (
                json!({"token_endpoint": "/t", "grant_types_supported": "x"}),
                Code::BadResponse,
            ),
            (
                json!({"token_endpoint": "/t", "grant_types_supported": {}}),
                Code::BadResponse,
            ),
            (json!({}), Code::BadResponse),
            (json!({"token_endpoint": 1}), Code::BadResponse),
            (json!({"token_endpoint": ""}), Code::BadResponse),
            (json!({"token_endpoint": ["/t"]}), Code::BadResponse),
            (json!({"token_endpoint": "/t#f"}), Code::UnsafeEndpoint),
            (json!([]), Code::BadResponse),
            (json!(null), Code::BadResponse),
        ] {
            assert_eq!(code(value.clone()), Err(expected), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_metadata_or_one_clean_error(body: Vec<u8>) {
            if let Err(error) = Metadata::parse(&body) {
                prop_assert!(!error.message.contains(char::is_control));
            }
        }

        #[test]
        fn any_member_is_an_endpoint_of_the_server_or_one_clean_error(advertised: String) {
            let server = ServerUrl::parse("https://h:8443/rsc").unwrap();
            let body = json!({"token_endpoint": advertised}).to_string();
            match Metadata::parse(body.as_bytes()).unwrap().token_endpoint(&server) {
                Ok(made) => prop_assert!(server.holds(made.endpoint.url())),
                Err(error) => prop_assert!(!error.message.contains(char::is_control)),
            }
        }
    }
}

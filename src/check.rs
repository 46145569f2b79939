//! The one use of the new key before it is printed (`--check`): Connect's `GET /v1/user`.

use serde_json::{Map, Value};

use crate::error::{Code, Error};
use crate::exchange::server_words;
use crate::http::{Http, Method, Reply, Request, authorization};
use crate::secret::ApiKey;
use crate::server::ServerUrl;
use crate::words::Redactor;

/// Below the server's URL.
const USER_PATH: &str = "__api__/v1/user";
const PURPOSE: &str = "the check of the new key";

/// Connect's error code for a valid key of a service principal, which has no user.
const NO_USER: u64 = 22;

/// Uses the new key once: the name of its user; none where the key is a service principal's.
///
/// # Errors
/// `key_rejected` where Connect does not take the key, and those of HTTP.
pub(crate) fn user(
    http: &Http,
    server: &ServerUrl,
    api_key: &ApiKey,
    redactor: &Redactor,
) -> Result<Option<String>, Error> {
    let key = authorization("Key", api_key.secret());
    let reply = http.send(&Request {
        purpose: PURPOSE,
        url: &server.join(USER_PATH),
        headers: &[("Authorization", key.expose())],
        method: Method::Get,
    })?;
    read(&reply, redactor)
}

/// What the answer tells. Pure.
pub(crate) fn read(reply: &Reply, redactor: &Redactor) -> Result<Option<String>, Error> {
    let answer = match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(answer)) => answer,
        _ if reply.status == 200 => {
            let message = "the answer to the check of the new key is not a JSON object";
            return Err(Error::new(Code::BadResponse, message));
        }
        _ => Map::new(),
    };
    match (reply.status, answer.get("code").and_then(Value::as_u64)) {
        (200, _) => Ok(answer
            .get("username")
            .and_then(Value::as_str)
            .map(|name| redactor.quote(name))),
        (403, Some(NO_USER)) => Ok(None),
        (429, _) => Err(reply.unexpected(PURPOSE)),
        (status @ 400..=499, _) => {
            let message = format!("Connect does not accept the key that it issued (HTTP {status})");
            Err(Error::new(Code::KeyRejected, message)
                .status(status)
                .hints(server_words(&answer, redactor)))
        }
        _ => Err(reply.unexpected(PURPOSE)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_the_key_is() {
        let check = |status, body: Value| {
            let reply = Reply::new(status, body.to_string().into_bytes());
            read(&reply, &Redactor::default()).map_err(|error| error.code)
        };
        assert_eq!(
            check(200, json!({"username": "ada"})),
            Ok(Some("ada".into()))
        );
        assert_eq!(check(200, json!({})), Ok(None));
        assert_eq!(check(403, json!({"code": 22})), Ok(None));
        assert_eq!(check(401, json!({"code": 22})), Err(Code::KeyRejected));
        assert_eq!(check(403, json!({"code": 30})), Err(Code::KeyRejected));
        assert_eq!(check(401, json!({"code": 30})), Err(Code::KeyRejected));
        assert_eq!(check(404, json!({})), Err(Code::KeyRejected));
        assert_eq!(check(429, json!({})), Err(Code::Unavailable));
        assert_eq!(check(500, json!({})), Err(Code::Unavailable));
        assert_eq!(check(302, json!({})), Err(Code::BadResponse));
        assert_eq!(check(200, json!([])), Err(Code::BadResponse));
    }
}

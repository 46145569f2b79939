//! The token exchange (RFC 8693): the form that goes out, the answer that comes in.
//!
//! Pure: bytes and values, no sockets and no clock.

use std::time::Duration;

use serde_json::{Map, Value};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::error::{Code, Error};
use crate::http::Reply;
use crate::metadata::{MISSING_PREFIX, REQUIREMENT, TOKEN_EXCHANGE};
use crate::secret::{ApiKey, Secret, SubjectToken};
use crate::words::Redactor;

/// RFC 8693 section 3's identifier of an OpenID Connect ID token.
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// RFC 8693 section 3's identifier of an access token.
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The members of the form that are the exchange's own, so that no parameter may replace them.
pub(crate) const OWN_FIELDS: [&str; 5] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "client_id",
];

/// What the request says beside the token (RFC 8693 section 2.1).
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) subject_token_type: String,
    pub(crate) requested_token_type: String,
    pub(crate) client_id: Option<String>,
    /// `audience`, `scope`, `resource` and others, in the order given.
    pub(crate) params: Vec<(String, String)>,
}

impl Terms {
    /// The request's body, form-encoded.
    pub(crate) fn form(&self, subject_token: &SubjectToken) -> Zeroizing<String> {
        let token = subject_token.0.expose();
        // Room for a token without anything to escape, as every JWT is.
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(token.len() + 512));
        form.append_pair("grant_type", TOKEN_EXCHANGE)
            .append_pair("subject_token", token)
            .append_pair("subject_token_type", &self.subject_token_type)
            .append_pair("requested_token_type", &self.requested_token_type);
        if let Some(client_id) = &self.client_id {
            form.append_pair("client_id", client_id);
        }
        for (name, value) in &self.params {
            form.append_pair(name, value);
        }
        Zeroizing::new(form.finish())
    }
}

/// The answer (RFC 8693 section 2.2.1): the key, and how long it lives if the server said so.
#[derive(Debug)]
pub(crate) struct IssuedKey {
    pub(crate) api_key: ApiKey,
    pub(crate) expires_in: Option<Duration>,
    /// What the server says it issued (`issued_token_type`), for the log, which redacts it.
    pub(crate) issued_token_type: Option<String>,
}

/// Reads the reply to the exchange.
///
/// # Errors
/// The table's exit status 4 for a refusal, `unavailable`, `unsupported_server`, or
/// `bad_response` for a reply that is neither key nor refusal. The server's words are in a hint.
pub(crate) fn issued_key(reply: &Reply, redactor: &Redactor) -> Result<IssuedKey, Error> {
    let answer = match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(answer)) => answer,
        _ if reply.status == 200 => {
            return Err(bad("the answer to the exchange is not a JSON object"));
        }
        _ => Map::new(),
    };
    let access_token = answer.get("access_token").and_then(Value::as_str);
    // A key that cannot be used is still no word to show.
    let redactor = &access_token.map_or_else(
        || redactor.clone(),
        |access_token| redactor.with(&Secret::new(access_token)),
    );
    if reply.status != 200 {
        return Err(refusal(reply, &answer, redactor));
    }
    let api_key = access_token.and_then(ApiKey::new).ok_or_else(|| {
        let message = "the answer to the exchange has no access_token of visible ASCII";
        bad(message).hints(server_words(&answer, redactor))
    })?;
    let issued_token_type = answer.get("issued_token_type").and_then(Value::as_str);
    Ok(IssuedKey {
        api_key,
        expires_in: lifetime(answer.get("expires_in"))?,
        issued_token_type: issued_token_type.map(str::to_owned),
    })
}

/// The key's life: an integer, a float, or a string of digits with an optional fraction. Absent
/// or null means unknown.
fn lifetime(expires_in: Option<&Value>) -> Result<Option<Duration>, Error> {
    let seconds = match expires_in {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) if is_decimal(text) => text.parse().ok(),
        Some(_) => None,
    };
    match seconds {
        Some(seconds) if seconds > 0.0 && seconds.is_finite() => {
            // More seconds than a Duration holds are past the year 9999 all the same.
            Ok(Some(
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
            ))
        }
        _ => Err(bad(
            "expires_in in the answer to the exchange is not a number of seconds above 0",
        )),
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

/// What a reply other than 200 means.
fn refusal(reply: &Reply, answer: &Map<String, Value>, redactor: &Redactor) -> Error {
    let status = reply.status;
    let oauth_error = oauth_error(answer).filter(|code| redactor.quote(code) == *code);
    let error = match (status, oauth_error) {
        (300..=399, _) => Error::new(
            Code::UnsafeEndpoint,
            format!(
                "the token endpoint answered with a redirect (HTTP {status}), which a token never follows"
            ),
        ),
        (429 | 500..=599, _) => reply.unexpected("the exchange"),
        (_, Some("invalid_grant")) => invalid_grant(answer),
        (_, Some("unsupported_grant_type")) => Error::new(
            Code::UnsupportedServer,
            "the server does not do token exchange (unsupported_grant_type)",
        )
        .hint(REQUIREMENT),
        (400..=499, Some(code)) => Error::new(
            Code::Refused,
            format!("the server refused the exchange: {code}"),
        ),
        (404, None) => Error::new(
            Code::UnsupportedServer,
            "the server has nothing at its token endpoint (HTTP 404)",
        )
        .hint(MISSING_PREFIX)
        .hint(REQUIREMENT),
        _ => reply.unexpected("the exchange"),
    };
    let mut error = error.status(status).hints(server_words(answer, redactor));
    error.oauth_error = oauth_error.map(str::to_owned);
    error
}

/// Connect says why in the description only.
fn invalid_grant(answer: &Map<String, Value>) -> Error {
    let description = answer
        .get("error_description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let (code, why) = if description.contains("ambiguous") {
        (
            Code::AmbiguousMatch,
            "more than one trusted publisher matches it",
        )
    } else if description.contains("verif") {
        (
            Code::VerificationFailed,
            "its signature could not be verified",
        )
    } else {
        (Code::NoMatch, "no trusted publisher matches it")
    };
    Error::new(
        code,
        format!("Connect did not accept this identity token: {why}"),
    )
}

/// The `error` of RFC 6749 section 5.2, if it is spelled like one: Connect's other errors have a
/// sentence in the same place.
fn oauth_error(answer: &Map<String, Value>) -> Option<&str> {
    let error = answer.get("error")?.as_str()?;
    let spelled = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (!error.is_empty() && error.len() <= 64 && error.bytes().all(spelled)).then_some(error)
}

/// The server's own words as a hint.
pub(crate) fn server_words(answer: &Map<String, Value>, redactor: &Redactor) -> Option<String> {
    let said = ["error_description", "error", "message"]
        .into_iter()
        .filter_map(|member| answer.get(member)?.as_str())
        .find(|said| !said.trim().is_empty())?;
    Some(format!("the server said: {}", redactor.quote(said.trim())))
}

fn bad(message: &str) -> Error {
    Error::new(Code::BadResponse, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn answered(status: u16, body: impl ToString) -> Result<IssuedKey, Error> {
        let reply = Reply::new(status, body.to_string().into_bytes());
        issued_key(&reply, &Redactor::default())
    }

    fn expires_in(value: Value) -> Result<Option<Duration>, Code> {
        answered(200, json!({"access_token": "key", "expires_in": value}))
            .map(|key| key.expires_in)
            .map_err(|error| error.code)
    }

    #[test]
    fn the_form_is_rfc_8693s() {
        let terms = Terms {
            subject_token_type: ID_TOKEN.into(),
            requested_token_type: ACCESS_TOKEN.into(),
            client_id: Some("c d".into()),
            params: vec![("scope".into(), "a b".into()), ("scope".into(), "é".into())],
        };
        assert_eq!(
            *terms.form(&SubjectToken(Secret::new("a.b+c/d="))),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
             &subject_token=a.b%2Bc%2Fd%3D\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &client_id=c+d&scope=a+b&scope=%C3%A9"
        );
    }

    #[test]
    fn every_spelling_of_expires_in() {
        let some = |milliseconds| Ok(Some(Duration::from_millis(milliseconds)));
        assert_eq!(expires_in(json!(3600)), some(3_600_000));
        assert_eq!(expires_in(json!(0.5)), some(500));
        assert_eq!(expires_in(json!("3600")), some(3_600_000));
        assert_eq!(expires_in(json!("59.25")), some(59_250));
        assert_eq!(expires_in(json!(null)), Ok(None));
        assert_eq!(expires_in(json!(1e300)), Ok(Some(Duration::MAX)));
        assert_eq!(
            expires_in(json!(u64::MAX)).map(|life| life.is_some()),
            Ok(true)
        );
        for bad in [
            json!(0),
            json!(-1),
            json!(-0.5),
            json!("0"),
            json!("-1"),
            json!("1e3"),
            json!(""),
            json!(" 1"),
            json!("1."),
            json!(".5"),
            json!("NaN"),
            json!("inf"),
            json!("9".repeat(400)),
            json!(true),
            json!([1]),
            json!({}),
        ] {
            assert_eq!(expires_in(bad.clone()), Err(Code::BadResponse), "{bad}");
        }
        let absent = answered(200, json!({"access_token": "key"})).unwrap();
        assert_eq!(absent.expires_in, None);
        let infinite = answered(200, r#"{"access_token":"key","expires_in":1e999}"#).unwrap_err();
        assert_eq!(infinite.code, Code::BadResponse);
    }

    #[test]
    fn a_key_is_visible_ascii_before_any_format_sees_it() {
        for bad in [
            json!(""),
            json!("a\npassword=b"),
            json!("a b"),
            json!("é"),
            json!(1),
            json!(null),
        ] {
            let error = answered(200, json!({"access_token": bad})).unwrap_err();
            assert_eq!(error.code, Code::BadResponse);
        }
    }

    #[test]
    fn what_each_refusal_means() {
        let oauth = |error: &str, description: &str| {
            json!({"error": error, "error_description": description}).to_string()
        };
        let cases = [
            (
                400,
                oauth("invalid_grant", "no matching trusted publisher"),
                Code::NoMatch,
            ),
            (400, oauth("invalid_grant", ""), Code::NoMatch),
            (
                400,
                oauth("invalid_grant", "Ambiguous match"),
                Code::AmbiguousMatch,
            ),
            (
                400,
                oauth("invalid_grant", "could not verify token"),
                Code::VerificationFailed,
            ),
            (401, oauth("invalid_client", "who?"), Code::Refused),
            (
                400,
                oauth("unsupported_grant_type", ""),
                Code::UnsupportedServer,
            ),
            (400, oauth("slow_down", ""), Code::Refused),
            (
                404,
                r#"{"code":4,"error":"Not found here."}"#.into(),
                Code::UnsupportedServer,
            ),
            (404, "<html>".into(), Code::UnsupportedServer),
            (401, String::new(), Code::Refused),
            (403, "<html>".into(), Code::Refused),
            (400, "nonsense".into(), Code::BadResponse),
            (405, String::new(), Code::BadResponse),
            (
                201,
                json!({"access_token": "key"}).to_string(),
                Code::BadResponse,
            ),
            (302, String::new(), Code::UnsafeEndpoint),
            (307, String::new(), Code::UnsafeEndpoint),
            (429, String::new(), Code::Unavailable),
            (500, oauth("server_error", ""), Code::Unavailable),
            (502, "<html>".into(), Code::Unavailable),
            (200, "<html>".into(), Code::BadResponse),
            (200, "[]".into(), Code::BadResponse),
        ];
        for (status, body, code) in cases {
            let error = answered(status, &body).unwrap_err();
            assert_eq!(error.code, code, "{status} {body}");
            if status != 200 {
                assert_eq!(error.http_status, Some(status), "{status} {body}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_reply_is_a_key_or_one_clean_error(status in 200u16..600, body: Vec<u8>) {
            let reply = Reply::new(status, body);
            if let Err(error) = issued_key(&reply, &Redactor::default()) {
                let clean = |text: &String| !text.contains(char::is_control);
                prop_assert!(clean(&error.message) && error.hints.iter().all(clean));
            }
        }

        #[test]
        fn no_answer_shows_the_token(
            said in "[ -~]{0,20}", cut in 0usize..40, length in 12usize..40,
        ) {
            let token = "hhhhhhhhhh0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
            let redactor = Redactor::default().with(&Secret::new(token));
            let echo = format!("{said}{}", token.get(cut..(cut + length).min(token.len())).unwrap());
            let body = json!({"error": "invalid_grant", "error_description": echo}).to_string();
            let reply = Reply::new(400, body.into_bytes());
            let error = issued_key(&reply, &redactor).unwrap_err();
            let shown = format!("{}{:?}", error.message, error.hints);
            for piece in token.as_bytes().windows(12) {
                prop_assert!(!shown.contains(std::str::from_utf8(piece).unwrap()), "{shown}");
            }
        }
    }
}

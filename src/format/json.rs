//! `json`: the program's own protocol, version 1 (`protocol.md`).

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Credential;
use crate::error::{Code, Error};
use crate::secret::Secret;
use crate::settings::{Field, Layer, LayerKind, TIMEOUT_RULE, seconds};

/// The version of the protocol that is spoken.
const VERSION: u64 = 1;
/// The most bytes of a request.
const REQUEST_LIMIT: u64 = 1024 * 1024;

/// The fields of a request that are no texts.
pub(crate) const OTHER_FIELDS: [&str; 5] = ["version", "insecure", "check", "timeout", "params"];

/// Reads one request, without waiting for the end of input.
///
/// # Errors
/// `bad_request`, `unsupported_version`, or `timeout`. They name fields and places, never values.
pub(crate) fn read_request(from: &mut dyn Read) -> Result<Map<String, Value>, Error> {
    let mut object = OneObject {
        from,
        read: 0,
        began: false,
    };
    let mut deserializer = serde_json::Deserializer::from_reader(&mut object);
    match Value::deserialize(&mut deserializer) {
        Ok(Value::Object(request)) => Ok(request),
        Ok(_) => Err(bad("the request is not a JSON object")),
        Err(error) => Err(unreadable(&error, &object)),
    }
}

fn unreadable(error: &serde_json::Error, request: &OneObject) -> Error {
    match (error.classify(), error.io_error_kind()) {
        (_, Some(io::ErrorKind::InvalidData)) => bad("the request is not a JSON object")
            .hint(r#"a request is {"version":1} with the settings as its fields"#),
        (_, Some(io::ErrorKind::FileTooLarge)) => {
            bad(format!("the request is longer than {REQUEST_LIMIT} bytes"))
        }
        (_, Some(io::ErrorKind::TimedOut)) => Error::new(
            Code::Timeout,
            "the deadline passed while waiting for the request on stdin",
        ),
        (serde_json::error::Category::Io, _) => bad("the request on stdin cannot be read"),
        (serde_json::error::Category::Eof, _) if !request.began => {
            bad("the request on stdin is empty")
                .hint(r#"a request is {"version":1} with the settings as its fields"#)
        }
        (serde_json::error::Category::Eof, _) => bad("the request ends before its object does"),
        _ => bad(format!(
            "the request is not valid JSON at line {}, column {}",
            error.line(),
            error.column()
        )),
    }
}

/// A stream of which the first character but white space must open an object, so that nothing
/// else is waited for.
struct OneObject<'a> {
    from: &'a mut dyn Read,
    read: u64,
    began: bool,
}

impl Read for &mut OneObject<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        let chunk = buffer.get(..length).unwrap_or_default();
        self.read += length as u64;
        if self.read > REQUEST_LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if !self.began {
            match chunk.trim_ascii_start().first() {
                None => {}
                Some(b'{') => self.began = true,
                Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(length)
    }
}

/// The settings of a request.
///
/// # Errors
/// As for [`read_request`].
pub(crate) fn layer(request: &Map<String, Value>) -> Result<Layer, Error> {
    match request.get("version") {
        None | Some(Value::Null) => {
            return Err(bad("version is missing in the request").hint(format!(
                "the version spoken is {VERSION}: {{\"version\":{VERSION}}}"
            )));
        }
        Some(Value::Number(version)) if version.as_u64() == Some(VERSION) => {}
        Some(Value::Number(version)) if version.is_u64() || version.is_i64() => {
            let message = format!("the request's version is not spoken here; {VERSION} is");
            return Err(Error::new(Code::UnsupportedVersion, message));
        }
        Some(_) => return Err(wrong_type("version", "an integer")),
    }
    let mut layer = Layer::new(LayerKind::Request);
    for field in Field::ALL {
        match request.get(field.name()) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => layer.set(field, text.into())?,
            Some(_) => return Err(wrong_type(field.name(), "a string")),
        }
    }
    layer.insecure = flag(request, "insecure")?;
    layer.check = flag(request, "check")?;
    layer.timeout = match request.get("timeout") {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => match number.as_f64().and_then(seconds) {
            None => return Err(bad(format!("timeout in the request {TIMEOUT_RULE}"))),
            timeout => timeout,
        },
        Some(_) => return Err(wrong_type("timeout", "a number of seconds")),
    };
    layer.params = match request.get("params") {
        None | Some(Value::Null) => None,
        Some(Value::Object(params)) => Some(texts(params)?),
        Some(_) => return Err(wrong_type("params", "an object of strings")),
    };
    Ok(layer)
}

/// The key that `erase` is told of.
///
/// # Errors
/// `bad_request`.
pub(crate) fn refused_key(request: &Map<String, Value>) -> Result<Option<Secret>, Error> {
    match request.get("api_key") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if key.is_empty() => Err(bad("api_key in the request is empty")),
        Some(Value::String(key)) => Ok(Some(Secret::new(key))),
        Some(_) => Err(wrong_type("api_key", "a string")),
    }
}

fn flag(request: &Map<String, Value>, field: &str) -> Result<Option<bool>, Error> {
    match request.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(wrong_type(field, "true or false")),
    }
}

fn texts(params: &Map<String, Value>) -> Result<Vec<(String, String)>, Error> {
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        _ => Err(wrong_type("params", "an object of strings")),
    };
    params.iter().map(text).collect()
}

fn wrong_type(field: &str, wanted: &str) -> Error {
    bad(format!("{field} in the request is not {wanted}"))
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

#[derive(Serialize)]
struct Answer<'a> {
    version: u64,
    server: &'a str,
    api_key: &'a str,
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Option<&'a str>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    version: u64,
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    code: &'a str,
    message: &'a str,
    hints: &'a [String],
    http_status: Option<u16>,
    oauth_error: Option<&'a str>,
    retryable: bool,
}

pub(super) fn render(credential: &Credential) -> String {
    line(&Answer {
        version: VERSION,
        server: credential.server.as_str(),
        api_key: credential.api_key.expose(),
        expires_at: credential.expires_at.map(|expiry| expiry.to_string()),
        user: credential.checked.as_ref().map(Option::as_deref),
    })
}

pub(super) fn render_failure(error: &Error) -> String {
    line(&Failure {
        version: VERSION,
        error: Detail {
            code: error.code.row().name,
            message: &error.message,
            hints: &error.hints,
            http_status: error.http_status,
            oauth_error: error.oauth_error.as_deref(),
            retryable: error.retryable,
        },
    })
}

/// A document and a line feed. Numbers, strings and lists cannot fail to become JSON.
pub(super) fn line(document: &impl Serialize) -> String {
    let mut line = serde_json::to_string(document).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Layer, Error> {
        let mut from = bytes;
        layer(&read_request(&mut from)?)
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(".{0,8}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_one_clean_error(bytes: Vec<u8>, object in "\\{.{0,40}") {
            for bytes in [bytes.as_slice(), object.as_bytes()] {
                if let Err(error) = read(bytes) {
                    prop_assert!(!error.message.contains(char::is_control));
                }
            }
        }

        #[test]
        fn a_field_of_any_type_is_taken_or_named_without_its_value(
            name in prop_oneof![
                Just("server"), Just("identity_token"), Just("audience"), Just("insecure"),
                Just("timeout"), Just("params"), Just("check"), Just("version"),
            ],
            value in any_json(),
        ) {
            let mut request = serde_json::json!({"version": 1});
            request[name] = value.clone();
            if let Err(error) = read(request.to_string().as_bytes()) {
                prop_assert!(error.message.contains(name), "{}", error.message);
                if let Some(text) = value.as_str().filter(|text| text.len() > 8) {
                    prop_assert!(!error.message.contains(text), "{}", error.message);
                }
            }
        }
    }
}

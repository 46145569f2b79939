//! Knows how a request looks on the wire, and nothing of what to answer.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::time::Instant;

const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// One request as the server received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which accepted connection it came on, counted from 0.
    pub connection: usize,
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When its last byte had arrived.
    pub at: Instant,
}

impl Request {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body's fields, decoded as `application/x-www-form-urlencoded`.
    pub fn form(&self) -> Vec<(String, String)> {
        let body = std::str::from_utf8(&self.body).expect("a form is ASCII");
        let pairs = body.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (form_decode(name), form_decode(value))
            })
            .collect()
    }

    /// The only form field of this name; a field sent twice is a mistake.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut values = self.form().into_iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value);
        assert!(
            values.next().is_none(),
            "the form field {name} was sent twice"
        );
        value
    }

    /// Whether the client allows another request on this connection.
    pub fn keeps_connection(&self) -> bool {
        let connection = self.header("connection").unwrap_or("").to_ascii_lowercase();
        match self.version.as_str() {
            "HTTP/1.0" => connection.contains("keep-alive"),
            _ => !connection.contains("close"),
        }
    }

    /// Reads the next request. `None` when the client left instead of sending one.
    pub fn read(
        source: &mut impl Read,
        pending: &mut Vec<u8>,
        connection: usize,
    ) -> Result<Option<Request>, String> {
        let Some(head) = Head::read(source, pending)? else {
            return Ok(None);
        };
        let (method, target, version) = head.request_line()?;
        if version == "HTTP/1.1" && head.count("host") != 1 {
            return Err(format!(
                "{} Host headers in {:?}",
                head.count("host"),
                head.line
            ));
        }
        let mut take = |length: usize| {
            while pending.len() < length {
                if read_more(source, pending) == 0 {
                    return Err(format!(
                        "the client left inside the body of {:?}",
                        head.line
                    ));
                }
            }
            Ok(pending.drain(..length).collect::<Vec<u8>>())
        };
        let body = match head.is_chunked() {
            true => chunks(&mut take)?,
            false => take(head.body_length()?)?,
        };
        Ok(Some(Request {
            connection,
            method,
            target,
            version,
            headers: head.headers,
            body,
            at: Instant::now(),
        }))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.method, self.target, self.version)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{}", String::from_utf8_lossy(&self.body))
    }
}

/// A request's first line and headers.
#[derive(Clone, Debug)]
pub struct Head {
    pub line: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Reads up to the empty line and leaves what follows in `pending`.
    pub fn read(source: &mut impl Read, pending: &mut Vec<u8>) -> Result<Option<Head>, String> {
        loop {
            if let Some(end) = pending.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = pending.drain(..end + 4).collect();
                return Head::parse(&head[..end]).map(Some);
            }
            if pending.len() > HEAD_LIMIT {
                return Err(format!("a request head over {HEAD_LIMIT} bytes"));
            }
            if read_more(source, pending) == 0 {
                return match pending.as_slice() {
                    [] => Ok(None),
                    some => Err(format!(
                        "the client left inside a request head: {}",
                        text(some)
                    )),
                };
            }
        }
    }

    /// The line's method, target and version.
    pub fn request_line(&self) -> Result<(String, String, String), String> {
        let parts: Vec<&str> = self.line.split(' ').collect();
        match parts[..] {
            [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")]
                if is_token(method) && !target.is_empty() =>
            {
                Ok((method.into(), target.into(), version.into()))
            }
            _ => Err(format!("not a request line: {:?}", self.line)),
        }
    }

    fn parse(head: &[u8]) -> Result<Head, String> {
        let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
        let head = match std::str::from_utf8(head) {
            Ok(head) if head.as_bytes().iter().all(printable) => head,
            _ => return Err(format!("not printable ASCII: {}", text(head))),
        };
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(parse_header).collect::<Result<_, _>>()?;
        Ok(Head { line, headers })
    }

    fn count(&self, name: &str) -> usize {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .count()
    }

    /// Whether the body comes in chunks, as rsconnect uploads a bundle. The program never does that.
    fn is_chunked(&self) -> bool {
        let user_agent = self.header("user-agent").unwrap_or_default();
        let is_program = user_agent.starts_with("connect-credential/");
        !is_program && self.header("transfer-encoding") == Some("chunked")
    }

    fn body_length(&self) -> Result<usize, String> {
        if self.count("transfer-encoding") > 0 || self.count("content-length") > 1 {
            return Err(format!(
                "a body without one Content-Length after {:?}",
                self.line
            ));
        }
        match self.header("content-length") {
            None => Ok(0),
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                let length = digits.parse().ok().filter(|length| *length <= BODY_LIMIT);
                length.ok_or_else(|| format!("a body of {digits:?} bytes is not read"))
            }
            Some(other) => Err(format!("not a Content-Length: {other:?}")),
        }
    }
}

/// A body of chunks without trailers (RFC 9112 section 7.1), by taking one length after another.
fn chunks(mut take: impl FnMut(usize) -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let mut line = take(2)?;
        while !line.ends_with(b"\r\n") {
            line.extend(take(1)?);
        }
        let digits = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let length = usize::from_str_radix(&digits, 16).ok();
        let length = length.filter(|length| *length <= BODY_LIMIT);
        let length = length.ok_or_else(|| format!("not the size of a chunk: {digits:?}"))?;
        body.extend(take(length)?);
        if take(2)? != b"\r\n" {
            return Err(format!("a chunk of more than {length} bytes"));
        }
        if length == 0 {
            return Ok(body);
        }
    }
}

fn parse_header(line: &str) -> Result<(String, String), String> {
    match line.split_once(':') {
        Some((name, value)) if is_token(name) && !value.contains(['\r', '\n']) => {
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        }
        _ => Err(format!("not a header: {line:?}")),
    }
}

fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = headers
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.as_str())
}

/// Appends what comes next; 0 means that nothing will, whether the client closed or reset.
fn read_more(source: &mut impl Read, pending: &mut Vec<u8>) -> usize {
    let mut buffer = [0; 16 * 1024];
    loop {
        match source.read(&mut buffer) {
            Ok(count) => {
                pending.extend_from_slice(&buffer[..count]);
                return count;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

fn form_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
                bytes.push(byte.unwrap_or_else(|| panic!("not percent-encoded: {text:?}")));
                rest = &after[2..];
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("form fields are UTF-8")
}

fn text(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

//! Knows what a reply is made of and how it goes wrong, as data; sending it is the server's part.

use std::time::Duration;

use serde_json::Value;

/// An answer to one request: a well-formed one unless told otherwise.
///
/// `{origin}` in headers and body stands for the server's own URL, which a test cannot know
/// while it writes the script.
#[derive(Clone, Debug)]
pub struct Reply {
    start: Start,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
    endless: Endless,
    announce_close: bool,
    then: Option<Then>,
    pub(super) delay: Duration,
    pub(super) pace: Option<Duration>,
    pub(super) limit: Option<usize>,
}

#[derive(Clone, Debug)]
enum Start {
    Status { version: &'static str, code: u16 },
    Raw,
}

#[derive(Clone, Debug, PartialEq)]
enum Framing {
    Length,
    WrongLength(u64),
    Chunked,
    UntilClose,
}

#[derive(Clone, Debug, PartialEq)]
enum Endless {
    No,
    Body(Vec<u8>),
    Head(Vec<u8>),
}

/// What becomes of the connection after the reply, or after its last byte that is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    Keep,
    Close,
    CutPolitely,
    Cut,
    Reset,
    Hold,
    Forge,
    CloseAtNext,
    ResetAtNext,
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Reply {
        Reply::of(status, "application/json", body.to_string().into_bytes())
    }

    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply::of(status, "text/plain; charset=utf-8", body.into())
    }

    pub fn html(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply::of(status, "text/html; charset=utf-8", body.into())
    }

    /// A status and no body.
    pub fn status(status: u16) -> Reply {
        Reply {
            headers: Vec::new(),
            ..Reply::text(status, "")
        }
    }

    /// These bytes and no others, then a close; `keep` leaves the connection open.
    ///
    /// What describes a head (headers, framing, version) does not apply.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Reply {
        let then = Some(Then::Close);
        Reply {
            start: Start::Raw,
            body: bytes.into(),
            then,
            ..Reply::status(0)
        }
    }

    /// Interim replies that no final one follows.
    pub fn endless_1xx() -> Reply {
        Reply::raw("").endless("HTTP/1.1 100 Continue\r\n\r\n")
    }

    fn of(status: u16, content_type: &str, body: Vec<u8>) -> Reply {
        Reply {
            start: Start::Status {
                version: "HTTP/1.1",
                code: status,
            },
            headers: vec![("Content-Type".into(), content_type.into())],
            body,
            framing: Framing::Length,
            endless: Endless::No,
            announce_close: false,
            then: None,
            delay: Duration::ZERO,
            pace: None,
            limit: None,
        }
    }

    /// Adds a header, or replaces the `Content-Type` that came with the body.
    pub fn header(mut self, name: &str, value: &str) -> Reply {
        if name.eq_ignore_ascii_case("content-type") {
            self.headers
                .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        }
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Declares no length: the body ends with the connection.
    pub fn without_length(self) -> Reply {
        Reply {
            framing: Framing::UntilClose,
            ..self
        }
    }

    /// Sends the body in several chunks.
    pub fn chunked(self) -> Reply {
        Reply {
            framing: Framing::Chunked,
            ..self
        }
    }

    /// Declares this `Content-Length`, whatever the body's is.
    pub fn length(self, length: u64) -> Reply {
        Reply {
            framing: Framing::WrongLength(length),
            ..self
        }
    }

    /// Answers as HTTP/1.0, which closes the connection.
    pub fn http10(mut self) -> Reply {
        if let Start::Status { version, .. } = &mut self.start {
            *version = "HTTP/1.0";
        }
        self
    }

    /// Announces the close with `Connection: close`, and closes.
    pub fn close(self) -> Reply {
        Reply {
            announce_close: true,
            ..self
        }
        .then(Then::Close)
    }

    /// Closes right after the reply, which does not announce it.
    pub fn close_silently(self) -> Reply {
        self.then(Then::Close)
    }

    /// Keeps the connection also where the kind of reply would close it.
    pub fn keep(self) -> Reply {
        self.then(Then::Keep)
    }

    /// Loses the kept connection: the next request on it is read and answered with a close.
    ///
    /// That request takes no step; it is counted as lost.
    pub fn close_before_next(self) -> Reply {
        self.then(Then::CloseAtNext)
    }

    /// As `close_before_next`, with a TCP reset.
    pub fn reset_before_next(self) -> Reply {
        self.then(Then::ResetAtNext)
    }

    /// Sends `bytes` bytes of the reply, or all if it has fewer, and then a TCP reset.
    pub fn reset_after(self, bytes: usize) -> Reply {
        self.stop_after(bytes, Then::Reset)
    }

    /// Sends `bytes` bytes and then FIN, without the TLS close_notify.
    pub fn cut_after(self, bytes: usize) -> Reply {
        self.stop_after(bytes, Then::Cut)
    }

    /// Sends `bytes` bytes and then close_notify and FIN.
    pub fn cut_politely_after(self, bytes: usize) -> Reply {
        self.stop_after(bytes, Then::CutPolitely)
    }

    /// Sends `bytes` bytes and nothing more while the connection stays open.
    pub fn silence_after(self, bytes: usize) -> Reply {
        self.stop_after(bytes, Then::Hold)
    }

    /// Sends `bytes` bytes and then a TLS record that nobody signed.
    pub fn forge_after(self, bytes: usize) -> Reply {
        self.stop_after(bytes, Then::Forge)
    }

    /// Sends one byte at a time, with a pause after each.
    pub fn drip(self, pause: Duration) -> Reply {
        Reply {
            pace: Some(pause),
            ..self
        }
    }

    /// Waits before the first byte.
    pub fn delay(self, delay: Duration) -> Reply {
        Reply { delay, ..self }
    }

    /// Repeats these bytes after the body, up to a cap that no client should reach.
    ///
    /// A chunked body repeats them as chunks; one with a true length loses the length.
    pub fn endless(self, bytes: impl Into<Vec<u8>>) -> Reply {
        Reply {
            endless: Endless::Body(bytes.into()),
            ..self
        }
    }

    /// Repeats these bytes, header lines most likely, where the head would have ended.
    pub fn endless_head(self, bytes: impl Into<Vec<u8>>) -> Reply {
        Reply {
            endless: Endless::Head(bytes.into()),
            ..self
        }
    }

    fn then(self, then: Then) -> Reply {
        Reply {
            then: Some(then),
            ..self
        }
    }

    fn stop_after(self, bytes: usize, then: Then) -> Reply {
        Reply {
            limit: Some(bytes),
            ..self
        }
        .then(then)
    }

    /// What follows the reply: what the test said, or what the kind of reply implies.
    pub(super) fn ending(&self) -> Then {
        let http10 = matches!(
            self.start,
            Start::Status {
                version: "HTTP/1.0",
                ..
            }
        );
        let unbounded = self.framing == Framing::UntilClose || self.endless != Endless::No;
        self.then.unwrap_or(if http10 || unbounded {
            Then::Close
        } else {
            Then::Keep
        })
    }

    /// How many bytes it is long, without an `{origin}` in it.
    pub fn size(&self) -> usize {
        self.render("", "GET").bytes.len()
    }

    /// How a list of steps names this reply.
    pub(super) fn summary(&self) -> String {
        let what = match self.start {
            Start::Status { code, .. } => code.to_string(),
            Start::Raw => "raw bytes".into(),
        };
        match self.limit {
            Some(limit) => format!("{what}, {:?} after {limit} bytes", self.ending()),
            None => what,
        }
    }

    /// The reply's bytes, the same again for ever when `repeated` is not empty.
    pub(super) fn render(&self, origin: &str, method: &str) -> Rendered {
        let body = with_origin(&self.body, origin);
        let Start::Status { version, code } = self.start else {
            return Rendered {
                bytes: body,
                repeated: self.repeated(origin),
            };
        };
        let mut bytes = format!("{version} {code} {}\r\n", reason(code)).into_bytes();
        bytes.extend(self.head_fields(code, body.len(), origin));
        if !matches!(self.endless, Endless::Head(_)) {
            bytes.extend(b"\r\n");
            if method != "HEAD" {
                bytes.extend(self.framed(&body));
            }
        }
        Rendered {
            bytes,
            repeated: self.repeated(origin),
        }
    }

    fn head_fields(&self, code: u16, body_length: usize, origin: &str) -> Vec<u8> {
        let mut fields = String::new();
        for (name, value) in &self.headers {
            fields += &format!("{name}: {value}\r\n");
        }
        let bodiless = matches!(code, 100..=199 | 204 | 304);
        match self.framing {
            Framing::Length if self.endless == Endless::No && !bodiless => {
                fields += &format!("Content-Length: {body_length}\r\n");
            }
            Framing::WrongLength(length) => fields += &format!("Content-Length: {length}\r\n"),
            Framing::Chunked => fields += "Transfer-Encoding: chunked\r\n",
            Framing::Length | Framing::UntilClose => {}
        }
        if self.announce_close {
            fields += "Connection: close\r\n";
        }
        with_origin(fields.as_bytes(), origin)
    }

    fn framed(&self, body: &[u8]) -> Vec<u8> {
        if self.framing != Framing::Chunked {
            return body.to_vec();
        }
        // Uneven parts, so that a reader of chunks has boundaries to cross.
        let mut chunks: Vec<u8> = body.chunks(body.len() / 3 + 1).flat_map(chunk).collect();
        if self.endless == Endless::No {
            chunks.extend(b"0\r\n\r\n");
        }
        chunks
    }

    fn repeated(&self, origin: &str) -> Vec<u8> {
        match &self.endless {
            Endless::No => Vec::new(),
            Endless::Body(bytes) if self.framing == Framing::Chunked => {
                chunk(&with_origin(bytes, origin))
            }
            Endless::Body(bytes) | Endless::Head(bytes) => with_origin(bytes, origin),
        }
    }
}

/// A reply as it goes out.
pub struct Rendered {
    pub bytes: Vec<u8>,
    pub repeated: Vec<u8>,
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat()
}

/// Works on bytes, because a body need not be text.
fn with_origin(bytes: &[u8], origin: &str) -> Vec<u8> {
    const PLACEHOLDER: &[u8] = b"{origin}";
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest
        .windows(PLACEHOLDER.len())
        .position(|part| part == PLACEHOLDER)
    {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(origin.as_bytes());
        rest = &rest[at + PLACEHOLDER.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Scripted",
    }
}

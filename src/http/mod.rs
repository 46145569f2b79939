//! HTTP: requests out, bounded replies in, tries, and what a failed one means.
//!
//! The only user of `ureq`. Knows no OAuth and no format.

mod trust;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, header};
use ureq::{Agent, http};
use url::Url;
use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::error::{Code, Error};
use crate::output::Log;
use crate::proxy::{Proxies, Route};
use crate::secret::Secret;
use crate::words::Redactor;
pub(crate) use trust::Trust;
use wire::{Dialer, Failure, Lookup, Progress};

/// The most bytes of a reply's body.
const BODY_LIMIT: u64 = 1024 * 1024;
/// The most bytes of a reply's head. Well under the input buffer, or a longer one would look
/// like a connection that was cut.
const HEAD_LIMIT: usize = 16 * 1024;
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 16 * 1024;

/// The most tries of a request whose connection failed, or that a gateway answered.
const TRIES: u32 = 3;
/// The first wait between tries; each further one is twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The name that the program gives itself.
pub(crate) const USER_AGENT: &str = concat!("connect-credential/", env!("CARGO_PKG_VERSION"));

/// A client: one deadline, one trust, one way out, and the connections that it keeps.
pub(crate) struct Http {
    agent: Agent,
    deadline: Deadline,
    proxies: Proxies,
    progress: Arc<Progress>,
    seed: u64,
    log: Log,
}

/// A request. Its URL may carry a query but no secret, since it is shown in messages.
pub(crate) struct Request<'a> {
    /// What it is for, as messages name it: "the exchange".
    pub(crate) purpose: &'static str,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    pub(crate) method: Method<'a>,
}

/// What is asked of the server.
#[derive(Clone, Copy)]
pub(crate) enum Method<'a> {
    Get,
    /// A form-encoded POST: repeated only where the server cannot have acted on it.
    Form(&'a str),
    /// Another POST, of a media type, that may be repeated like a GET.
    Post(&'static str, &'a [u8]),
}

impl Method<'_> {
    fn may_repeat(self) -> bool {
        !matches!(self, Self::Form(_))
    }
}

/// A reply: plain values, so that whoever reads it stays pure.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// When the try that was answered began (UTC).
    pub(crate) sent: SystemTime,
    pub(crate) location: Option<String>,
    /// The server's clock, as its `Date` header spells it.
    pub(crate) date: Option<String>,
    retry_after: Option<Duration>,
}

impl Reply {
    /// A reply as tests of the pure parts make it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            body: Zeroizing::new(body),
            sent: SystemTime::UNIX_EPOCH,
            location: None,
            date: None,
            retry_after: None,
        }
    }

    /// What a status means wherever nothing more special is known of it.
    pub(crate) fn unexpected(&self, purpose: &str) -> Error {
        let status = self.status;
        let error = match status {
            401 | 403 => Error::new(
                Code::Refused,
                format!("the server refused {purpose} (HTTP {status})"),
            ),
            429 => Error::new(
                Code::Unavailable,
                format!("the server is limiting requests and did not answer {purpose} (HTTP 429)"),
            ),
            500..=599 => Error::new(
                Code::Unavailable,
                format!("the server is not available for {purpose} (HTTP {status})"),
            ),
            _ => Error::new(
                Code::BadResponse,
                format!("the server answered {purpose} with HTTP {status}"),
            ),
        };
        match self.retry_after {
            Some(wait) if error.code == Code::Unavailable => error.hint(format!(
                "the server asked to wait {} s (Retry-After), try again then",
                wait.as_secs()
            )),
            _ => error,
        }
        .status(status)
    }
}

/// What a failed try leaves to be done.
enum Next {
    /// The request may be repeated, at most [`TRIES`] times in all.
    Repeat,
    /// It may not: the server could have acted on it.
    GiveUp,
}

impl Http {
    /// A client that has not connected to anything yet. `seed` makes the jitter of its waits. The
    /// redactor learns the password of each proxy that is used.
    pub(crate) fn new(
        deadline: Deadline,
        proxies: Proxies,
        trust: Trust,
        seed: u64,
        log: Log,
        redactor: Redactor,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(USER_AGENT)
            .accept("application/json")
            .accept_encoding(AutoHeaderValue::None)
            .max_response_header_size(HEAD_LIMIT)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_idle_age(deadline.timeout())
            .build();
        let lookup = Lookup::new(deadline, proxies.clone(), progress.clone());
        let dialer = Dialer::new(deadline, proxies.clone(), trust, progress.clone(), redactor);
        let agent = Agent::with_parts(config, dialer, lookup);
        Self {
            agent,
            deadline,
            proxies,
            progress,
            seed,
            log,
        }
    }

    /// Sends a request until it is answered, for as long as repeating it can help.
    ///
    /// # Errors
    /// `unreachable`, `tls`, `timeout`, `unavailable` or `bad_response`; any reply, whatever its
    /// status, is a reply, but for a 429 or 503 that is still there at the deadline.
    pub(crate) fn send(&self, request: &Request) -> Result<Reply, Error> {
        let (mut round, mut tries) = (0, 0);
        let mut wait = FIRST_WAIT;
        loop {
            round += 1;
            let jittered = self.jittered(wait, round);
            let (outcome, pause) = match self.try_once(request) {
                Ok(reply) if matches!(reply.status, 429 | 503) => {
                    let asked = reply.retry_after.unwrap_or_default();
                    (Err(reply.unexpected(request.purpose)), asked.max(jittered))
                }
                // A server that says it is busy costs none of the tries.
                outcome => {
                    tries += 1;
                    let repeats = match &outcome {
                        Ok(reply) => {
                            matches!(reply.status, 502 | 504) && request.method.may_repeat()
                        }
                        Err((_, next)) => matches!(next, Next::Repeat),
                    };
                    let outcome = outcome.map_err(|(error, _)| error);
                    if !repeats || tries == TRIES {
                        return outcome;
                    }
                    (outcome, jittered)
                }
            };
            if self.deadline.remaining().is_none_or(|left| left <= pause) {
                return outcome;
            }
            match &outcome {
                Ok(reply) => self
                    .log
                    .tell(format_args!("HTTP {}, trying again", reply.status)),
                Err(error) => self.log.tell(format_args!("{error}, trying again")),
            }
            std::thread::sleep(pause);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Waits before another try that the caller decided on; false where the deadline is nearer.
    pub(crate) fn pause(&self, tries: u32) -> bool {
        let pause = self.jittered(FIRST_WAIT * tries, tries);
        let fits = self.deadline.remaining().is_some_and(|left| left > pause);
        if fits {
            std::thread::sleep(pause);
        }
        fits
    }

    /// Half to all of a wait, so that callers that failed together do not return together.
    fn jittered(&self, wait: Duration, tries: u32) -> Duration {
        // SplitMix64: one well mixed number for each try out of the run's seed.
        let mut mixed = self
            .seed
            .wrapping_add(u64::from(tries).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let permille = 500 + (mixed >> 32) % 501;
        wait.mul_f64(permille as f64 / 1_000.0)
    }

    fn try_once(&self, request: &Request) -> Result<Reply, (Error, Next)> {
        self.log.tell(format_args!("{request}"));
        self.progress.begin();
        let sent = (self.deadline.clock().utc)();
        let outcome = self.call(request).and_then(|mut response| {
            let body = response
                .body_mut()
                .with_config()
                .limit(BODY_LIMIT)
                .read_to_vec()?;
            Ok((response, body))
        });
        match outcome {
            Ok((response, body)) => {
                let header = |name| text_header(response.headers(), name);
                let reply = Reply {
                    status: response.status().as_u16(),
                    body: Zeroizing::new(body),
                    sent,
                    location: header(header::LOCATION),
                    date: header(header::DATE),
                    retry_after: header(header::RETRY_AFTER)
                        .as_deref()
                        .and_then(delta_seconds),
                };
                let (status, length) = (reply.status, reply.body.len());
                self.log.tell(format_args!("HTTP {status}, {length} bytes"));
                Ok(reply)
            }
            Err(error) => Err(self.failure(request, error)),
        }
    }

    fn call(&self, request: &Request) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let mut builder = http::Request::builder().uri(request.url.as_str());
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        let post = |builder: http::request::Builder, media_type, body| {
            builder
                .method("POST")
                .header(header::CONTENT_TYPE, media_type)
                .body(body)
        };
        match request.method {
            Method::Get => self.agent.run(builder.body(())?),
            Method::Form(form) => {
                let media_type = "application/x-www-form-urlencoded";
                self.agent.run(post(builder, media_type, form.as_bytes())?)
            }
            Method::Post(media_type, body) => self.agent.run(post(builder, media_type, body)?),
        }
    }

    /// What a failed try means, and whether the request may be repeated after it.
    fn failure(&self, request: &Request, error: ureq::Error) -> (Error, Next) {
        let purpose = request.purpose;
        let host = host_and_port(request.url);
        let way = match self.proxies.route(request.url) {
            Ok(Route::Via(proxy)) => format!("{host} through the proxy {proxy}"),
            _ => host.clone(),
        };
        if self.deadline.has_passed() {
            let seconds = self.deadline.timeout().as_secs_f64();
            let doing = self.progress.doing(&way);
            let message =
                format!("the deadline of {seconds} s passed while {doing}, for {purpose}");
            return (Error::new(Code::Timeout, message), Next::GiveUp);
        }
        let bad = |with: String| {
            let message = format!("{host} answered {purpose} with {with}");
            (Error::new(Code::BadResponse, message), Next::GiveUp)
        };
        let no_http = || bad("a reply that cannot be read as HTTP".to_owned());
        match wire::undisguised(error) {
            ureq::Error::Other(error) => match error.downcast::<Failure>() {
                Ok(failure) => {
                    let next = match failure.may_repeat() {
                        true => Next::Repeat,
                        false => Next::GiveUp,
                    };
                    (failure.into_error(&host, &way), next)
                }
                Err(_) => no_http(),
            },
            ureq::Error::Io(error) => match wire::tls_error(&error) {
                Some(tls) => {
                    let error = trust::explain(tls, &host, self.deadline.clock());
                    (error, Next::GiveUp)
                }
                None => {
                    let error = self.dropped(&way, purpose, &error);
                    (error, self.after_drop(request))
                }
            },
            ureq::Error::LargeResponseHeader(..) => {
                bad(format!("headers of over {HEAD_LIMIT} bytes"))
            }
            ureq::Error::BodyExceedsLimit(_) => bad(format!("over {BODY_LIMIT} bytes")),
            _ => no_http(),
        }
    }

    fn dropped(&self, host: &str, purpose: &str, error: &std::io::Error) -> Error {
        let how = match error.kind() {
            std::io::ErrorKind::ConnectionReset => "reset",
            std::io::ErrorKind::UnexpectedEof => "closed",
            _ => "lost",
        };
        let when = if self.progress.heard() {
            "in the middle of"
        } else {
            "before"
        };
        Error::new(
            Code::Unreachable,
            format!("the connection to {host} was {how} {when} the reply to {purpose}"),
        )
    }

    /// What may be repeated is so after any dropped connection; the exchange only where a kept one went
    /// before any byte of the reply, as it does when the server closes it for having been idle.
    fn after_drop(&self, request: &Request) -> Next {
        let unanswered = self.progress.was_kept() && !self.progress.heard();
        match request.method.may_repeat() || unanswered {
            true => Next::Repeat,
            false => Next::GiveUp,
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            Method::Get => "GET",
            _ => "POST",
        };
        let mut url = self.url.clone();
        url.set_query(None);
        write!(f, "{}: {method} {url}", self.purpose)
    }
}

/// A URL's host and port, for messages.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn text_header(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3); a date counts as absent.
fn delta_seconds(value: &str) -> Option<Duration> {
    let digits = value.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than fit are longer than any deadline all the same.
    Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

/// The header of a key or request token.
pub(crate) fn authorization(scheme: &str, secret: &Secret) -> Secret {
    Secret::new(format!("{scheme} {}", secret.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_seconds_only() {
        assert_eq!(delta_seconds("3"), Some(Duration::from_secs(3)));
        assert_eq!(delta_seconds(" 0 "), Some(Duration::ZERO));
        assert_eq!(
            delta_seconds(&"9".repeat(30)),
            Some(Duration::from_secs(u64::MAX))
        );
        for absent in ["", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"] {
            assert_eq!(delta_seconds(absent), None, "{absent}");
        }
    }
}

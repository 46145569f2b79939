//! `git`: git's credential-helper protocol, `key=value` lines to a blank line or the end.

use std::io::{BufRead, BufReader, Read};

use url::Url;

use super::Credential;
use crate::error::{Code, Error};
use crate::input::Unread;
use crate::secret::Secret;
use crate::server::ServerUrl;

/// The user name that goes with a key, and the only one that is answered.
const USERNAME: &str = "connect";
/// git's own bound on a line, in bytes.
const LINE_LIMIT: usize = 65_535;
const REQUEST_LIMIT: u64 = 1024 * 1024;

/// What git asks about.
#[derive(Debug, Default)]
pub(crate) struct Question {
    protocol: Option<String>,
    host: Option<String>,
    path: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
    credential: Option<Secret>,
    /// The scheme of `credential`.
    scheme: Option<String>,
    /// Whether git takes a credential with a scheme of its own (git 2.46 and later).
    authtype: bool,
    /// Whether an attribute came twice: nobody can know which is meant.
    ambiguous: bool,
}

/// Reads a request. Only a line feed ends a line, whatever else stands in it.
///
/// # Errors
/// `bad_request` for what is no request of git's, or `timeout`.
pub(crate) fn read_request(from: &mut dyn Read) -> Result<Question, Error> {
    let mut question = Question::default();
    let mut lines = BufReader::new(from.take(REQUEST_LIMIT));
    loop {
        let mut line = Vec::new();
        // One byte more than the longest line and its line feed tells a longer one.
        let mut bounded = (&mut lines).take(LINE_LIMIT as u64 + 2);
        bounded.read_until(b'\n', &mut line).map_err(|error| {
            Unread::from(error).into_error(Code::BadRequest, "the request on stdin".into())
        })?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.is_empty() {
            return Ok(question);
        }
        if line.len() > LINE_LIMIT {
            return Err(bad(format!(
                "a line of the request is longer than {LINE_LIMIT} bytes"
            )));
        }
        question.take(&line)?;
    }
}

impl Question {
    fn take(&mut self, line: &[u8]) -> Result<(), Error> {
        if line.contains(&0) {
            return Err(bad("a line of the request holds a NUL byte"));
        }
        let equals = line.iter().position(|byte| *byte == b'=');
        let (key, value) = equals
            .and_then(|equals| line.split_at_checked(equals))
            .ok_or_else(|| bad("a line of the request is not key=value"))?;
        // What is not UTF-8 matches nothing that it is compared with.
        let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default()).into_owned();
        let slot = match key {
            b"protocol" => &mut self.protocol,
            b"host" => &mut self.host,
            b"path" => &mut self.path,
            b"username" => &mut self.username,
            b"authtype" => &mut self.scheme,
            b"password" => {
                self.password = Some(Secret::new(value));
                return Ok(());
            }
            b"credential" => {
                self.credential = Some(Secret::new(value));
                return Ok(());
            }
            b"capability[]" => {
                self.authtype |= value == "authtype";
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.ambiguous |= slot.replace(value).is_some();
        Ok(())
    }

    /// Whether git asks about this very server: scheme, host, port and prefix.
    pub(crate) fn is_about(&self, server: &ServerUrl) -> bool {
        let (Some(protocol), Some(host)) = (&self.protocol, &self.host) else {
            return false;
        };
        let named_otherwise = self.username.as_ref().is_some_and(|name| name != USERNAME);
        if self.ambiguous || named_otherwise || protocol != server.url().scheme() {
            return false;
        }
        // git decodes hosts, so `h%23.evil` comes as `h#.evil`: only what hosts are made of may
        // reach a URL parser.
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c) || !c.is_ascii();
        if host.is_empty() || !host.chars().all(is_host) {
            return false;
        }
        let Ok(asked) = Url::parse(&format!("{protocol}://{host}/")) else {
            return false;
        };
        asked.origin() == server.origin() && self.is_below(server)
    }

    /// Whether the path, which git sends without its leading slash, lies below the prefix.
    fn is_below(&self, server: &ServerUrl) -> bool {
        if server.prefix() == "/" {
            return true;
        }
        let path = self.path.as_deref().unwrap_or_default();
        !path.contains(['\\', '%']) && server.covers(&format!("/{path}"))
    }

    /// The key that `erase` is told of, if it is one of ours: git hands a helper the secrets of
    /// other helpers too, and those must go nowhere.
    pub(crate) fn refused_key(&self) -> Option<Secret> {
        let key = match (self.username.as_deref(), self.scheme.as_deref()) {
            (Some(USERNAME), _) if self.password.is_some() => &self.password,
            (_, Some("Key")) => &self.credential,
            _ => return None,
        };
        key.clone().filter(|key| !key.expose().is_empty())
    }

    pub(crate) fn takes_authtype(&self) -> bool {
        self.authtype
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

pub(super) fn render(credential: &Credential, authtype: bool) -> String {
    let key = credential.api_key.expose();
    let mut lines = match authtype {
        true => format!(
            "capability[]=authtype\nauthtype={}\ncredential={key}\nephemeral=1\n",
            credential.scheme
        ),
        false => format!("username={USERNAME}\npassword={key}\n"),
    };
    if let Some(expiry) = credential.expires_at {
        lines.push_str(&format!("password_expiry_utc={}\n", expiry.unix()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_answered(server: &str, request: &str) -> bool {
        let server = ServerUrl::parse(server).unwrap();
        read_request(&mut request.as_bytes()).is_ok_and(|question| question.is_about(&server))
    }

    #[test]
    fn a_request_is_answered_for_the_servers_own_scheme_host_port_and_prefix() {
        let cases = [
            ("https://h", "protocol=https\nhost=h\n", true),
            ("https://h", "protocol=https\nhost=H\n\n", true),
            ("https://h", "protocol=https\nhost=h:443\n", true),
            ("https://h:8443", "protocol=https\nhost=h:8443\n", true),
            (
                "https://h",
                "protocol=https\nhost=h\npath=any/../thing\n",
                true,
            ),
            (
                "https://h",
                "protocol=https\nhost=h\nusername=connect\n",
                true,
            ),
            (
                "https://bücher.example",
                "protocol=https\nhost=bücher.example\n",
                true,
            ),
            (
                "https://bücher.example",
                "protocol=https\nhost=xn--bcher-kva.example\n",
                true,
            ),
            ("https://[::1]:1", "protocol=https\nhost=[::1]:1\n", true),
            (
                "https://h/rsc",
                "protocol=https\nhost=h\npath=rsc/repo.git\n",
                true,
            ),
            ("https://h/rsc", "protocol=https\nhost=h\npath=rsc\n", true),
            ("https://h", "protocol=http\nhost=h\n", false),
            ("https://h", "protocol=https\nhost=h:8443\n", false),
            ("https://h", "protocol=https\nhost=h.evil\n", false),
            ("https://h", "protocol=https\nhost=h#.evil\n", false),
            ("https://h", "protocol=https\nhost=u@h\n", false),
            ("https://h", "protocol=https\nhost=h/x\n", false),
            ("https://h", "protocol=https\nhost=h\\x\n", false),
            ("https://h", "protocol=https\nhost=h%2f\n", false),
            ("https://h", "protocol=https\nhost=h\r\n", false),
            ("https://h", "protocol=https\nhost=\n", false),
            ("https://h", "protocol=https\n", false),
            ("https://h", "host=h\n", false),
            ("https://h", "", false),
            ("https://h", "protocol=https\nhost=evil\nhost=h\n", false),
            ("https://h", "protocol=https\nhost=h\nusername=ada\n", false),
            ("https://h/rsc", "protocol=https\nhost=h\n", false),
            (
                "https://h/rsc",
                "protocol=https\nhost=h\npath=rscx/a\n",
                false,
            ),
            (
                "https://h/rsc",
                "protocol=https\nhost=h\npath=rsc/../a\n",
                false,
            ),
            (
                "https://h/rsc",
                "protocol=https\nhost=h\npath=rsc/./a\n",
                false,
            ),
            (
                "https://h/rsc",
                "protocol=https\nhost=h\npath=rsc/%2e%2e/a\n",
                false,
            ),
            (
                "https://h/rsc",
                "protocol=https\nhost=h\npath=rsc\\a\n",
                false,
            ),
        ];
        for (server, request, answered) in cases {
            assert_eq!(
                is_answered(server, request),
                answered,
                "{server} {request:?}"
            );
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        for request in [
            "protocol\n".to_owned(),
            "protocol=https\nhost=h\0\n".to_owned(),
            format!("host={}\n", "h".repeat(70_000)),
        ] {
            let error = read_request(&mut request.as_bytes()).unwrap_err();
            assert_eq!(error.code, Code::BadRequest);
        }
        let longest = format!("x={}\nprotocol=https\nhost=h\n", "y".repeat(LINE_LIMIT - 2));
        assert!(is_answered("https://h", &longest));
    }

    proptest! {
        #[test]
        fn a_key_is_answered_for_the_servers_own_url_only(
            protocol in "(https|http|HTTPS|ftp)",
            host in "(h|H|evil|h:443|h:444|h\\.evil|evil\\.h|u@h|h#|h/|[!-~é]){1,2}",
            path in "(rsc/|rsc|/|\\.\\./|\\./|x|%2e){0,4}",
        ) {
            let request = format!("protocol={protocol}\nhost={host}\npath={path}\n");
            if is_answered("https://h/rsc", &request) {
                prop_assert_eq!(protocol, "https");
                prop_assert!(["h", "h:443"].contains(&host.to_lowercase().as_str()), "{}", host);
                prop_assert!(path == "rsc" || path.starts_with("rsc/"), "{}", path);
                prop_assert!(!path.split('/').any(|segment| segment == ".."), "{}", path);
            }
        }

        #[test]
        fn any_bytes_are_a_request_or_one_clean_error(bytes: Vec<u8>) {
            let server = ServerUrl::parse("https://h/").unwrap();
            if let Ok(question) = read_request(&mut bytes.as_slice()) {
                let _ = question.is_about(&server);
            }
        }
    }
}

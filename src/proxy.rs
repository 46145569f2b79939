//! Which way a connection goes: straight, or through a proxy named in the environment.
//!
//! Pure: the variables come in as values. The rules are curl's, except that a proxy that cannot
//! be used is an error and never a straight connection.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::error::Error;
use crate::secret::Secret;

/// The proxy variables, unset where empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    https: Option<Variable>,
    http: Option<Variable>,
    no_proxy: Option<String>,
}

/// A proxy's URL and the variable that it came from. The URL may hold a password.
#[derive(Clone, Debug)]
struct Variable {
    name: &'static str,
    value: Secret,
}

/// The way to a server.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Direct,
    Via(Proxy),
}

/// An HTTP proxy that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`, where the URL has credentials.
    pub(crate) authorization: Option<Secret>,
    /// The password, so that it can be cut out of what a proxy says.
    pub(crate) password: Option<Secret>,
}

impl Proxies {
    /// Reads the variables through `get`, which yields non-empty values only. Lower case comes
    /// first; `HTTP_PROXY` is not read, since a CGI server sets it from a request's header, except
    /// on Windows, where it is `http_proxy`, for curl too.
    pub(crate) fn new(get: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|&name| {
                let value = Secret::new(get(name)?);
                Some(Variable { name, value })
            })
        };
        Self {
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            no_proxy: get("no_proxy").or_else(|| get("NO_PROXY")),
        }
    }

    /// The way to a URL's host.
    ///
    /// # Errors
    /// `usage` where a proxy is named that cannot be used.
    pub(crate) fn route(&self, to: &Url) -> Result<Route, Error> {
        let variable = match to.scheme() {
            "https" => &self.https,
            _ => &self.http,
        };
        match variable {
            Some(variable) if !self.is_excepted(to) => variable.proxy().map(Route::Via),
            _ => Ok(Route::Direct),
        }
    }

    fn is_excepted(&self, to: &Url) -> bool {
        let (Some(no_proxy), Some(host)) = (&self.no_proxy, to.host()) else {
            return false;
        };
        // curl takes the star for all hosts only where it stands alone.
        if no_proxy.trim() == "*" {
            return true;
        }
        let port = to.port_or_known_default();
        let mut entries = no_proxy
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty());
        entries.any(|entry| excepts(entry, &host, port))
    }
}

/// Whether one entry of `NO_PROXY` names a host.
fn excepts(entry: &str, host: &Host<&str>, port: Option<u16>) -> bool {
    let (name, entry_port) = split_port(entry);
    if entry_port.is_some_and(|wanted| wanted.parse().ok() != port) {
        return false;
    }
    let address = match host {
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        Host::Domain(_) => None,
    };
    if let (Some(address), Some((network, bits))) = (address, name.split_once('/')) {
        return bits
            .parse()
            .is_ok_and(|bits| is_in_network(address, network, bits));
    }
    match (address, host) {
        (Some(address), _) => unbracketed(name).parse() == Ok(address),
        (None, Host::Domain(host)) => is_suffix(name, host),
        (None, _) => false,
    }
}

/// Splits `host:port` and `[address]:port`; a bare IPv6 address has no port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if name.ends_with(']') || !name.contains(':') => (name, Some(port)),
        _ => (entry, None),
    }
}

fn unbracketed(name: &str) -> &str {
    name.strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name)
}

/// Suffixes on a dot boundary, with or without a leading dot, in any case.
fn is_suffix(name: &str, host: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let host = host.strip_suffix('.').unwrap_or(host);
    let Some(start) = host.len().checked_sub(name.len()) else {
        return false;
    };
    !name.is_empty()
        && host.is_char_boundary(start)
        && host.split_at(start).1.eq_ignore_ascii_case(name)
        && (start == 0 || host.as_bytes().get(start - 1) == Some(&b'.'))
}

fn is_in_network(address: IpAddr, network: &str, bits: u32) -> bool {
    let (address, network, width) = match (address, unbracketed(network).parse()) {
        (IpAddr::V4(address), Ok(IpAddr::V4(network))) => {
            (address.to_bits().into(), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), Ok(IpAddr::V6(network))) => {
            (address.to_bits(), network.to_bits(), 128)
        }
        _ => return false,
    };
    // Shifting by a type's whole width overflows, and then nothing is left to compare.
    bits <= width
        && address.checked_shr(width - bits).unwrap_or(0)
            == network.checked_shr(width - bits).unwrap_or(0)
}

impl Variable {
    fn proxy(&self) -> Result<Proxy, Error> {
        let name = self.name;
        let text = self.value.expose().trim();
        let unusable =
            |why: &str| Error::usage(format!("the proxy in {name} cannot be used: {why}"));
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(unusable("only http:// proxies are supported").hint(format!(
                "name an http:// proxy in {name}, or the server in NO_PROXY"
            )));
        }
        // What was not UTF-8 has come as U+FFFD.
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || "\\\u{fffd}".contains(c);
        if rest.contains(is_bad) {
            return Err(unusable("its URL is not valid"));
        }
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if behind.contains('@') || authority.matches('@').count() > 1 {
            let why = "its user name or password must be percent-encoded";
            return Err(unusable(why));
        }
        let url =
            Url::parse(&format!("http://{rest}")).map_err(|_| unusable("its URL is not valid"))?;
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(unusable("its URL has no host")),
        };
        let decoded = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
        let password = url.password().map(decoded);
        let user = decoded(url.username());
        let authorization = (!user.is_empty() || password.is_some()).then(|| {
            let password = password.as_deref().unwrap_or_default();
            let credentials = [user.as_slice(), b":", password].concat();
            Secret::new(format!("Basic {}", BASE64_STANDARD.encode(credentials)))
        });
        Ok(Proxy {
            host,
            // curl's default, 1080, is for SOCKS; an HTTP proxy without a port is on http's.
            port: url.port().unwrap_or(if has_port(rest) { 80 } else { 1080 }),
            authorization,
            password: password.map(|bytes| Secret::new(String::from_utf8_lossy(&bytes))),
        })
    }
}

/// Whether an authority names a port, which [`Url`] drops where it is the scheme's own.
fn has_port(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    split_port(host_and_port).1.is_some()
}

impl fmt::Display for Proxy {
    /// Its name, without its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Code;

    fn route(variables: &[(&str, &str)], to: &str) -> String {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match Proxies::new(get).route(&Url::parse(to).unwrap()) {
            Ok(Route::Direct) => "direct".into(),
            Ok(Route::Via(proxy)) => proxy.to_string(),
            Err(error) => {
                assert_eq!(error.code, Code::Usage);
                error.message
            }
        }
    }

    #[test]
    fn which_variable_serves_which_scheme() {
        let all = [
            ("https_proxy", "a:1"),
            ("HTTPS_PROXY", "b:2"),
            ("http_proxy", "c:3"),
            ("HTTP_PROXY", "d:4"),
            ("all_proxy", "e:5"),
            ("ALL_PROXY", "f:6"),
        ];
        assert_eq!(route(&all, "https://h/"), "a:1");
        assert_eq!(route(&all[1..], "https://h/"), "b:2");
        assert_eq!(route(&all[2..], "https://h/"), "e:5");
        assert_eq!(route(&all[5..], "https://h/"), "f:6");
        assert_eq!(route(&all, "http://h/"), "c:3");
        assert_eq!(route(&all[3..], "http://h/"), "e:5");
        assert_eq!(route(&all[3..4], "http://h/"), "direct");
        assert_eq!(route(&[], "https://h/"), "direct");
    }

    #[test]
    fn every_spelling_of_no_proxy() {
        let cases = [
            ("*", "https://h/", true),
            ("h", "https://h/", true),
            (" * ", "https://h/", true),
            ("a,*", "https://h/", false),
            ("H", "https://h/", true),
            ("example.com", "https://connect.example.com/", true),
            (".example.com", "https://connect.example.com/", true),
            (".example.com", "https://example.com/", true),
            ("example.com", "https://badexample.com/", false),
            ("connect.example.com", "https://example.com/", false),
            ("example.com.", "https://connect.example.com/", true),
            ("a, b example.com", "https://example.com/", true),
            ("example.com:443", "https://example.com/", true),
            ("example.com:8443", "https://example.com/", false),
            ("example.com:x", "https://example.com/", false),
            ("127.0.0.1", "https://127.0.0.1/", true),
            ("127.0.0.1:443", "https://127.0.0.1/", true),
            ("0.1", "https://127.0.0.1/", false),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("0.0.0.0/0", "https://11.1.2.3/", true),
            ("10.0.0.0/33", "https://10.0.0.0/", false),
            ("10.0.0.0/x", "https://10.0.0.0/", false),
            ("::1", "https://[::1]/", true),
            ("[::1]", "https://[::1]/", true),
            ("[::1]:8443", "https://[::1]:8443/", true),
            ("[::1]:8443", "https://[::1]/", false),
            ("fd00::/8", "https://[fd12::1]/", true),
            ("fd00::/8", "https://[fe12::1]/", false),
            ("10.0.0.0/8", "https://[::1]/", false),
            (",", "https://h/", false),
            (".", "https://h/", false),
        ];
        for (no_proxy, to, excepted) in cases {
            let way = route(&[("https_proxy", "p:1"), ("NO_PROXY", no_proxy)], to);
            assert_eq!(way == "direct", excepted, "{no_proxy} {to}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_that_shows_no_password() {
        let cases = [
            ("socks5://u:hunter2@p:1", "only http"),
            ("https://u:hunter2@p:1", "only http"),
            ("http://u:hunter2@p:99999", "not valid"),
            ("http://u:hunter2@", "not valid"),
            ("p :1", "not valid"),
            ("http://u:p@hunter2/x@p:1", "percent-encoded"),
            ("http://u:hunter2/x@p:1", "percent-encoded"),
            ("http://u:2345#hunter2@p:1", "percent-encoded"),
            ("http://\u{fffd}.example", "not valid"),
        ];
        for (value, why) in cases {
            let message = route(&[("https_proxy", value)], "https://h/");
            assert!(
                message.contains(why) && message.contains("https_proxy"),
                "{message}"
            );
            assert!(!message.contains("hunter2"), "{message}");
        }
        let unused = [("https_proxy", "socks5://p"), ("no_proxy", "h")];
        assert_eq!(route(&unused, "https://h/"), "direct");
    }

    #[test]
    fn a_proxys_port_and_credentials() {
        assert_eq!(route(&[("https_proxy", "p")], "https://h/"), "p:1080");
        assert_eq!(
            route(&[("https_proxy", "http://u@p:80/")], "https://h/"),
            "p:80"
        );
        assert_eq!(
            route(&[("https_proxy", "http://[::1]:3128")], "https://h/"),
            "[::1]:3128"
        );
        let get =
            |name: &str| (name == "all_proxy").then(|| "http://us%40er:p%20w%25@p:1".to_owned());
        let Ok(Route::Via(proxy)) = Proxies::new(get).route(&Url::parse("https://h").unwrap())
        else {
            panic!("no proxy")
        };
        let expected = format!("Basic {}", BASE64_STANDARD.encode("us@er:p w%"));
        assert_eq!(proxy.authorization.unwrap().expose(), expected);
        assert_eq!(proxy.password.unwrap().expose(), "p w%");
    }

    proptest! {
        #[test]
        fn any_variables_are_a_route_or_one_clean_error(
            proxy in "[ -~é]{0,30}", no_proxy in "[ -~é]{0,30}",
        ) {
            let way = route(&[("https_proxy", &proxy), ("no_proxy", &no_proxy)], "https://10.0.0.1/");
            prop_assert!(!way.contains(char::is_control));
        }

        #[test]
        fn a_host_named_in_no_proxy_is_never_proxied(host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}") {
            let to = format!("https://{host}/");
            prop_assert_eq!(route(&[("https_proxy", "p"), ("no_proxy", &host)], &to), "direct");
            let other = format!("https://x{host}/");
            prop_assert_eq!(route(&[("https_proxy", "p"), ("no_proxy", &host)], &other), "p:1080");
        }
    }
}

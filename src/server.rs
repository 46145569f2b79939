//! Where the token may go: the server's URL, and the endpoint rule that keeps it there.
//!
//! Pure.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::{Origin, Url};

use crate::error::{Code, Error};
use crate::words::Redactor;

/// A Connect server: https (or http, where the operator said `--insecure`), a host, no userinfo,
/// no query, no fragment, and a path that ends in a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl(Url);

impl ServerUrl {
    /// The URL as people type it: without a scheme it is https; a trailing `/__api__`, a
    /// fragment and surrounding spaces are dropped. The error says what is wrong with it, to
    /// stand behind the name of where it came from.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let text = text.split('#').next().unwrap_or_default();
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("holds white space or a control character");
        }
        if text.contains('\\') {
            return Err("holds a backslash");
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err("has a scheme other than https");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err("has no host");
        }
        if authority.contains('@') {
            return Err("holds a user name or password, which has no place in it");
        }
        if rest.contains('?') {
            return Err("holds a query (?), which has no place in it");
        }
        let mut url =
            Url::parse(&format!("{scheme}://{rest}")).map_err(|_| "is not a valid URL")?;
        let mut path = url.path().trim_end_matches('/');
        // Each of them, so that what is shown is read again as the same server.
        while let Some(above) = path.strip_suffix("/__api__") {
            path = above.trim_end_matches('/');
        }
        let path = format!("{path}/");
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The server that a token endpoint belongs to when no server was named: its origin.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let mut url = endpoint.0.clone();
        url.set_path("/");
        url.set_query(None);
        Self(url)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host without brackets or port.
    pub(crate) fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    pub(crate) fn origin(&self) -> Origin {
        self.0.origin()
    }

    /// The path prefix with both its slashes; `/` where there is none.
    pub(crate) fn prefix(&self) -> &str {
        self.0.path()
    }

    /// A URL of this server, given by its path below the prefix.
    pub(crate) fn join(&self, below: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{below}", self.prefix()));
        url
    }

    /// Whether a URL is this server or lies below it.
    pub(crate) fn holds(&self, url: &Url) -> bool {
        url.origin() == self.origin() && url.path().starts_with(self.prefix())
    }

    /// Whether a path is this server's prefix or lies below it, on a segment boundary. A path
    /// with dot segments lies nowhere.
    pub(crate) fn covers(&self, path: &str) -> bool {
        !has_dot_segments(path) && format!("{path}/").starts_with(self.prefix())
    }

    /// Where a reply to `from` may redirect discovery: inside the same origin, or from http to
    /// https on the same host, at any port. The server at the origin that it leads to, and the
    /// URL to ask next.
    pub(crate) fn redirected(
        &self,
        from: &Url,
        location: &str,
        redactor: &Redactor,
    ) -> Result<(Self, Url), Error> {
        let bad = || Error::new(Code::BadResponse, "a redirect without a usable Location");
        let mut to = from.join(location).map_err(|_| bad())?;
        to.set_fragment(None);
        let upgraded =
            from.scheme() == "http" && to.scheme() == "https" && from.host() == to.host();
        let userinfo = !to.username().is_empty() || to.password().is_some();
        if userinfo || !(upgraded || to.origin() == from.origin()) {
            let origin = to.origin().ascii_serialization();
            let message = format!(
                "discovery was redirected to another origin, {}",
                redactor.quote(&origin)
            );
            return Err(Error::new(Code::UnsafeEndpoint, message));
        }
        let mut moved = to.clone();
        moved.set_path(self.prefix());
        moved.set_query(None);
        Ok((Self(moved), to))
    }

    /// The endpoint rule (section 3 of the design): of what the server's metadata advertises
    /// only path and query are used, below this server's own origin and prefix; what is made to
    /// confuse URL parsers is no endpoint at all.
    ///
    /// # Errors
    /// What is wrong with it, to stand behind the name of the member.
    pub(crate) fn endpoint(&self, advertised: &str) -> Result<Advertised, &'static str> {
        if advertised.contains('\\') {
            return Err("holds a backslash");
        }
        if advertised.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("holds white space or a control character");
        }
        if advertised.contains('#') {
            return Err("holds a fragment");
        }
        let (authority, rest) = split_authority(advertised)?;
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err("holds a user name or password");
        }
        let path = rest.split('?').next().unwrap_or_default();
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        if has_dot_segments(&decoded) {
            return Err("holds dot segments");
        }
        let resolved = self.0.join(advertised).map_err(|_| "is not a valid URL")?;

        let mut own = self.0.clone();
        own.set_path(&match resolved.path().strip_prefix(self.prefix()) {
            Some(_) => resolved.path().to_owned(),
            None => format!(
                "{}{}",
                self.prefix(),
                resolved.path().trim_start_matches('/')
            ),
        });
        own.set_query(resolved.query());
        if !self.holds(&own) {
            return Err("does not stay below the server's URL");
        }
        let elsewhere =
            (resolved.origin() != self.origin()).then(|| resolved.origin().ascii_serialization());
        Ok(Advertised {
            endpoint: Endpoint(own),
            elsewhere,
        })
    }
}

fn has_dot_segments(path: &str) -> bool {
    path.split(['/', '\\'])
        .any(|segment| [".", ".."].contains(&segment))
}

/// Splits an advertised endpoint into its authority, if it has one, and what follows.
fn split_authority(advertised: &str) -> Result<(Option<&str>, &str), &'static str> {
    let schemeless = match advertised.split_once(':') {
        // A colon before any slash or query ends a scheme.
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
                return Err("has a scheme other than http and https");
            }
            if !rest.starts_with("//") {
                return Err("is not a valid URL");
            }
            rest
        }
        _ => advertised,
    };
    let Some(rest) = schemeless.strip_prefix("//") else {
        return Ok((None, schemeless));
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest.split_at(end) {
        ("", _) => Err("is not a valid URL"),
        (authority, rest) => Ok((Some(authority), rest)),
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A URL that a token may be sent to: built only by the endpoint rule, from Connect's own paths,
/// or from what the operator named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(Url);

impl Endpoint {
    /// A place of Connect's own, given by its path below the server's URL.
    pub(crate) fn of_connect(server: &ServerUrl, below: &str) -> Self {
        Self(server.join(below))
    }

    /// `--token-endpoint`: taken as given, because the operator named it.
    ///
    /// # Errors
    /// What is wrong with it, to stand behind the name of where it came from.
    pub(crate) fn named(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("holds white space or a control character");
        }
        let url = Url::parse(text).map_err(|_| "is not a valid URL")?;
        match url.scheme() {
            "https" | "http" if url.has_host() => {}
            _ => return Err("has a scheme other than https"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user name or password, which has no place in it");
        }
        if url.fragment().is_some() || text.contains('\\') {
            return Err("holds a fragment or a backslash");
        }
        Ok(Self(url))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

/// What the endpoint rule made of an advertised endpoint.
#[derive(Debug)]
pub(crate) struct Advertised {
    pub(crate) endpoint: Endpoint,
    /// The origin that was advertised, where it is not the server's own.
    pub(crate) elsewhere: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(text: &str) -> ServerUrl {
        ServerUrl::parse(text).unwrap()
    }

    #[test]
    fn a_server_is_read_as_people_type_it() {
        let cases = [
            ("connect.example.com", "https://connect.example.com/"),
            ("localhost:3939", "https://localhost:3939/"),
            (
                " https://Connect.Example.com:443/ ",
                "https://connect.example.com/",
            ),
            ("https://h/rsc/__api__/", "https://h/rsc/"),
            ("https://h/rsc/__api__", "https://h/rsc/"),
            ("https://h/__api__", "https://h/"),
            ("https://h/__api__//__api__/", "https://h/"),
            ("https://h/connect/#/apps/?x=a b", "https://h/connect/"),
            ("http://h//", "http://h/"),
            ("[::1]:8443/p", "https://[::1]:8443/p/"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ];
        for (text, normalised) in cases {
            assert_eq!(server(text).as_str(), normalised, "{text}");
        }
    }

    #[test]
    fn a_bad_server_is_refused_with_its_reason() {
        let cases = [
            ("https://user@h/", "user name"),
            ("https://@h/", "user name"),
            ("https://u:p@h/", "user name"),
            ("https://h/?x", "query"),
            ("https://h\\@evil/", "backslash"),
            ("https://h/a b", "white space"),
            ("https://h/a\u{7f}b", "control"),
            ("https://h/a\u{a0}b", "white space"),
            ("ftp://h/", "scheme"),
            ("https://", "no host"),
            ("https:///h", "no host"),
            ("", "no host"),
            ("https:h", "valid URL"),
            ("https://h:99999/", "valid URL"),
            ("https://[::1/", "valid URL"),
        ];
        for (text, reason) in cases {
            let error = ServerUrl::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn of_an_advertised_endpoint_only_path_and_query_are_used() {
        let cases = [
            (
                "https://h/",
                "https://h/oauth/token",
                "https://h/oauth/token",
            ),
            (
                "https://h/",
                "http://inner:3939/oauth/token?a=b",
                "https://h/oauth/token?a=b",
            ),
            ("https://h/", "//evil.example/token", "https://h/token"),
            ("https://h/", "/token", "https://h/token"),
            ("https://h/", "oauth/token", "https://h/oauth/token"),
            (
                "https://h/rsc/",
                "https://h/rsc/token",
                "https://h/rsc/token",
            ),
            ("https://h/rsc/", "https://h/token", "https://h/rsc/token"),
            (
                "https://h/rsc/",
                "https://h/rscx/token",
                "https://h/rsc/rscx/token",
            ),
            ("https://h/rsc/", "/token", "https://h/rsc/token"),
            (
                "https://h/rsc/",
                "token?a=/../b",
                "https://h/rsc/token?a=/../b",
            ),
            ("https://h/", "https://h", "https://h/"),
            ("https://h/", "HTTPS://H:443/token", "https://h/token"),
            ("https://h/", "https://h/a%2Fb", "https://h/a%2Fb"),
            ("https://h:8443/", "https://h/token", "https://h:8443/token"),
        ];
        for (url, advertised, endpoint) in cases {
            let made = server(url).endpoint(advertised).unwrap();
            assert_eq!(made.endpoint.url().as_str(), endpoint, "{url} {advertised}");
        }
    }

    #[test]
    fn an_endpoint_made_to_confuse_is_no_endpoint() {
        for advertised in [
            "https://user@h/token",
            "https://h@evil/token",
            "https://h\\@evil/token",
            "/\\evil/token",
            "https://h/to ken",
            "https://h/to\tken",
            "https://h/to\nken",
            "https://h/to\u{2003}ken",
            "https://h/token#frag",
            "https://h/../token",
            "https://h/a/./token",
            "https://h/%2e%2E/token",
            "https://h/a%2f..%2ftoken",
            "https://h/a%5c..%5ctoken",
            "ftp://h/token",
            "javascript:alert(1)",
            "https:/token",
            "https:token",
            "https:///evil/token",
            "https://h:99999/token",
            "https://[::1/token",
        ] {
            assert!(
                server("https://h/").endpoint(advertised).is_err(),
                "{advertised}"
            );
        }
    }

    #[test]
    fn discovery_is_redirected_inside_the_origin_or_up_to_https() {
        let at = |server: &str, location: &str| {
            let server = ServerUrl::parse(server).unwrap();
            server
                .redirected(
                    &server.join(".well-known/x"),
                    location,
                    &Redactor::default(),
                )
                .map(|(server, url)| (server.to_string(), url.to_string()))
                .map_err(|error| error.code)
        };
        let moved = |server: &str, url: &str| Ok((server.to_owned(), url.to_owned()));
        assert_eq!(
            at("https://h/p", "/y#f"),
            moved("https://h/p/", "https://h/y")
        );
        assert_eq!(
            at("http://h/p", "https://h:8443/y"),
            moved("https://h:8443/p/", "https://h:8443/y")
        );
        for unsafe_one in [
            "https://other/",
            "//other/",
            "http://h/",
            "https://h:1/",
            "/\\other/",
            "https://u@h/",
            "https://h.evil/",
            "ftp://h/",
        ] {
            assert_eq!(
                at("https://h/", unsafe_one),
                Err(Code::UnsafeEndpoint),
                "{unsafe_one}"
            );
        }
        assert_eq!(at("http://h/", "https://other/"), Err(Code::UnsafeEndpoint));
        assert_eq!(at("https://h/", "https://["), Err(Code::BadResponse));
    }

    fn url_pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("https://"),
            Just("http://"),
            Just("//"),
            Just("/"),
            Just("h"),
            Just("evil.com"),
            Just("@"),
            Just("\\"),
            Just(".."),
            Just("."),
            Just("%2e"),
            Just("%2F"),
            Just("%5c"),
            Just("?"),
            Just("#"),
            Just(":"),
            Just(":8443"),
            Just("\t"),
            Just("rsc"),
            Just("。"),
            Just("token"),
            Just("[::1]"),
            Just("ſ"),
            Just("%00"),
            Just(";"),
            Just("&"),
        ];
        proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn an_accepted_endpoint_has_the_servers_origin_and_prefix(
            advertised in prop_oneof![url_pieces(), any::<String>()],
            url in prop_oneof![Just("https://h/"), Just("https://h:8443/rsc/"), Just("http://[::1]/a/b/")],
        ) {
            let server = server(url);
            if let Ok(made) = server.endpoint(&advertised) {
                let text = made.endpoint.url().as_str();
                prop_assert!(text.starts_with(server.as_str()), "{text}");
                prop_assert!(!text.contains(['\\', '#', '@']) || advertised.contains('@'), "{text}");
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
                prop_assert!(!made.endpoint.url().path().split('/').any(|s| s == ".." || s == "."));
            }
        }

        #[test]
        fn an_accepted_server_is_bare_and_reads_back_as_itself(
            text in prop_oneof![url_pieces(), any::<String>()],
        ) {
            if let Ok(server) = ServerUrl::parse(&text) {
                let url = server.url();
                prop_assert!(["http", "https"].contains(&url.scheme()));
                prop_assert!(url.username().is_empty() && url.password().is_none());
                prop_assert!(url.query().is_none() && url.fragment().is_none());
                prop_assert!(url.path().ends_with('/'));
                prop_assert_eq!(ServerUrl::parse(server.as_str()), Ok(server.clone()));
            }
        }
    }
}

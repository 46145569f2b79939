//! What holds whatever bytes come from outside: one property for each parser of them.
//!
//! `tests/fuzz` looks for bytes that break one, by coverage; a test here holds each property
//! against what has been found so far.

use std::io::Read;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;

use crate::check;
use crate::environment::Environment;
use crate::error::{Code, Error};
use crate::exchange;
use crate::expiry::Expiry;
use crate::format::{Credential, Format, Question, bazel, git, json, kubernetes};
use crate::http::Reply;
use crate::identity::{self, Claims, Fetch, Provider};
use crate::metadata::Metadata;
use crate::proxy::{Proxies, Route};
use crate::refusal;
use crate::secret::{ApiKey, Secret, SubjectToken};
use crate::server::{Endpoint, ServerUrl};
use crate::settings::{Field, Layer, LayerKind, Settings};
use crate::words::Redactor;

/// Panics where the bytes break it.
type Property = fn(&[u8]);

/// The properties by name, which is also the name of the folder of their bytes.
pub const PROPERTIES: [(&str, Property); 14] = [
    ("json_request", json_request),
    ("git_request", git_request),
    ("kubernetes_exec_info", kubernetes_exec_info),
    ("bazel_request", bazel_request),
    ("metadata", metadata),
    ("redirect", redirect),
    ("token_reply", token_reply),
    ("check_reply", check_reply),
    ("jwt_claims", jwt_claims),
    ("provider_reply", provider_reply),
    ("proxy_rules", proxy_rules),
    ("server_url", server_url),
    ("settings", settings),
    ("words", words),
];

/// A secret that stands in what others say. None of its characters ends an escape such as `\n`,
/// which would make a piece of it out of what is none.
const SECRET: &str = "s3cuj8-987654321abcdefghi";

/// A server below a prefix, at a port of its own.
fn server() -> ServerUrl {
    ServerUrl::parse("https://h.example:8443/rsc").unwrap()
}

fn redactor() -> Redactor {
    Redactor::default().with(&Secret::new(SECRET))
}

/// What was read; an error is one line each, bounded, and without the secret.
fn is_clean<T>(outcome: Result<T, Error>) -> Option<T> {
    outcome
        .inspect_err(|error| {
            is_short(error);
            words_of(error).for_each(is_hidden);
        })
        .ok()
}

fn is_short(error: &Error) {
    for line in words_of(error) {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.chars().count() < 2_500, "{line:?}");
    }
}

fn words_of(error: &Error) -> impl Iterator<Item = &str> {
    error
        .hints
        .iter()
        .chain([&error.message])
        .map(String::as_str)
}

/// No 12 characters of the secret.
fn is_hidden(line: &str) {
    let line = line.to_ascii_lowercase();
    for piece in SECRET.as_bytes().windows(12) {
        assert!(
            !line.contains(std::str::from_utf8(piece).unwrap()),
            "{line}"
        );
    }
}

/// A reader that gives one byte at a time, as a slow caller does.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

/// A request is read alike however it arrives, and is settings or one clean error.
fn json_request(bytes: &[u8]) {
    let request = is_clean(json::read_request(&mut &*bytes));
    assert_eq!(request, is_clean(json::read_request(&mut Slowly(bytes))));
    let Some(request) = request else { return };
    let env = Environment::new(Vec::new());
    if let Some(layer) = is_clean(json::layer(&request)) {
        is_clean(Settings::resolve(&[layer], &env));
    }
    is_clean(json::refused_key(&request));
}

/// Only what names the server is answered, and only a key of ours is revoked.
fn git_request(bytes: &[u8]) {
    let question = is_clean(git::read_request(&mut &*bytes));
    let slowly = is_clean(git::read_request(&mut Slowly(bytes)));
    assert_eq!(question.is_some(), slowly.is_some());
    let Some(question) = question else { return };
    let text = String::from_utf8_lossy(bytes);
    let has = |line: &str| text.lines().any(|own| own.eq_ignore_ascii_case(line));
    if question.is_about(&server()) {
        assert!(has("protocol=https") && text.contains("path=rsc"), "{text}");
        assert!(text.to_lowercase().contains(":8443"), "{text}");
    }
    if question.refused_key().is_some() {
        assert!(has("username=connect") || has("authtype=Key"), "{text}");
    }
}

/// The cluster's data sets server and audience, and nothing else.
fn kubernetes_exec_info(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some((version, layer)) = is_clean(kubernetes::read_request(&text)) else {
        return;
    };
    for field in Field::ALL {
        let may_set = matches!(field, Field::Server | Field::Audience);
        assert!(may_set || layer.get(field).is_none());
    }
    let others = layer.insecure.or(layer.check);
    assert!(others.is_none() && layer.timeout.is_none() && layer.params.is_none());
    is_rendered(Format::Kubernetes, &Question::Kubernetes(version));
}

/// Only a URI of the server is answered.
fn bazel_request(bytes: &[u8]) {
    let Some(question) = is_clean(bazel::read_request(&mut &*bytes)) else {
        return;
    };
    if is_clean(question.check(&server())).is_some() {
        let request: Value = serde_json::Deserializer::from_slice(bytes)
            .into_iter()
            .next()
            .unwrap()
            .unwrap();
        let uri = Url::parse(request["uri"].as_str().unwrap()).unwrap();
        assert_eq!(uri.origin(), server().origin());
        assert!(format!("{}/", uri.path()).starts_with("/rsc/"), "{uri}");
    }
}

/// An endpoint is of the server's own origin and below its prefix, whatever is advertised.
fn metadata(bytes: &[u8]) {
    let Some(metadata) = is_clean(Metadata::parse(bytes)) else {
        return;
    };
    for server in [server(), ServerUrl::parse("http://[::1]").unwrap()] {
        let advertised = is_clean(metadata.token_endpoint(&server)).map(|found| found.endpoint);
        let revocation = is_clean(metadata.revocation_endpoint(&server)).flatten();
        for endpoint in advertised.into_iter().chain(revocation) {
            let url = endpoint.url();
            assert!(server.holds(url), "{url}");
            assert!(url.username().is_empty() && url.password().is_none());
            assert!(url.fragment().is_none() && !url.path().contains("/../"));
            // What is sent is what is read again on the other side.
            assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(url));
        }
    }
}

/// Discovery is not led to another host, nor from https to http.
fn redirect(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for server in [server(), ServerUrl::parse("http://h.example/rsc").unwrap()] {
        let from = server.join(".well-known/oauth-authorization-server");
        let redirected = server.redirected(&from, &text, &redactor());
        if let Some((moved, to)) = is_clean(redirected) {
            assert_eq!(to.host(), server.url().host());
            assert!(to.origin() == server.origin() || to.scheme() == "https");
            assert_eq!(moved.origin(), to.origin());
            assert_eq!(moved.prefix(), server.prefix());
            assert!(to.username().is_empty() && to.password().is_none());
        }
    }
}

/// The first byte is the reply's status, the rest its body.
fn reply(bytes: &[u8]) -> Option<Reply> {
    let (first, body) = bytes.split_first()?;
    let statuses = [200, 201, 301, 400, 401, 403, 404, 409, 429, 500, 503];
    let status = statuses[usize::from(*first) % statuses.len()];
    Some(Reply::new(status, body.to_vec()))
}

/// A key can stand in every format, and an error is clean and without what the server sent back.
fn token_reply(bytes: &[u8]) {
    let Some(reply) = reply(bytes) else { return };
    let issued = exchange::issued_key(&reply, &redactor());
    let issued = is_clean(issued.map_err(|error| {
        let token = claims(br#"{"iss":"https://i.example","sub":"s","aud":"connect","exp":1}"#);
        refusal::explain(error, token.as_ref(), &reply, UNIX_EPOCH, &redactor())
    }));
    let Some(issued) = issued else { return };
    assert_eq!(reply.status, 200);
    let expires_at = issued
        .expires_in
        .map(|life| Expiry::after(UNIX_EPOCH + Duration::from_secs(1_795_000_000), life));
    let credential = credential(issued.api_key, expires_at);
    for format in Format::ALL {
        is_answer(format, &credential, &Question::Plain);
    }
}

fn credential(api_key: ApiKey, expires_at: Option<Expiry>) -> Credential {
    Credential {
        server: server(),
        api_key,
        expires_at,
        scheme: "Key".into(),
        checked: None,
    }
}

fn is_rendered(format: Format, question: &Question) {
    let expiry = Some(Expiry::from_unix(1_795_000_000));
    let credential = credential(ApiKey::new(SECRET).unwrap(), expiry);
    is_answer(format, &credential, question);
}

/// An answer is as many lines as its format has, and what is JSON is read back as the key.
fn is_answer(format: Format, credential: &Credential, question: &Question) {
    let answer = format.render(credential, question);
    let answer = std::str::from_utf8(&answer).unwrap();
    let key = credential.api_key.expose();
    assert!(answer.is_ascii() && answer.ends_with('\n'), "{answer}");
    let expiries = usize::from(credential.expires_at.is_some());
    let (lines, pointer) = match format {
        Format::Json => (1, "/api_key"),
        Format::Kubernetes => (1, "/status/token"),
        Format::Aws => (1, "/SecretAccessKey"),
        Format::Bazel => (1, "/headers/Authorization/0"),
        Format::Git => (2 + expiries, ""),
        Format::Env => (2, ""),
        Format::Key | Format::Header | Format::Github => (1, ""),
    };
    assert_eq!(answer.lines().count(), lines, "{answer}");
    if !pointer.is_empty() {
        let document: Value = serde_json::from_str(answer).unwrap();
        let told = document.pointer(pointer).unwrap().as_str().unwrap();
        assert_eq!(
            told.strip_prefix("Key ").unwrap_or(told),
            key.strip_prefix("Key ").unwrap_or(key)
        );
    }
}

/// A user's name is clean and without the key.
fn check_reply(bytes: &[u8]) {
    let Some(reply) = reply(bytes) else { return };
    if let Some(Some(name)) = is_clean(check::read(&reply, &redactor())) {
        assert!(!name.contains(char::is_control), "{name:?}");
        is_hidden(&name);
    }
}

/// The claims of a token that has these bytes for its payload.
fn claims(payload: &[u8]) -> Option<Claims> {
    Claims::of(&SubjectToken(token(payload)))
}

fn token(payload: &[u8]) -> Secret {
    let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
    Secret::new(format!("e30.{payload}.c2ln"))
}

/// What a token claims is told in clean words, and no token for another audience passes.
fn jwt_claims(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Claims::of(&SubjectToken(Secret::new(&*text)));
    let token = SubjectToken(token(bytes));
    let claims = Claims::of(&token);
    match (
        identity::check_audience(Provider::Github, &token, "connect"),
        &claims,
    ) {
        (Ok(()), Some(claims)) => assert!(claims.audiences().contains(&"connect")),
        // What it claims is no secret.
        (Err(error), _) => is_short(&error),
        (Ok(()), None) => {}
    }
    let now = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let mut reply = Reply::new(400, Vec::new());
    reply.date = Some(text.into_owned());
    for code in [
        Code::NoMatch,
        Code::AmbiguousMatch,
        Code::VerificationFailed,
        Code::Refused,
    ] {
        let error = Error::new(code, "refused");
        let explained = refusal::explain(error, claims.as_ref(), &reply, now, &redactor());
        is_clean(Err::<(), _>(explained));
    }
}

/// A provider's token is visible ASCII, and its words are clean and without the request's secret.
fn provider_reply(bytes: &[u8]) {
    let Some(reply) = reply(bytes) else { return };
    let members = [
        (Provider::Github, Some("value"), None),
        (Provider::Google, None, None),
        (Provider::Workbench, Some("token"), Some("expiry")),
    ];
    for (provider, member, expiry) in members {
        let fetch = Fetch {
            url: server().url().clone(),
            post: None,
            header: ("Authorization", Secret::new(SECRET)),
            secret: Some(Secret::new(SECRET)),
            member,
            expiry,
            proxied: true,
        };
        let obtained = identity::obtained(provider, &fetch, &reply, &redactor());
        if let Some(obtained) = is_clean(obtained) {
            let token = obtained.subject_token.0;
            assert!(token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(!token.expose().is_empty());
            if let Some(expires_at) = obtained.expires_at {
                assert_eq!(expires_at.to_string().len(), 20);
            }
        }
    }
}

/// Three lines: a proxy, the hosts past it, a URL. The way is straight or through a host and port.
fn proxy_rules(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n').map(str::to_owned);
    let mut next = || lines.next().filter(|line| !line.is_empty());
    let (proxy, excepted, to) = (next(), next(), next());
    let Ok(to) = Url::parse(&to.unwrap_or_default()) else {
        return;
    };
    let proxies = Proxies::new(|name| match name {
        "all_proxy" => proxy.clone(),
        "no_proxy" => excepted.clone(),
        _ => None,
    });
    match is_clean(proxies.route(&to)) {
        Some(Route::Via(proxy)) => {
            let name = proxy.to_string();
            assert!(!name.contains(|c: char| c.is_control() || c.is_whitespace()));
            assert!(Url::parse(&format!("http://{name}/")).is_ok(), "{name}");
            if let Some(authorization) = proxy.authorization {
                let is_one_line = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
                assert!(authorization.expose().bytes().all(is_one_line));
            }
        }
        Some(Route::Direct) => assert!(proxy.is_none() || excepted.is_some()),
        None => {}
    }
}

/// A server is what it says, read again as itself; an endpoint that is named has no userinfo.
fn server_url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(server) = ServerUrl::parse(&text) {
        let shown = server.as_str();
        assert_eq!(ServerUrl::parse(shown).as_ref(), Ok(&server), "{text:?}");
        let url = server.url();
        assert!(matches!(url.scheme(), "https" | "http"), "{shown}");
        assert!(url.username().is_empty() && url.password().is_none());
        assert!(!shown.contains(['?', '#', '\\']), "{shown}");
        assert!(shown.ends_with('/') && shown.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!server.host().is_empty() && server.holds(&server.join("x")));
    }
    if let Ok(endpoint) = Endpoint::named(&text) {
        let url = endpoint.url();
        assert!(url.username().is_empty() && url.password().is_none() && url.has_host());
        let server = ServerUrl::of(&endpoint);
        assert!(server.holds(url) && server.prefix() == "/");
    }
}

/// Lines of `NAME=VALUE`: any environment is settings or one clean error, and an allowed list is
/// obeyed.
fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let env = Environment::new(variables.collect());
    let Some(layer) = is_clean(Layer::of_environment(&env)) else {
        return;
    };
    let mut options = Layer::new(LayerKind::Options);
    is_clean(options.set(Field::Server, "https://h.example:8443/rsc".into()));
    if let Some(settings) = is_clean(Settings::resolve(&[options, layer], &env)) {
        assert_eq!(settings.server, server());
        if let Some(allowed) = env.text("CONNECT_ALLOWED_SERVERS") {
            assert!(allowed.to_lowercase().contains(":8443"), "{allowed}");
        }
    }
}

/// Whatever stands around, before, or in the spelling of a secret, no piece of it is shown.
fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let encoded: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let text = text.replace("{}", SECRET).replace("{%}", &encoded);
    let quoted = redactor().quote(&text);
    assert!(!quoted.contains(char::is_control), "{quoted:?}");
    assert!(quoted.chars().count() <= 320, "{quoted:?}");
    is_hidden(&quoted);
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(&quoted).collect();
    is_hidden(&String::from_utf8_lossy(&decoded));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_still_holds() {
        let corpus = std::path::Path::new("tests/fuzz/corpus");
        let mut names: Vec<_> = std::fs::read_dir(corpus)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut known: Vec<_> = PROPERTIES.iter().map(|(name, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(names, known);
        for (name, property) in PROPERTIES {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
            assert!(inputs.len() > 2, "{name} has no inputs");
            for input in inputs {
                property(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }
}

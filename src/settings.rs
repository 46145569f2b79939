//! Layers of settings, resolved into one validated value; nothing after it reads the environment.
//!
//! Pure: the environment comes in as a value, and no file is opened.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::environment::Environment;
use crate::error::{Code, Error};
use crate::exchange::{ID_TOKEN, OWN_FIELDS, Terms};
use crate::identity::{Provider, Source};
use crate::proxy::Proxies;
use crate::secret::{NotAToken, Secret, SubjectToken};
use crate::server::{Endpoint, ServerUrl};

/// The audience that Connect's trusted publishers expect.
const DEFAULT_AUDIENCE: &str = "connect";
const DEFAULT_SCHEME: &str = "Key";
/// The deadline where nobody names one.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A setting whose value is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Server,
    IdentityToken,
    IdentityTokenFile,
    IdentityProvider,
    Audience,
    Cacert,
    TokenEndpoint,
    ClientId,
    SubjectTokenType,
    RequestedTokenType,
    Scheme,
}

impl Field {
    pub(crate) const ALL: [Self; 11] = [
        Self::Server,
        Self::IdentityToken,
        Self::IdentityTokenFile,
        Self::IdentityProvider,
        Self::Audience,
        Self::Cacert,
        Self::TokenEndpoint,
        Self::ClientId,
        Self::SubjectTokenType,
        Self::RequestedTokenType,
        Self::Scheme,
    ];

    /// Its name in a request.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::IdentityToken => "identity_token",
            Self::IdentityTokenFile => "identity_token_file",
            Self::IdentityProvider => "identity_provider",
            Self::Audience => "audience",
            Self::Cacert => "cacert",
            Self::TokenEndpoint => "token_endpoint",
            Self::ClientId => "client_id",
            Self::SubjectTokenType => "subject_token_type",
            Self::RequestedTokenType => "requested_token_type",
            Self::Scheme => "scheme",
        }
    }

    /// Its name in the environment, where it has one.
    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Server => Some("CONNECT_SERVER"),
            Self::IdentityToken => Some("CONNECT_IDENTITY_TOKEN"),
            Self::IdentityTokenFile => Some("CONNECT_IDENTITY_TOKEN_FILE"),
            Self::IdentityProvider => Some("CONNECT_IDENTITY_PROVIDER"),
            Self::Audience => Some("CONNECT_AUDIENCE"),
            Self::Cacert => Some("CONNECT_CA_CERTIFICATE"),
            _ => None,
        }
    }
}

/// Where a layer comes from, which decides how it is named and what its errors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerKind {
    Options,
    /// The request on stdin.
    Request,
    /// The cluster's config in `KUBERNETES_EXEC_INFO`.
    Cluster,
    Environment,
}

impl LayerKind {
    pub(crate) fn name(self, field: Field) -> String {
        match self {
            Self::Options => format!("--{}", field.name().replace('_', "-")),
            Self::Request => format!("{} in the request", field.name()),
            Self::Cluster => {
                format!(
                    "{} in spec.cluster.config of KUBERNETES_EXEC_INFO",
                    field.name()
                )
            }
            Self::Environment => field.variable().unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn error(self, message: impl Into<String>) -> Error {
        let code = match self {
            Self::Request | Self::Cluster => Code::BadRequest,
            Self::Options | Self::Environment => Code::Usage,
        };
        Error::new(code, message)
    }
}

/// What one place says of the settings.
pub(crate) struct Layer {
    kind: LayerKind,
    texts: Vec<(Field, OsString)>,
    pub(crate) insecure: Option<bool>,
    pub(crate) check: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) params: Option<Vec<(String, String)>>,
}

impl Layer {
    pub(crate) fn new(kind: LayerKind) -> Self {
        Self {
            kind,
            texts: Vec::new(),
            insecure: None,
            check: None,
            timeout: None,
            params: None,
        }
    }

    /// The layer of the environment.
    ///
    /// # Errors
    /// `usage` for a variable that should be a boolean and is none.
    pub(crate) fn of_environment(env: &Environment) -> Result<Self, Error> {
        let mut layer = Self::new(LayerKind::Environment);
        for field in Field::ALL {
            if let Some(value) = field.variable().and_then(|name| env.get(name)) {
                layer.texts.push((field, value.to_owned()));
            }
        }
        if let Some(value) = env.get("CONNECT_INSECURE") {
            let value = value.to_str().and_then(boolean).ok_or_else(|| {
                Error::usage("CONNECT_INSECURE is neither true nor false")
                    .hint("the values are 1, true, t, yes, y, on and 0, false, f, no, n, off")
            })?;
            layer.insecure = Some(value);
        }
        Ok(layer)
    }

    /// Sets a text.
    ///
    /// # Errors
    /// For an empty value, and for a second one.
    pub(crate) fn set(&mut self, field: Field, value: OsString) -> Result<(), Error> {
        let name = self.kind.name(field);
        if value.is_empty() {
            return Err(self.kind.error(format!("{name} is empty")));
        }
        if self.get(field).is_some() {
            return Err(self.kind.error(format!("{name} is given twice")));
        }
        self.texts.push((field, value));
        Ok(())
    }

    pub(crate) fn get(&self, field: Field) -> Option<&OsStr> {
        let (_, value) = self.texts.iter().find(|(known, _)| *known == field)?;
        Some(value)
    }

    fn text(&self, field: Field) -> Result<Option<&str>, Error> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let name = self.kind.name(field);
        let text = value.to_str();
        text.map(Some)
            .ok_or_else(|| self.kind.error(format!("{name} is not valid UTF-8")))
    }

    /// This layer's source of an identity token.
    fn source(&self) -> Result<Option<Named>, Error> {
        let token = self.text(Field::IdentityToken)?;
        let file = self.get(Field::IdentityTokenFile);
        let provider = self.provider()?;
        match (token, file) {
            (Some(_), Some(_)) => Err(self.kind.error(format!(
                "{} and {} are both given, and only one can be used",
                self.kind.name(Field::IdentityToken),
                self.kind.name(Field::IdentityTokenFile)
            ))),
            (Some("-"), None) if self.kind == LayerKind::Options => {
                Ok(Some(Named::Source(Source::Stdin)))
            }
            (Some(token), None) => {
                let token = Secret::visible_ascii(token).map_err(|why| {
                    let name = self.kind.name(Field::IdentityToken);
                    let message = format!("{name} {}", why.what());
                    match why {
                        NotAToken::Empty => self.kind.error(message),
                        NotAToken::NotVisibleAscii => {
                            Error::new(Code::IdentityTokenUnreadable, message)
                        }
                    }
                })?;
                Ok(Some(Named::Source(Source::Token(SubjectToken(token)))))
            }
            (None, Some(file)) => Ok(Some(Named::Source(Source::File(PathBuf::from(file))))),
            (None, None) => Ok(provider),
        }
    }

    fn provider(&self) -> Result<Option<Named>, Error> {
        match self.text(Field::IdentityProvider)? {
            None => Ok(None),
            Some("auto") => Ok(Some(Named::Auto)),
            Some("none") => Ok(Some(Named::None)),
            Some(name) => match Provider::from_name(name) {
                Some(provider) => Ok(Some(Named::Source(Source::Provider(provider)))),
                None => {
                    let field = self.kind.name(Field::IdentityProvider);
                    Err(self
                        .kind
                        .error(format!("{field} names no identity provider that there is"))
                        .hint(format!("the names are {}", Provider::names())))
                }
            },
        }
    }
}

/// What a layer says of the source. `auto` and `none` silence no lower layer.
enum Named {
    Source(Source),
    Auto,
    None,
}

/// Reads a boolean as people write it, in any case.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// Everything that a run needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) server: ServerUrl,
    pub(crate) allowed: Allowed,
    /// `--token-endpoint`, in place of discovery.
    pub(crate) token_endpoint: Option<Endpoint>,
    pub(crate) terms: Terms,
    pub(crate) source: Source,
    pub(crate) audience: String,
    /// Whether the audience was named, and is not only the default.
    pub(crate) audience_named: bool,
    pub(crate) cacert: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) check: bool,
    pub(crate) scheme: String,
    pub(crate) proxies: Proxies,
    pub(crate) timeout: Duration,
}

impl Settings {
    /// Resolves the layers, highest first; each setting by itself.
    ///
    /// # Errors
    /// `usage`, `bad_request` or `server_not_allowed`.
    pub(crate) fn resolve(layers: &[Layer], env: &Environment) -> Result<Self, Error> {
        let insecure = layers
            .iter()
            .find_map(|layer| layer.insecure)
            .unwrap_or(false);
        let token_endpoint = endpoint(layers, insecure)?;
        let server = match (server(layers, insecure)?, &token_endpoint) {
            (Some(server), _) => server,
            (None, Some(endpoint)) => ServerUrl::of(endpoint),
            (None, None) => {
                return Err(Error::usage("no Connect server is named")
                    .hint("name it with --server URL or in CONNECT_SERVER"));
            }
        };
        let allowed = Allowed::new(env)?;
        allowed.check(&server)?;
        if let Some(endpoint) = &token_endpoint {
            allowed.check_endpoint(endpoint)?;
        }
        let proxies = Proxies::new(|name| {
            env.get(name)
                .map(|value| value.to_string_lossy().into_owned())
        });
        proxies.route(server.url())?;
        if let Some(endpoint) = &token_endpoint {
            proxies.route(endpoint.url())?;
        }
        let text = |field, default: &str| -> Result<String, Error> {
            let found = first(layers, field)?;
            Ok(found.map_or(default, |(_, text)| text).to_owned())
        };
        let source = source(layers, env)?;
        Ok(Self {
            terms: Terms {
                subject_token_type: text(Field::SubjectTokenType, ID_TOKEN)?,
                requested_token_type: text(Field::RequestedTokenType, source.issues())?,
                client_id: first(layers, Field::ClientId)?.map(|(_, id)| id.to_owned()),
                params: params(layers)?,
            },
            source,
            audience_named: first(layers, Field::Audience)?.is_some(),
            audience: text(Field::Audience, DEFAULT_AUDIENCE)?,
            cacert: layers
                .iter()
                .find_map(|layer| layer.get(Field::Cacert))
                .map(PathBuf::from),
            insecure,
            check: layers.iter().find_map(|layer| layer.check).unwrap_or(false),
            scheme: scheme(layers)?,
            proxies,
            timeout: timeout(layers),
            server,
            allowed,
            token_endpoint,
        })
    }
}

/// The time limit, which is needed before the rest, to read the request.
pub(crate) fn timeout(layers: &[Layer]) -> Duration {
    let named = layers.iter().find_map(|layer| layer.timeout);
    named.unwrap_or(DEFAULT_TIMEOUT)
}

/// What a time limit must be.
pub(crate) const TIMEOUT_RULE: &str = "is not a number of seconds above 0 and at most 86400";

/// A time limit in seconds: finite, above 0, at most a day.
pub(crate) fn seconds(seconds: f64) -> Option<Duration> {
    (seconds > 0.0 && seconds <= 86_400.0)
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

/// A text of the highest layer that has it.
fn first(layers: &[Layer], field: Field) -> Result<Option<(LayerKind, &str)>, Error> {
    for layer in layers {
        if let Some(text) = layer.text(field)? {
            return Ok(Some((layer.kind, text)));
        }
    }
    Ok(None)
}

fn server(layers: &[Layer], insecure: bool) -> Result<Option<ServerUrl>, Error> {
    let Some((kind, text)) = first(layers, Field::Server)? else {
        return Ok(None);
    };
    let name = kind.name(Field::Server);
    let server =
        ServerUrl::parse(text).map_err(|why| kind.error(format!("the URL in {name} {why}")))?;
    if !server.is_https() && !insecure {
        return Err(in_the_clear(&name));
    }
    Ok(Some(server))
}

fn endpoint(layers: &[Layer], insecure: bool) -> Result<Option<Endpoint>, Error> {
    let Some((kind, text)) = first(layers, Field::TokenEndpoint)? else {
        return Ok(None);
    };
    let name = kind.name(Field::TokenEndpoint);
    let endpoint =
        Endpoint::named(text).map_err(|why| kind.error(format!("the URL in {name} {why}")))?;
    if endpoint.url().scheme() != "https" && !insecure {
        return Err(in_the_clear(&name));
    }
    Ok(Some(endpoint))
}

fn in_the_clear(name: &str) -> Error {
    Error::usage(format!(
        "the URL in {name} is http://, which would send the token in the clear"
    ))
    .hint("use https://, or --insecure for a test server")
}

/// `CONNECT_ALLOWED_SERVERS`: the servers that a token may go to; all of them where it is unset.
#[derive(Clone, Debug)]
pub(crate) struct Allowed(Option<Vec<ServerUrl>>);

impl Allowed {
    fn new(env: &Environment) -> Result<Self, Error> {
        let Some(list) = env.get("CONNECT_ALLOWED_SERVERS") else {
            return Ok(Self(None));
        };
        let unusable = |why| Error::usage(format!("CONNECT_ALLOWED_SERVERS {why}"));
        let list = list
            .to_str()
            .ok_or_else(|| unusable("is not valid UTF-8".into()))?;
        let mut servers = Vec::new();
        for entry in list.split([' ', ',']).filter(|entry| !entry.is_empty()) {
            let entry = ServerUrl::parse(entry)
                .map_err(|why| unusable(format!("holds a URL that {why}")))?;
            servers.push(entry);
        }
        match servers.is_empty() {
            true => Err(unusable("names no server".into())),
            false => Ok(Self(Some(servers))),
        }
    }

    /// # Errors
    /// `server_not_allowed` for a server that does not lie below an entry.
    pub(crate) fn check(&self, server: &ServerUrl) -> Result<(), Error> {
        self.check_by(server.url(), |allowed| allowed.holds(server.url()))
    }

    /// Holds the origin of an endpoint that the operator named against the entries' origins.
    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let origin = endpoint.url().origin();
        self.check_by(endpoint.url(), |allowed| allowed.origin() == origin)
    }

    fn check_by(&self, url: &Url, allows: impl Fn(&ServerUrl) -> bool) -> Result<(), Error> {
        match &self.0 {
            Some(servers) if !servers.iter().any(allows) => {
                let mut shown = url.clone();
                shown.set_query(None);
                let message =
                    format!("{shown} is not among the servers in CONNECT_ALLOWED_SERVERS");
                Err(Error::new(Code::ServerNotAllowed, message).hint(
                    "the identity token was not sent; add the server there if it may have one",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The source of the highest layer that names one.
fn source(layers: &[Layer], env: &Environment) -> Result<Source, Error> {
    let mut automatic = true;
    for layer in layers.iter().rev() {
        match layer.source() {
            Ok(Some(Named::Auto)) => automatic = true,
            Ok(Some(Named::None)) => automatic = false,
            _ => {}
        }
    }
    for layer in layers {
        if let Some(Named::Source(source)) = layer.source()? {
            return Ok(source);
        }
    }
    let chosen = automatic.then(|| Provider::detect(env)).flatten();
    Ok(chosen.map_or(Source::Nothing { automatic }, Source::Provider))
}

fn params(layers: &[Layer]) -> Result<Vec<(String, String)>, Error> {
    let layer = layers.iter().find(|layer| layer.params.is_some());
    let params = layer
        .and_then(|layer| layer.params.clone())
        .unwrap_or_default();
    let kind = layer.map_or(LayerKind::Options, |layer| layer.kind);
    for (name, _) in &params {
        let what = match kind {
            LayerKind::Options => "--param",
            _ => "params in the request",
        };
        if name.is_empty() {
            return Err(kind.error(format!("{what} has a parameter without a name")));
        }
        if OWN_FIELDS.contains(&name.as_str()) {
            return Err(kind.error(format!(
                "{what} cannot set {name}, which is the exchange's own"
            )));
        }
    }
    Ok(params)
}

fn scheme(layers: &[Layer]) -> Result<String, Error> {
    let Some((kind, scheme)) = first(layers, Field::Scheme)? else {
        return Ok(DEFAULT_SCHEME.to_owned());
    };
    // A token of RFC 9110 section 5.6.2.
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !scheme.chars().all(is_token) {
        let name = kind.name(Field::Scheme);
        return Err(kind.error(format!("{name} is not one word of a header")));
    }
    Ok(scheme.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let own = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        Environment::new(variables.iter().map(own).collect())
    }

    fn layer(kind: LayerKind, texts: &[(Field, &str)]) -> Layer {
        let mut layer = Layer::new(kind);
        for (field, text) in texts {
            layer.set(*field, (*text).into()).unwrap();
        }
        layer
    }

    fn resolve(
        options: &[(Field, &str)],
        request: &[(Field, &str)],
        variables: &[(&str, &str)],
    ) -> Result<Settings, Error> {
        let env = environment(variables);
        let layers = [
            layer(LayerKind::Options, options),
            layer(LayerKind::Request, request),
            Layer::of_environment(&env)?,
        ];
        Settings::resolve(&layers, &env)
    }

    fn source_of(
        options: &[(Field, &str)],
        request: &[(Field, &str)],
        variables: &[(&str, &str)],
    ) -> String {
        let all = [&[("CONNECT_SERVER", "h")], variables].concat();
        match resolve(options, request, &all) {
            Ok(settings) => match settings.source {
                Source::Token(token) => token.0.expose().to_owned(),
                Source::File(file) => file.display().to_string(),
                source => format!("{source:?}"),
            },
            Err(error) => format!("{}: {}", error.code.row().name, error.message),
        }
    }

    const TOKEN: Field = Field::IdentityToken;
    const FILE: Field = Field::IdentityTokenFile;
    const PROVIDER: Field = Field::IdentityProvider;

    #[test]
    fn each_setting_is_the_highest_layers() {
        let variables = [
            ("CONNECT_SERVER", "env"),
            ("CONNECT_AUDIENCE", "env-audience"),
        ];
        let settings = resolve(&[], &[(Field::Server, "request")], &variables).unwrap();
        assert_eq!(settings.server.as_str(), "https://request/");
        assert_eq!(settings.audience, "env-audience");
        let settings = resolve(
            &[(Field::Server, "option"), (Field::Audience, "a")],
            &[(Field::Server, "request")],
            &variables,
        );
        let settings = settings.unwrap();
        assert_eq!(settings.server.as_str(), "https://option/");
        assert_eq!(settings.audience, "a");
        assert_eq!(resolve(&[], &[], &[]).unwrap_err().code, Code::Usage);
    }

    #[test]
    fn a_source_silences_the_layers_below() {
        let both = [
            ("CONNECT_IDENTITY_TOKEN", "t"),
            ("CONNECT_IDENTITY_TOKEN_FILE", "f"),
        ];
        assert_eq!(source_of(&[(FILE, "o")], &[(TOKEN, "r")], &both), "o");
        assert_eq!(source_of(&[], &[(TOKEN, "r")], &both), "r");
        assert_eq!(
            source_of(&[], &[], &both),
            "usage: CONNECT_IDENTITY_TOKEN and CONNECT_IDENTITY_TOKEN_FILE are both given, \
             and only one can be used"
        );
        assert_eq!(
            source_of(&[], &[(TOKEN, "a"), (FILE, "b")], &[]),
            "bad_request: identity_token in the request and identity_token_file in the request \
             are both given, and only one can be used"
        );
        assert_eq!(source_of(&[(TOKEN, " t \n")], &[], &[]), "t");
        assert_eq!(source_of(&[(TOKEN, "-")], &[], &[]), "Stdin");
        assert_eq!(source_of(&[], &[(TOKEN, "-")], &[]), "-");
        assert_eq!(
            source_of(&[], &[], &[("CONNECT_IDENTITY_TOKEN", "  ")]),
            "usage: CONNECT_IDENTITY_TOKEN is empty"
        );
        assert_eq!(source_of(&[(PROVIDER, "none")], &[], &both[..1]), "t");
        assert_eq!(source_of(&[(PROVIDER, "auto")], &[], &both[1..]), "f");
        assert_eq!(
            source_of(&[(PROVIDER, "none")], &[], &[]),
            "Nothing { automatic: false }"
        );
        assert_eq!(source_of(&[], &[], &[]), "Nothing { automatic: true }");
    }

    #[test]
    fn a_token_goes_only_to_allowed_servers() {
        let code = |allowed: &str, server: &str, endpoint: Option<&str>| {
            let mut options = vec![(Field::Server, server)];
            options.extend(endpoint.map(|endpoint| (Field::TokenEndpoint, endpoint)));
            resolve(&options, &[], &[("CONNECT_ALLOWED_SERVERS", allowed)])
                .map(|_| ())
                .map_err(|error| error.code)
        };
        let refused = Err(Code::ServerNotAllowed);
        assert_eq!(code("h", "h", None), Ok(()));
        assert_eq!(code("a,h  b", "h/rsc", None), Ok(()));
        assert_eq!(code("https://h:443/rsc", "h/rsc/", None), Ok(()));
        assert_eq!(code("h/rsc", "h/rscx", None), refused);
        assert_eq!(code("h/rsc", "h", None), refused);
        assert_eq!(code("h", "evil", None), refused);
        assert_eq!(code("h", "h:8443", None), refused);
        assert_eq!(code("http://h", "h", None), refused);
        assert_eq!(code("h", "h", Some("https://evil/token")), refused);
        assert_eq!(code("h evil", "h", Some("https://evil/token")), Ok(()));
        assert_eq!(code("h, https://u@x", "h", None), Err(Code::Usage));
        assert_eq!(code(" , ", "h", None), Err(Code::Usage));
        assert_eq!(code("", "h", None), Ok(()));
    }

    #[test]
    fn http_is_only_for_those_who_say_so() {
        let insecure = |value| {
            resolve(
                &[(Field::Server, "http://h")],
                &[],
                &[("CONNECT_INSECURE", value)],
            )
        };
        assert_eq!(insecure("").unwrap_err().code, Code::Usage);
        assert_eq!(insecure("off").unwrap_err().code, Code::Usage);
        assert_eq!(insecure("maybe").unwrap_err().code, Code::Usage);
        for yes in ["1", "true", "T", "Yes", "y", "ON"] {
            assert_eq!(insecure(yes).unwrap().server.as_str(), "http://h/", "{yes}");
        }
        let endpoint = resolve(&[(Field::TokenEndpoint, "http://h/token")], &[], &[]);
        assert_eq!(endpoint.unwrap_err().code, Code::Usage);
    }

    #[test]
    fn a_parameter_cannot_replace_the_exchanges_own_fields() {
        for name in OWN_FIELDS.into_iter().chain([""]) {
            let mut options = layer(LayerKind::Options, &[(Field::Server, "h")]);
            options.params = Some(vec![
                ("scope".into(), "a".into()),
                (name.into(), "x".into()),
            ]);
            let error = Settings::resolve(&[options], &environment(&[])).unwrap_err();
            assert_eq!(error.code, Code::Usage, "{name}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told_before_anything_is_sent() {
        let options = [(Field::Server, "h")];
        let error = resolve(&options, &[], &[("https_proxy", "socks5://p:1")]).unwrap_err();
        assert_eq!(error.code, Code::Usage);
        assert!(
            resolve(
                &options,
                &[],
                &[("https_proxy", "socks5://p"), ("no_proxy", "h")]
            )
            .is_ok()
        );
    }
}

//! The platforms that hand out identity tokens: a table, and what each wants to be asked.
//!
//! The environment comes in as a value; asking is [`super`]'s. One file may be read here, that of
//! a Workbench session's cookie.

use std::ffi::OsString;

use serde_json::json;
use url::{Host, Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::clock::Deadline;
use crate::environment::Environment;
use crate::error::{Code, Error};
use crate::input;
use crate::secret::{Secret, SubjectToken};
use crate::words::Redactor;

/// A platform: a row of the table, in the order in which `auto` looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Github,
    AzureDevops,
    Gitlab,
    Circleci,
    Bitbucket,
    Buildkite,
    Google,
    Workbench,
}

const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
const AZURE_URL: &str = "SYSTEM_OIDCREQUESTURI";
const AZURE_TOKEN: &str = "SYSTEM_ACCESSTOKEN";
const BITBUCKET_TOKEN: &str = "BITBUCKET_STEP_OIDC_TOKEN";
const CIRCLECI_TOKENS: [&str; 2] = ["CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"];
const GOOGLE_HOST: &str = "metadata.google.internal";
const WORKBENCH_URL: &str = "RS_SERVER_ADDRESS";
const WORKBENCH_COOKIE: &str = "RS_SESSION_RPC_COOKIE";
const WORKBENCH_DIR: &str = "PWB_SESSION_RUNTIME_DIR";

/// The most bytes of a session's cookie.
const COOKIE_LIMIT: usize = 64 * 1024;

/// How a platform's token is obtained.
#[derive(Debug)]
pub(crate) enum Plan {
    /// It stands in a variable.
    Token(SubjectToken),
    /// It is the answer to a request.
    Fetch(Fetch),
    /// It is the output of a program.
    Run(Program),
}

/// A request for a token.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) url: Url,
    /// None for GET; else the media type and the body of a POST.
    pub(crate) post: Option<(&'static str, String)>,
    pub(crate) header: (&'static str, Secret),
    /// What of the header's value is secret, to be cut out of what the platform says.
    pub(crate) secret: Option<Secret>,
    /// The member of the JSON answer that is the token; none where the answer itself is.
    pub(crate) member: Option<&'static str>,
    /// The member that is the token's expiry, where the answer has one.
    pub(crate) expiry: Option<&'static str>,
    pub(crate) proxied: bool,
}

/// A program that prints a token.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) words: Vec<OsString>,
    /// What to use where there is no such program.
    pub(crate) instead: Option<Result<SubjectToken, Error>>,
}

impl Provider {
    const ALL: [Self; 8] = [
        Self::Github,
        Self::AzureDevops,
        Self::Gitlab,
        Self::Circleci,
        Self::Bitbucket,
        Self::Buildkite,
        Self::Google,
        Self::Workbench,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::AzureDevops => "azure-devops",
            Self::Gitlab => "gitlab",
            Self::Circleci => "circleci",
            Self::Bitbucket => "bitbucket",
            Self::Buildkite => "buildkite",
            Self::Google => "google",
            Self::Workbench => "workbench",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
    }

    /// The names, as a message lists them.
    pub(crate) fn names() -> String {
        let names = ["auto", "none"].into_iter();
        let all: Vec<&str> = names.chain(Self::ALL.into_iter().map(Self::name)).collect();
        all.join(", ")
    }

    /// The first platform that the environment speaks of; the network is not asked. `google`
    /// would cost a probe, and `workbench`'s token is a person's, so neither is ever guessed.
    pub(crate) fn detect(env: &Environment) -> Option<Self> {
        let has = |name| env.get(name).is_some();
        Self::ALL.into_iter().find(|provider| match provider {
            Self::Github => has(GITHUB_URL) && has(GITHUB_TOKEN),
            Self::AzureDevops => has(AZURE_URL) && has(AZURE_TOKEN),
            Self::Gitlab => has("GITLAB_CI"),
            Self::Circleci => has("CIRCLECI"),
            Self::Bitbucket => has(BITBUCKET_TOKEN),
            Self::Buildkite => has("BUILDKITE"),
            Self::Google | Self::Workbench => false,
        })
    }

    /// The platform that a job is on which lacks what `detect` looks for.
    pub(crate) fn of_job(env: &Environment) -> Option<Self> {
        let has = |name| env.get(name).is_some();
        if env.text("GITHUB_ACTIONS") == Some("true") {
            Some(Self::Github)
        } else if has("TF_BUILD") || has(AZURE_URL) {
            Some(Self::AzureDevops)
        } else {
            has("BITBUCKET_BUILD_NUMBER").then_some(Self::Bitbucket)
        }
    }

    /// The variable that its token stands in, where it does.
    pub(crate) fn variable(self, env: &Environment, audience: &str) -> Option<String> {
        match self {
            Self::Gitlab => Some(gitlab_variable(audience)),
            Self::Bitbucket => Some(BITBUCKET_TOKEN.to_owned()),
            Self::Circleci => {
                let set = |name: &&str| env.get(name).is_some();
                CIRCLECI_TOKENS.into_iter().find(set).map(str::to_owned)
            }
            _ => None,
        }
    }

    /// How to obtain a token for an audience here.
    ///
    /// # Errors
    /// `no_identity_token` where a variable is missing, `identity_token_unreadable` where one
    /// holds no token, `identity_provider_failed` for a URL that may not be asked.
    pub(crate) fn plan(
        self,
        env: &Environment,
        audience: &str,
        deadline: Deadline,
    ) -> Result<Plan, Error> {
        match self {
            Self::Github => {
                let mut url = self.url(env, GITHUB_URL)?;
                merge(&mut url, "audience", audience);
                let token = self.secret(env, GITHUB_TOKEN)?;
                Ok(Plan::Fetch(bearer(url, token, None, "value")))
            }
            Self::AzureDevops => {
                let mut url = self.url(env, AZURE_URL)?;
                merge(&mut url, "api-version", "7.1");
                let token = self.secret(env, AZURE_TOKEN)?;
                let post = Some(("application/json", String::new()));
                Ok(Plan::Fetch(bearer(url, token, post, "oidcToken")))
            }
            Self::Gitlab => {
                let variable = gitlab_variable(audience);
                self.token_in(env, &variable).map_err(|error| {
                    let aud = Redactor::default().quote(audience);
                    let add =
                        format!("add to the job:  id_tokens: {{ {variable}: {{ aud: {aud} }} }}");
                    let is_missing = error.code == Code::NoIdentityToken;
                    error.hints(is_missing.then_some(add))
                })
            }
            Self::Bitbucket => self.token_in(env, BITBUCKET_TOKEN),
            Self::Circleci => {
                let claims = json!({"aud": audience}).to_string();
                let words = [
                    "circleci",
                    "run",
                    "oidc",
                    "get",
                    "--claims",
                    &claims,
                    "--root-issuer",
                ];
                let instead = self.variable(env, audience);
                let instead = instead.map(|name| self.read(env, &name));
                Ok(Plan::Run(Program {
                    words: words.map(OsString::from).into(),
                    instead,
                }))
            }
            Self::Buildkite => {
                let words = [
                    "buildkite-agent",
                    "oidc",
                    "request-token",
                    "--audience",
                    audience,
                ];
                Ok(Plan::Run(Program {
                    words: words.map(OsString::from).into(),
                    instead: None,
                }))
            }
            Self::Google => {
                let host = env.text("GCE_METADATA_HOST").unwrap_or(GOOGLE_HOST);
                let path = "computeMetadata/v1/instance/service-accounts/default/identity";
                let mut url = Url::parse(&format!("http://{host}/{path}"))
                    .map_err(|_| self.failed("GCE_METADATA_HOST is not a host"))?;
                merge(&mut url, "audience", audience);
                merge(&mut url, "format", "full");
                Ok(Plan::Fetch(Fetch {
                    url,
                    post: None,
                    header: ("Metadata-Flavor", Secret::new("Google")),
                    secret: None,
                    member: None,
                    expiry: None,
                    proxied: false,
                }))
            }
            Self::Workbench => self.workbench(env, deadline),
        }
    }

    fn workbench(self, env: &Environment, deadline: Deadline) -> Result<Plan, Error> {
        let mut url = self.url(env, WORKBENCH_URL)?;
        url.set_path(&format!("{}/id_token", url.path().trim_end_matches('/')));
        url.set_query(None);
        let cookie = match (env.text(WORKBENCH_COOKIE), env.get(WORKBENCH_DIR)) {
            (Some(_), _) => self.secret(env, WORKBENCH_COOKIE)?,
            (None, Some(directory)) => {
                let path = std::path::Path::new(directory).join("rpc_cookie");
                let bytes = input::read_file(&path, COOKIE_LIMIT, deadline).map_err(|why| {
                    let name = "the rpc_cookie of the session";
                    why.into_error(Code::IdentityProviderFailed, name.into())
                })?;
                let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
                Secret::visible_ascii(text.lines().next().unwrap_or_default()).map_err(|why| {
                    self.failed(&format!("the session's rpc_cookie {}", why.what()))
                })?
            }
            (None, None) => return Err(self.missing(WORKBENCH_COOKIE)),
        };
        Ok(Plan::Fetch(Fetch {
            proxied: !is_loopback(&url),
            url,
            post: Some((
                "application/json",
                json!({"method": "id_token"}).to_string(),
            )),
            header: ("X-RS-Session-Server-RPC-Cookie", cookie.clone()),
            secret: Some(cookie),
            member: Some("token"),
            expiry: Some("expiry"),
        }))
    }

    /// A URL from a variable: https, but for hosts of this very machine.
    fn url(self, env: &Environment, variable: &str) -> Result<Url, Error> {
        let text = env.text(variable).ok_or_else(|| self.missing(variable))?;
        let url = Url::parse(text.trim())
            .ok()
            .filter(Url::has_host)
            .ok_or_else(|| self.failed(&format!("{variable} is not a valid URL")))?;
        let is_plain = url.scheme() == "http" && (is_loopback(&url) || self == Self::Workbench);
        if url.scheme() != "https" && !is_plain {
            return Err(self.failed(&format!("the URL in {variable} is not https")));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.failed(&format!(
                "the URL in {variable} holds a user name or password"
            )));
        }
        Ok(url)
    }

    fn secret(self, env: &Environment, variable: &str) -> Result<Secret, Error> {
        let text = env.text(variable).ok_or_else(|| self.missing(variable))?;
        Secret::visible_ascii(text)
            .map_err(|why| self.failed(&format!("{variable} {}", why.what())))
    }

    fn token_in(self, env: &Environment, variable: &str) -> Result<Plan, Error> {
        self.read(env, variable).map(Plan::Token)
    }

    fn read(self, env: &Environment, variable: &str) -> Result<SubjectToken, Error> {
        let text = env.text(variable).ok_or_else(|| self.missing(variable))?;
        Secret::visible_ascii(text)
            .map(SubjectToken)
            .map_err(|why| {
                let message = format!("the identity token in {variable} {}", why.what());
                Error::new(Code::IdentityTokenUnreadable, message)
            })
    }

    /// What is said where a variable that the platform sets is not there.
    fn missing(self, variable: &str) -> Error {
        let message = format!(
            "{variable} is not set, so {} has no identity token",
            self.name()
        );
        Error::new(Code::NoIdentityToken, message).hints(self.help())
    }

    /// The one setting that is missing on this platform.
    pub(crate) fn help(self) -> Vec<String> {
        let help: &[&str] = match self {
            Self::Github => &[
                "the job lacks the permission for it; add to the workflow or the job:  \
                 permissions: { id-token: write, contents: read }",
                "in a reusable workflow the caller's job must have that permission too",
            ],
            // Told with the audience, where that is known.
            Self::Gitlab => &[],
            Self::AzureDevops => &[
                "map the token into the step:  env: { SYSTEM_ACCESSTOKEN: $(System.AccessToken) }",
            ],
            Self::Circleci => {
                &["use a context in the job; CircleCI then sets CIRCLE_OIDC_TOKEN_V2"]
            }
            Self::Bitbucket => &["add to the step:  oidc: true"],
            Self::Buildkite => &["the buildkite-agent program must be on the PATH of the job"],
            Self::Google => &["the metadata server is there on Google Cloud only"],
            Self::Workbench => &["a Posit Workbench session sets it"],
        };
        help.iter().map(|hint| (*hint).to_owned()).collect()
    }

    pub(crate) fn failed(self, why: &str) -> Error {
        let message = format!("the identity provider {} failed: {why}", self.name());
        Error::new(Code::IdentityProviderFailed, message)
    }
}

fn bearer(
    url: Url,
    token: Secret,
    post: Option<(&'static str, String)>,
    member: &'static str,
) -> Fetch {
    // A proxy would look for this machine's own services on itself, and see the token.
    let proxied = !is_loopback(&url);
    Fetch {
        url,
        post,
        header: (
            "Authorization",
            crate::http::authorization("Bearer", &token),
        ),
        secret: Some(token),
        member: Some(member),
        expiry: None,
        proxied,
    }
}

/// Sets one parameter of a query and keeps the others as they are spelled.
fn merge(url: &mut Url, name: &str, value: &str) {
    let is_other = |pair: &&str| {
        let mut known = form_urlencoded::parse(pair.as_bytes());
        known.next().is_some_and(|(known, _)| known != name)
    };
    let own = url.query().unwrap_or_default();
    let mut pairs: Vec<&str> = own.split('&').filter(is_other).collect();
    let pair = form_urlencoded::Serializer::new(String::new())
        .append_pair(name, value)
        .finish();
    pairs.push(&pair);
    let query = pairs.join("&");
    url.set_query(Some(&query));
}

/// GitLab's name for the token of an audience, as its documentation's example has it:
/// upper-cased, with `_` for what a variable's name cannot hold.
pub(crate) fn gitlab_variable(audience: &str) -> String {
    let mut name: String = audience
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name + "_ID_TOKEN"
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let own = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        Environment::new(variables.iter().map(own).collect())
    }

    fn deadline() -> Deadline {
        let clock = crate::clock::Clock {
            instant: std::time::Instant::now,
            utc: std::time::SystemTime::now,
        };
        Deadline::new(clock, (clock.instant)(), std::time::Duration::from_secs(5))
    }

    #[test]
    fn auto_takes_the_first_row_that_fits() {
        let all = [
            (GITHUB_URL, "u"),
            (GITHUB_TOKEN, "t"),
            (AZURE_URL, "u"),
            (AZURE_TOKEN, "t"),
            ("GITLAB_CI", "true"),
            ("CIRCLECI", "true"),
            (BITBUCKET_TOKEN, "t"),
            ("BUILDKITE", "true"),
            (WORKBENCH_URL, "u"),
            ("GCE_METADATA_HOST", "h"),
        ];
        let detect = |from: usize| Provider::detect(&environment(&all[from..]));
        assert_eq!(detect(0), Some(Provider::Github));
        assert_eq!(detect(1), Some(Provider::AzureDevops));
        assert_eq!(detect(3), Some(Provider::Gitlab));
        assert_eq!(detect(5), Some(Provider::Circleci));
        assert_eq!(detect(6), Some(Provider::Bitbucket));
        assert_eq!(detect(7), Some(Provider::Buildkite));
        assert_eq!(detect(8), None);
        assert_eq!(
            Provider::detect(&environment(&[(GITHUB_URL, "u"), (GITHUB_TOKEN, "")])),
            None
        );
    }

    #[test]
    fn gitlabs_variable_is_named_after_the_audience() {
        assert_eq!(gitlab_variable("connect"), "CONNECT_ID_TOKEN");
        assert_eq!(
            gitlab_variable("https://c.example/"),
            "HTTPS___C_EXAMPLE__ID_TOKEN"
        );
        assert_eq!(gitlab_variable("1a"), "_1A_ID_TOKEN");
    }

    #[test]
    fn the_audience_is_merged_into_the_requests_own_query() {
        let env = environment(&[
            (
                GITHUB_URL,
                "https://gh.example/token?api-version=2.0&audience=other",
            ),
            (GITHUB_TOKEN, "t"),
        ]);
        let Ok(Plan::Fetch(fetch)) = Provider::Github.plan(&env, "a&b c", deadline()) else {
            panic!("no request")
        };
        assert_eq!(
            fetch.url.as_str(),
            "https://gh.example/token?api-version=2.0&audience=a%26b+c"
        );
    }

    #[test]
    fn a_provider_is_asked_over_https_but_on_this_machine() {
        for (url, fine) in [
            ("https://gh.example/", true),
            ("http://127.0.0.1:1/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://gh.example/", false),
            ("ftp://gh/", false),
            ("nonsense", false),
            ("https://u:p@gh.example/", false),
        ] {
            let env = environment(&[(GITHUB_URL, url), (GITHUB_TOKEN, "t")]);
            let plan = Provider::Github
                .plan(&env, "connect", deadline())
                .map_err(|error| error.code);
            match fine {
                true => assert!(plan.is_ok(), "{url}"),
                false => assert_eq!(plan.unwrap_err(), Code::IdentityProviderFailed, "{url}"),
            }
        }
    }
}

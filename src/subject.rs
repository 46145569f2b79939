//! The subject token, from where the settings say.

use crate::clock::Deadline;
use crate::error::Error;
use crate::identity::{self, Fetch, Obtained, Plan, Provider, Source};
use crate::proxy::Proxies;
use crate::run::Run;
use crate::secret::SubjectToken;
use crate::settings::Settings;

/// A subject token, or what has yet to be done for one.
pub(crate) enum Subject {
    Token(SubjectToken),
    /// A request to a provider, which can be made on a thread of its own.
    Request(Box<dyn FnOnce() -> Result<Obtained, Error> + Send>),
}

impl Run {
    /// Takes a token from where it is. All but a provider's network is asked at once.
    ///
    /// # Errors
    /// `no_identity_token`, `identity_token_unreadable`, `identity_provider_failed` or `timeout`.
    pub(crate) fn subject(
        &mut self,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Subject, Error> {
        let token = match &settings.source {
            Source::Token(token) => token.clone(),
            Source::File(path) => identity::from_file(path, deadline)?,
            Source::Stdin => identity::from_stdin(&mut self.stdin(deadline)?)?,
            Source::Nothing { automatic } => {
                return Err(identity::nothing(*automatic, &self.env, deadline));
            }
            Source::Provider(provider) => {
                return self.subject_of(*provider, settings, deadline);
            }
        };
        self.redactor.learn(&token.0);
        Ok(Subject::Token(token))
    }

    fn subject_of(
        &self,
        provider: Provider,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Subject, Error> {
        let name = provider.name();
        self.log
            .tell(format_args!("the identity provider is {name}"));
        let token = match identity::plan(provider, &self.env, &settings.audience, deadline)? {
            Plan::Token(token) => token,
            Plan::Run(program) => identity::run(provider, program, &self.env, deadline)?,
            Plan::Fetch(fetch) => {
                return Ok(self.request(provider, fetch, settings, deadline));
            }
        };
        self.redactor.learn(&token.0);
        if let Some(audience) = audience_to_hold(provider, settings) {
            identity::check_audience(provider, &token, audience)?;
        }
        Ok(Subject::Token(token))
    }

    fn request(
        &self,
        provider: Provider,
        fetch: Fetch,
        settings: &Settings,
        deadline: Deadline,
    ) -> Subject {
        if let Some(secret) = &fetch.secret {
            self.redactor.learn(secret);
        }
        let proxies = match fetch.proxied {
            true => settings.proxies.clone(),
            false => Proxies::default(),
        };
        let http = self.provider_http(proxies, deadline);
        let redactor = self.redactor.clone();
        let audience = audience_to_hold(provider, settings).map(str::to_owned);
        Subject::Request(Box::new(move || {
            let obtained = identity::fetch(provider, &fetch, &http, &redactor)?;
            redactor.learn(&obtained.subject_token.0);
            if let Some(audience) = audience {
                identity::check_audience(provider, &obtained.subject_token, &audience)?;
            }
            Ok(obtained)
        }))
    }
}

/// The audience that a provider's token must have. Workbench is not asked for one, so its token is
/// held against an audience only where somebody names one.
fn audience_to_hold(provider: Provider, settings: &Settings) -> Option<&str> {
    let is_asked = provider != Provider::Workbench || settings.audience_named;
    is_asked.then_some(&*settings.audience)
}

//! Where the token goes: what the operator named, or what the server's metadata says under the
//! endpoint rule.

use crate::discovery;
use crate::error::Error;
use crate::http::Http;
use crate::output::Log;
use crate::server::{Endpoint, ServerUrl};
use crate::settings::{Allowed, Settings};
use crate::words::Redactor;

/// Below a Connect server's URL, where its user federation takes a person's token.
const FEDERATION: &str = "__api__/v1/oauth/integrations/credentials";

/// The way to where the token goes: what the operator named, Connect's user federation, or what
/// the server's metadata says under the endpoint rule.
pub(crate) struct PlaceOf {
    server: ServerUrl,
    known: Option<Endpoint>,
    allowed: Allowed,
}

impl PlaceOf {
    pub(crate) fn new(settings: &Settings) -> Self {
        let server = settings.server.clone();
        let known = match &settings.token_endpoint {
            None if settings.source.is_federated() => {
                Some(Endpoint::of_connect(&server, FEDERATION))
            }
            named => named.clone(),
        };
        Self {
            server,
            known,
            allowed: settings.allowed.clone(),
        }
    }

    /// # Errors
    /// Those of discovery and of the metadata.
    pub(crate) fn find(self, http: &Http, log: &Log, redactor: &Redactor) -> Result<Place, Error> {
        if let Some(token_endpoint) = self.known {
            return Ok(Place {
                server: self.server,
                token_endpoint,
                elsewhere: None,
            });
        }
        let (server, metadata) = discovery::discover(http, self.server, &self.allowed, redactor)?;
        let advertised = metadata.token_endpoint(&server)?;
        if let Some(origin) = &advertised.elsewhere {
            log.tell(format_args!(
                "the metadata names {origin}, and the token stays with {server}"
            ));
        }
        Ok(Place {
            server,
            token_endpoint: advertised.endpoint,
            elsewhere: advertised.elsewhere,
        })
    }
}

/// Where the token goes.
pub(crate) struct Place {
    /// The server, which discovery may have found to have moved to https.
    pub(crate) server: ServerUrl,
    pub(crate) token_endpoint: Endpoint,
    /// The origin that the metadata names in vain, where it is not the server's own.
    elsewhere: Option<String>,
}

impl Place {
    /// What a failed exchange may be due to.
    pub(crate) fn elsewhere_hint(&self, redactor: &Redactor) -> Option<String> {
        let origin = redactor.quote(self.elsewhere.as_ref()?);
        Some(format!(
            "the metadata names {origin} as the token endpoint's origin, and the token was sent to \
             {} instead; if it belongs there, name it with --token-endpoint",
            self.server
        ))
    }
}

//! Where the token goes: what the operator named, or what the server's metadata says under the
//! endpoint rule.

use crate::discovery;
use crate::error::Error;
use crate::http::Http;
use crate::output::Log;
use crate::server::{Endpoint, ServerUrl};
use crate::settings::Settings;
use crate::words::Redactor;

/// Below a Connect server's URL, where its user federation takes a person's token.
const FEDERATION: &str = "__api__/v1/oauth/integrations/credentials";

/// Where the token goes.
pub(crate) struct Place {
    /// The server, which discovery may have found to have moved to https.
    pub(crate) server: ServerUrl,
    pub(crate) token_endpoint: Endpoint,
    /// The origin that the metadata names in vain, where it is not the server's own.
    elsewhere: Option<String>,
}

impl Place {
    /// The endpoint that was named, or that of Connect's user federation; else asks the server.
    ///
    /// # Errors
    /// Those of discovery and of the metadata.
    pub(crate) fn find(
        settings: &Settings,
        http: &Http,
        log: &Log,
        redactor: &Redactor,
    ) -> Result<Self, Error> {
        let server = settings.server.clone();
        let known = match &settings.token_endpoint {
            None if settings.source.is_federated() => {
                Some(Endpoint::of_connect(&server, FEDERATION))
            }
            named => named.clone(),
        };
        if let Some(token_endpoint) = known {
            return Ok(Self {
                server,
                token_endpoint,
                elsewhere: None,
            });
        }
        let (server, metadata) = discovery::discover(http, server, &settings.allowed, redactor)?;
        let advertised = metadata.token_endpoint(&server)?;
        if let Some(origin) = &advertised.elsewhere {
            log.tell(format_args!(
                "the metadata names {origin}, and the token stays with {server}"
            ));
        }
        Ok(Self {
            server,
            token_endpoint: advertised.endpoint,
            elsewhere: advertised.elsewhere,
        })
    }

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

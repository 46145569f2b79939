//! Revocation (RFC 7009): ends a key where the server has a place for that.

use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::discovery;
use crate::error::{Code, Error};
use crate::http::{Method, Request};
use crate::run::Run;
use crate::secret::Secret;
use crate::settings::Settings;

const PURPOSE: &str = "the revocation";

impl Run {
    /// Revokes a key; does nothing where the server does not revoke.
    ///
    /// # Errors
    /// Those of discovery, of the metadata and of HTTP.
    pub(crate) fn revoke(&self, settings: &Settings, key: &Secret) -> Result<(), Error> {
        self.redactor.learn(key);
        let http = self.http(settings, self.deadline(settings.timeout))?;
        let server = settings.server.clone();
        let found = discovery::discover(&http, server, &settings.allowed, &self.redactor);
        let (server, metadata) = match found {
            Err(error) if error.code == Code::UnsupportedServer => return Ok(()),
            found => found?,
        };
        let Some(endpoint) = metadata.revocation_endpoint(&server)? else {
            self.log
                .tell(format_args!("the server does not revoke keys"));
            return Ok(());
        };
        let reply = http.send(&Request {
            purpose: PURPOSE,
            url: endpoint.url(),
            headers: &[],
            method: Method::Form(&form(key, settings.terms.client_id.as_deref())),
        })?;
        // A 200 is the answer for a key that is revoked and for one that never was (section 2.2).
        match reply.status {
            200..=299 => Ok(()),
            _ => Err(reply.unexpected(PURPOSE)),
        }
    }
}

/// The request's body (section 2.1).
fn form(key: &Secret, client_id: Option<&str>) -> Zeroizing<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", key.expose())
        .append_pair("token_type_hint", "access_token");
    if let Some(client_id) = client_id {
        form.append_pair("client_id", client_id);
    }
    Zeroizing::new(form.finish())
}

//! Revocation (RFC 7009): the form that goes out, and what the answer means.
//!
//! Pure.

use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::http::Reply;
use crate::secret::Secret;

/// The request's body (RFC 7009 section 2.1).
pub(crate) fn form(key: &Secret, client_id: Option<&str>) -> Zeroizing<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", key.expose())
        .append_pair("token_type_hint", "access_token");
    if let Some(client_id) = client_id {
        form.append_pair("client_id", client_id);
    }
    Zeroizing::new(form.finish())
}

/// A 200 is the answer for a key that is revoked and for one that never was (section 2.2).
///
/// # Errors
/// What any other status means.
pub(crate) fn confirmed(reply: &Reply) -> Result<(), Error> {
    match reply.status {
        200..=299 => Ok(()),
        _ => Err(reply.unexpected("the revocation")),
    }
}

//! Discovery: asks the server where it exchanges tokens (RFC 8414).

use crate::error::{Code, Error};
use crate::http::{Http, Method, Reply, Request};
use crate::metadata::{MISSING_PREFIX, Metadata, REQUIREMENT, looks_like_html, well_known_urls};
use crate::server::ServerUrl;
use crate::settings::Allowed;
use crate::words::Redactor;

/// The most redirects that discovery follows.
const REDIRECTS: usize = 3;
const PURPOSE: &str = "discovery";

/// The server, which a redirect to https may have moved, and its metadata.
///
/// # Errors
/// `unsupported_server` where none of the well-known places has any metadata, `unsafe_endpoint`
/// for a redirect to another origin, `server_not_allowed` where one leads past the allowed servers,
/// and those of HTTP and of [`Metadata`].
pub(crate) fn discover(
    http: &Http,
    mut server: ServerUrl,
    allowed: &Allowed,
    redactor: &Redactor,
) -> Result<(ServerUrl, Metadata), Error> {
    let mut redirects = 0;
    // One more place each time, of the server where it then is.
    for place in 0.. {
        let Some(mut url) = well_known_urls(&server).into_iter().nth(place) else {
            break;
        };
        let reply = loop {
            let reply = http.send(&Request {
                purpose: PURPOSE,
                url: &url,
                headers: &[],
                method: Method::Get,
            })?;
            let Some(location) = redirect(&reply)? else {
                break reply;
            };
            redirects += 1;
            if redirects > REDIRECTS {
                let message = format!("discovery was redirected more than {REDIRECTS} times");
                return Err(Error::new(Code::BadResponse, message).status(reply.status));
            }
            (server, url) = server
                .redirected(&url, location, redactor)
                .map_err(|error| sign_in_hint(error, &server).status(reply.status))?;
            allowed.check(&server)?;
        };
        match reply.status {
            200 => {
                let metadata = Metadata::parse(&reply.body).map_err(|error| {
                    let error = error.status(200);
                    match looks_like_html(&reply.body) {
                        true => sign_in_hint(error, &server),
                        false => error,
                    }
                })?;
                return Ok((server, metadata));
            }
            404 => {}
            _ => return Err(reply.unexpected(PURPOSE)),
        }
    }
    Err(Error::new(
        Code::UnsupportedServer,
        format!("{server} has no OAuth metadata, so it offers no token exchange"),
    )
    .status(404)
    .hints(dashboard_hint(&server))
    .hint(MISSING_PREFIX)
    .hint(REQUIREMENT))
}

/// Where a reply redirects to, if it does.
fn redirect(reply: &Reply) -> Result<Option<&str>, Error> {
    if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    match &reply.location {
        Some(location) => Ok(Some(location)),
        None => Err(reply.unexpected(PURPOSE)),
    }
}

/// What stands behind a web page or a redirect in place of metadata.
fn sign_in_hint(error: Error, server: &ServerUrl) -> Error {
    match dashboard_hint(server) {
        Some(hint) => error.hint(hint),
        None => error.hint(
            "a sign-in page may stand in front of the server; requests from programs must pass it",
        ),
    }
}

/// People copy the dashboard's address from their browser.
fn dashboard_hint(server: &ServerUrl) -> Option<String> {
    let above = server.as_str().strip_suffix("/connect/")?;
    Some(format!(
        "/connect is the dashboard's own path; drop it from the URL: {above}/"
    ))
}

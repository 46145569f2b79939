//! `github`: a mask for the log, and variables for the next steps of a GitHub Actions job.

use super::Credential;

/// The variable that names the file of variables.
pub(crate) const FILE: &str = "GITHUB_ENV";

/// The workflow command that masks the key. It goes out before anything could show the key.
pub(super) fn render(credential: &Credential) -> String {
    format!(
        "::add-mask::{}\n",
        credential.api_key.expose().replace('%', "%25")
    )
}

/// What is appended to the file of variables. Neither a key nor a URL holds a line feed.
pub(crate) fn variables(credential: &Credential) -> String {
    format!(
        "CONNECT_SERVER={}\nCONNECT_API_KEY={}\n",
        credential.server,
        credential.api_key.expose()
    )
}

//! What each operating system does in its own way, under the same names on all of them: programs
//! and what becomes of the process, names of variables, and where trust is kept.
//!
//! The rest of the program asks nowhere what it runs on.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

/// Why a path is no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoProgram {
    /// Nothing is there.
    Missing,
    /// Something is there that cannot be executed.
    NotExecutable,
}

/// The system's own verifier of certificates, where it has one.
///
/// # Errors
/// Where it cannot be used.
#[cfg(any(windows, target_vendor = "apple"))]
pub(crate) fn verifier(
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, rustls::Error> {
    let verifier = rustls_platform_verifier::Verifier::new(provider.clone())?;
    Ok(Some(Arc::new(verifier)))
}

/// Elsewhere trust is kept in files: [`BUNDLES`] and [`CERTIFICATES`].
#[cfg(not(any(windows, target_vendor = "apple")))]
pub(crate) fn verifier(
    _: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, rustls::Error> {
    Ok(None)
}

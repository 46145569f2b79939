//! Which certificates are trusted, and what a failed handshake means.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::clock::{Clock, Deadline};
use crate::environment::Environment;
use crate::error::{Code, Error};
use crate::expiry::Expiry;
use crate::input;
use crate::system;
use crate::words::shown;

/// What makes a server's certificate good.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The system's certificates; where the system has the variables and one is set, what
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` name in their place.
    System {
        file: Option<PathBuf>,
        directories: Vec<PathBuf>,
    },
    /// These certificates, as anchors and as themselves.
    Only(Arc<[CertificateDer<'static>]>),
    /// Any certificate at all (`--insecure`).
    Nothing,
}

impl Trust {
    /// The system's trust, as the environment has it.
    pub(crate) fn system(env: &Environment) -> Self {
        let named = |variable| {
            let value = env.get(variable);
            value.filter(|_| system::HAS_SSL_CERT_VARIABLES)
        };
        let directories = named("SSL_CERT_DIR").map(std::env::split_paths);
        Self::System {
            file: named("SSL_CERT_FILE").map(PathBuf::from),
            // An empty name between two colons names nothing.
            directories: directories
                .map(|all| all.filter(|path| !path.as_os_str().is_empty()).collect())
                .unwrap_or_default(),
        }
    }

    /// The certificates of a `--cacert` file.
    ///
    /// # Errors
    /// `usage` where it cannot be read or holds no certificate.
    pub(crate) fn from_file(path: &Path, deadline: Deadline) -> Result<Self, Error> {
        let name = shown(path);
        let pem = input::read_file(path, CERTIFICATES_LIMIT, deadline)
            .map_err(|why| why.into_error(Code::Usage, format!("the CA certificates in {name}")))?;
        let certificates = certificates(&pem);
        if anchors(&certificates).is_empty() {
            return Err(
                Error::usage(format!("{name} holds no certificate in PEM form"))
                    .hint("a PEM certificate starts with -----BEGIN CERTIFICATE-----"),
            );
        }
        Ok(Self::Only(certificates.into()))
    }

    /// What a TLS connection needs to know.
    ///
    /// # Errors
    /// `tls` where there is nothing to trust.
    pub(super) fn client_config(&self, deadline: Deadline) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(provider.clone(), deadline)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::new(Code::Tls, "no TLS version can be used"))?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
        deadline: Deadline,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        Ok(match self {
            Self::Nothing => Arc::new(AnyCertificate(provider)),
            Self::Only(certificates) => Arc::new(Verifier {
                anchors: anchors(certificates),
                themselves: certificates.clone(),
                provider,
            }),
            Self::System {
                file: None,
                directories,
            } if directories.is_empty() => of_system(provider, deadline)?,
            Self::System { file, directories } => {
                named(file.as_deref(), directories, provider, deadline)?
            }
        })
    }
}

/// The most bytes of a file of certificates: some thousands of them.
const CERTIFICATES_LIMIT: usize = 16 * 1024 * 1024;

/// The certificates in a PEM text (RFC 7468); what is no certificate is passed over. These are
/// public, so a fast decoder serves, where the one for private keys takes five times as long. A
/// system's bundle is most of a run's work, so each of its bytes is looked at as seldom as can be.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    // Words between certificates may be in any encoding; nearly always they are in this one.
    let text = std::str::from_utf8(pem).map_or_else(|_| String::from_utf8_lossy(pem), Cow::from);
    let mut found = Vec::new();
    let mut base64: Option<String> = None;
    for line in text.lines().map(str::trim_ascii) {
        match (line, &mut base64) {
            ("-----BEGIN CERTIFICATE-----", _) => base64 = Some(String::with_capacity(2_048)),
            ("-----END CERTIFICATE-----", _) => {
                let der = base64
                    .take()
                    .and_then(|base64| BASE64_STANDARD.decode(base64).ok());
                found.extend(der.map(CertificateDer::from));
            }
            (line, Some(base64)) => base64.push_str(line),
            (_, None) => {}
        }
    }
    found
}

fn anchors(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut anchors = RootCertStore::empty();
    anchors.add_parsable_certificates(certificates.iter().cloned());
    anchors
}

/// The certificates that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn named(
    file: Option<&Path>,
    directories: &[PathBuf],
    provider: Arc<CryptoProvider>,
    deadline: Deadline,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let mut found = Vec::new();
    if let Some(file) = file {
        let pem = input::read_file(file, CERTIFICATES_LIMIT, deadline).map_err(|why| {
            let name = format!("the certificates in {} (SSL_CERT_FILE)", shown(file));
            why.into_error(Code::Tls, name)
        })?;
        found.extend(certificates(&pem));
    }
    for directory in directories {
        found.extend(in_directory(directory, deadline).map_err(|error| {
            let name = shown(directory);
            Error::new(
                Code::Tls,
                format!(
                    "the directory {name} (SSL_CERT_DIR) cannot be read: {}",
                    error.kind()
                ),
            )
        })?);
    }
    trusting(&found, provider, || {
        let message = "SSL_CERT_FILE and SSL_CERT_DIR name no certificate to trust";
        Error::new(Code::Tls, message)
    })
}

/// The verifier that takes these certificates for anchors; without any, the error.
fn trusting(
    found: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
    none: impl FnOnce() -> Error,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let anchors = anchors(found);
    if anchors.is_empty() {
        return Err(none());
    }
    Ok(Arc::new(Verifier {
        anchors,
        themselves: Arc::new([]),
        provider,
    }))
}

/// The certificates in the files of a directory, each once: the names by hash that OpenSSL looks
/// for are links to files that stand there too.
fn in_directory(
    directory: &Path,
    deadline: Deadline,
) -> std::io::Result<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() {
            // One unreadable file among a directory's does not end the trust in the others.
            let pem = input::read_file(&path, CERTIFICATES_LIMIT, deadline).unwrap_or_default();
            found.extend(certificates(&pem));
        }
    }
    found.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    found.dedup();
    Ok(found)
}

/// The system's own trust: its verifier's, or else that of the first bundle that is there.
fn of_system(
    provider: Arc<CryptoProvider>,
    deadline: Deadline,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let own = system::verifier(&provider)
        .map_err(|_| Error::new(Code::Tls, "the system's certificates cannot be used"))?;
    if let Some(own) = own {
        return Ok(own);
    }
    let read = |bundle: &&str| {
        let pem = input::read_file(Path::new(bundle), CERTIFICATES_LIMIT, deadline).ok()?;
        Some(certificates(&pem))
    };
    let found = system::BUNDLES
        .iter()
        .find_map(read)
        .or_else(|| in_directory(Path::new(system::CERTIFICATES), deadline).ok());
    trusting(&found.unwrap_or_default(), provider, || {
        let message = "this system has no CA certificates to trust";
        let package =
            "install them (the package is called ca-certificates), or name a file with --cacert";
        Error::new(Code::Tls, message).hint(package)
    })
}

/// Checks a server's certificate against anchors, and against certificates trusted as themselves.
#[derive(Debug)]
struct Verifier {
    anchors: RootCertStore,
    themselves: Arc<[CertificateDer<'static>]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let chained = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.anchors,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        );
        match chained {
            // A self-signed server certificate that is given is trusted as itself, CA or not, as
            // curl does. Its dates were checked before whatever else failed.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            )) => chained?,
            Err(_) if self.themselves.iter().any(|itself| itself == end_entity) => {}
            chained => chained?,
        }
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Takes any certificate, readable or not (`--insecure`).
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a TLS failure means for whoever set up the server, the machine or the call.
pub(super) fn explain(error: &rustls::Error, host: &str, clock: Clock) -> Error {
    let tls = |message| Error::new(Code::Tls, message);
    match error {
        rustls::Error::InvalidCertificate(error) => explain_certificate(error, host, clock),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => tls(format!(
            "{host} wants a client certificate, which is not supported"
        )),
        rustls::Error::AlertReceived(alert) => {
            tls(format!("{host} ended the TLS connection (alert {alert:?})"))
        }
        rustls::Error::PeerIncompatible(_) => tls(format!(
            "{host} has no TLS version or cipher in common (TLS 1.2 or 1.3)"
        )),
        rustls::Error::InvalidMessage(_) => tls(format!("{host} does not speak TLS on that port"))
            .hint("check the port, or whether the server is http://, which needs --insecure"),
        _ => tls(format!("the TLS connection to {host} failed")),
    }
}

fn explain_certificate(error: &CertificateError, host: &str, clock: Clock) -> Error {
    let tls = |message| Error::new(Code::Tls, message);
    let date = |time: &UnixTime| Expiry::from_unix(time.as_secs());
    let now = Expiry::after((clock.utc)(), std::time::Duration::ZERO);
    match error {
        CertificateError::UnknownIssuer => tls(format!(
            "the certificate of {host} is from an unknown issuer"
        ))
        .hint("name the issuer's certificate with --cacert FILE, if you trust it"),
        CertificateError::BadSignature => tls(format!(
            "the certificate of {host} is from an unknown issuer, which has the name of a trusted one"
        ))
        .hint("name the issuer's certificate with --cacert FILE, if you trust it"),
        CertificateError::ExpiredContext { not_after, .. } => tls(format!(
            "the certificate of {host} expired at {}, and this machine's clock says {now}",
            date(not_after)
        )),
        CertificateError::NotValidYetContext { not_before, .. } => tls(format!(
            "the certificate of {host} is not valid before {}, and this machine's clock says {now}",
            date(not_before)
        )),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented
                .iter()
                .take(5)
                .map(|name| presented_name(name))
                .collect();
            tls(format!(
                "the certificate of {host} is for another name: {}",
                if names.is_empty() {
                    "it has none".into()
                } else {
                    names.join(", ")
                }
            ))
        }
        CertificateError::BadEncoding => tls(format!("the certificate of {host} cannot be read")),
        CertificateError::Revoked => tls(format!("the certificate of {host} is revoked")),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => tls(
            format!("the certificate of {host} is signed with an algorithm that is not supported"),
        ),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => tls(
            format!("the certificate of {host} is not made for a server"),
        ),
        _ => tls(format!("the certificate of {host} is not valid"))
            .hint("if it is self-signed and you trust it, name it with --cacert FILE"),
    }
}

/// A name in a certificate as `rustls` spells it, `DnsName("x")`, without the dressing. It is the
/// server's word, so only what a name is made of passes.
fn presented_name(name: &str) -> String {
    let name = name.split_once('(').map_or(name, |(_, name)| name);
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.*:".contains(*c))
        .take(100)
        .collect()
}

//! Knows how to make certificates: good ones, and each kind of bad one a client must refuse.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The names a test server answers to.
pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const DAY: i64 = 24 * 60 * 60;

/// A certificate authority that only a test trusts.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub fn new() -> Ca {
        let mut params = params_for(&[]);
        params
            .distinguished_name
            .push(DnType::CommonName, "Test CA");
        make_ca(&mut params);
        Ca(CertifiedIssuer::self_signed(params, new_key()).expect("a CA certificate"))
    }

    /// The one CA that most tests share, because keys cost time.
    pub fn shared() -> &'static Ca {
        static SHARED: OnceLock<Ca> = OnceLock::new();
        SHARED.get_or_init(Ca::new)
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A server certificate for these names and addresses, valid now.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_params(params_for(names))
    }

    /// A server certificate for [`LOCAL_NAMES`] with some of it changed.
    pub fn issue_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = params_for(&LOCAL_NAMES);
        change(&mut params);
        self.issue_params(params)
    }

    fn issue_params(&self, params: CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params
            .signed_by(&key, &self.0)
            .expect("a server certificate");
        Identity::from_parts(&certificate, &key)
    }
}

/// A certificate and its key: what a server shows and proves.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub cert_pem: String,
    pub key_pem: String,
}

impl Identity {
    /// The one good identity for [`LOCAL_NAMES`] that most servers share.
    pub fn shared() -> Identity {
        static SHARED: OnceLock<Identity> = OnceLock::new();
        SHARED
            .get_or_init(|| Ca::shared().issue(&LOCAL_NAMES))
            .clone()
    }

    /// A certificate that vouches for itself, as a CA or as a mere server.
    pub fn self_signed(names: &[&str], is_ca: bool) -> Identity {
        Identity::self_signed_with(names, is_ca, |_| {})
    }

    /// As `self_signed`, with some of it changed.
    pub fn self_signed_with(
        names: &[&str],
        is_ca: bool,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = params_for(names);
        if is_ca {
            make_ca(&mut params);
        }
        change(&mut params);
        let key = new_key();
        let certificate = params.self_signed(&key).expect("a self-signed certificate");
        Identity::from_parts(&certificate, &key)
    }

    /// A certificate and its key that another program made.
    pub fn from_pem(certificate: &str, key: &str) -> Identity {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let key_der = PrivateKeyDer::from_pem_slice(key.as_bytes());
        Identity {
            chain: vec![der.expect("a certificate in PEM form")],
            key: key_der.expect("a key in PEM form"),
            cert_pem: certificate.into(),
            key_pem: key.into(),
        }
    }

    fn from_parts(certificate: &rcgen::Certificate, key: &KeyPair) -> Identity {
        Identity {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            cert_pem: self.cert_pem.clone(),
            key_pem: self.key_pem.clone(),
        }
    }
}

/// From the shared CA, for the right names, valid until yesterday.
pub fn expired() -> Identity {
    Ca::shared().issue_with(make_expired)
}

/// From the shared CA, for the right names, valid from tomorrow.
pub fn not_yet_valid() -> Identity {
    Ca::shared().issue_with(|params| set_validity(params, 1, 30))
}

/// From the shared CA, valid now, for a name that no test server has.
pub fn other_name() -> Identity {
    Ca::shared().issue(&["other.example"])
}

/// Makes a certificate's validity end yesterday; fits `issue_with` and `self_signed_with`.
pub fn make_expired(params: &mut CertificateParams) {
    set_validity(params, -30, -1);
}

/// Sets the validity in days from now.
pub fn set_validity(params: &mut CertificateParams, from: i64, until: i64) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock past 1970");
    // Counted from the epoch, because the crate of the date type is not ours to name.
    let day = |offset: i64| {
        let seconds = now.as_secs().saturating_add_signed(offset * DAY);
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = day(from);
    params.not_after = day(until);
}

fn params_for(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names a certificate can hold");
    params
        .distinguished_name
        .push(DnType::CommonName, "Test server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, -1, 30);
    params
}

fn make_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    params.extended_key_usages.clear();
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key pair")
}

//! Whose certificates are good, and what is said of the others.

use std::path::Path;

use crate::support::certs::{
    Ca, Identity, expired, make_expired, not_yet_valid, other_name, set_validity,
};
use crate::support::server::{Builder, Server, accept};
use crate::world::*;

/// A server with this identity that exchanges a token.
fn with(identity: Identity) -> Builder {
    connect().identity(identity)
}

/// A server with this identity that nobody gets to talk to.
fn distrusted(identity: Identity) -> Server {
    Server::tls().identity(identity).start()
}

fn call_trusting(server: &Server, pem: &str) -> Call {
    let cacert = file("trusted.pem", pem);
    call(&[
        "-s",
        &server.url(),
        "--cacert",
        &cacert,
        "--identity-token",
        token(),
    ])
}

fn assert_told(call: Call, words: &[&str]) {
    let outcome = call.fails(5, "tls");
    for words in words {
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
    }
    assert_eq!(outcome.json()["error"]["retryable"], false);
}

#[test]
fn one_of_many_certificates_in_a_cacert_is_enough() {
    let unrelated = Ca::new().pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pem = format!("# ours\n{unrelated}\n{broken}{}", Ca::shared().pem()).replace('\n', "\r\n");
    let server = connect().start();
    call_trusting(&server, &pem).succeeds();
}

#[test]
fn cacert_takes_the_place_of_the_systems_trust() {
    let server = Server::tls().start();
    let call = call_trusting(&server, &Ca::new().pem()).env("SSL_CERT_FILE", ca_file());
    assert_told(call, &["unknown issuer", "--cacert"]);
}

#[test]
fn a_self_signed_certificate_is_trusted_as_itself_whether_ca_or_not() {
    for is_ca in [true, false] {
        let identity = Identity::self_signed(&["localhost"], is_ca);
        let pem = identity.cert_pem.clone();
        let server = with(identity).start();
        call_trusting(&server, &pem).succeeds();
    }
}

#[test]
fn a_self_signed_certificates_dates_and_name_are_checked_all_the_same() {
    for is_ca in [true, false] {
        let identity = Identity::self_signed_with(&["localhost"], is_ca, make_expired);
        let pem = identity.cert_pem.clone();
        assert_told(
            call_trusting(&distrusted(identity), &pem),
            &["expired at 20", "clock says 20"],
        );

        let tomorrow = |params: &mut _| set_validity(params, 1, 2);
        let identity = Identity::self_signed_with(&["localhost"], is_ca, tomorrow);
        let pem = identity.cert_pem.clone();
        assert_told(
            call_trusting(&distrusted(identity), &pem),
            &["not valid before 20"],
        );

        let identity = Identity::self_signed(&["other.example"], is_ca);
        let pem = identity.cert_pem.clone();
        assert_told(
            call_trusting(&distrusted(identity), &pem),
            &["other.example"],
        );
    }
}

#[test]
fn another_self_signed_certificate_is_not_the_one_that_was_given() {
    for is_ca in [true, false] {
        let given = Identity::self_signed(&["localhost"], is_ca).cert_pem;
        let server = distrusted(Identity::self_signed(&["localhost"], is_ca));
        assert_told(
            call_trusting(&server, &given),
            &["the certificate of localhost"],
        );
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    for (identity, words) in [
        (
            expired(),
            &["expired at 20", "this machine's clock says 20"][..],
        ),
        (
            not_yet_valid(),
            &["is not valid before 20", "this machine's clock says 20"],
        ),
        (other_name(), &["is for another name: "]),
        (
            Ca::new().issue(&["localhost"]),
            &["unknown issuer", "--cacert"],
        ),
    ] {
        let server = distrusted(identity);
        assert_told(call_at(&server, &[]), words);
        assert_eq!(server.requests().len(), 0);
    }
}

#[test]
fn insecure_takes_them_all() {
    for identity in [
        expired(),
        not_yet_valid(),
        other_name(),
        Ca::new().issue(&["localhost"]),
        Identity::self_signed(&["x"], true),
    ] {
        let server = with(identity).start();
        call(&["-s", &server.url(), "-i", "--identity-token", token()]).succeeds();
    }
}

#[test]
fn ssl_cert_file_and_ssl_cert_dir_are_the_whole_trust() {
    let empty = folder("no-certificates");
    let full = folder("certificates");
    std::fs::copy(ca_file(), Path::new(&full).join("ca.pem")).unwrap();
    std::fs::write(Path::new(&full).join("README"), "not a certificate").unwrap();
    let both = format!("{empty}:{full}");
    for variables in [
        &[("SSL_CERT_FILE", ca_file())][..],
        &[("SSL_CERT_FILE", ca_file()), ("SSL_CERT_DIR", &empty)],
        &[("SSL_CERT_DIR", &full)],
        &[("SSL_CERT_DIR", &both)],
    ] {
        let server = connect().start();
        let mut call = call(&["-s", &server.url(), "--identity-token", token()]);
        for (name, value) in variables {
            call = call.env(name, value);
        }
        call.succeeds();
    }
    for (variable, value, words) in [
        (
            "SSL_CERT_FILE",
            "/nonexistent/ca.pem",
            "/nonexistent/ca.pem (SSL_CERT_FILE)",
        ),
        (
            "SSL_CERT_DIR",
            "/nonexistent/certs",
            "/nonexistent/certs (SSL_CERT_DIR)",
        ),
        ("SSL_CERT_DIR", &empty, "no certificate to trust"),
        ("SSL_CERT_FILE", "/dev/null", "no certificate to trust"),
    ] {
        let server = Server::tls().start();
        let call = call(&["-s", &server.url(), "--identity-token", token()]);
        assert_told(call.env(variable, value), &[words]);
    }
}

#[test]
fn plain_http_where_tls_should_be_is_told() {
    let server = Server::tls()
        .step(accept().send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
        .start();
    assert_told(call_at(&server, &[]), &["does not speak TLS"]);
}

#[test]
fn tls_1_2_and_1_3_are_spoken() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = connect().versions(&[version]).start();
        call_at(&server, &[]).succeeds();
    }
}

#[test]
fn a_handshake_that_is_cut_is_unreachable() {
    for bytes in [0, 5, 100, 600] {
        let cut = || accept().cut_handshake(bytes);
        let server = Server::tls().step(cut()).step(cut()).step(cut()).start();
        call_at(&server, &[]).fails(5, "unreachable");
    }
}

#[test]
fn a_certificate_as_openssl_makes_it_is_trusted_as_itself() {
    if !is_installed("openssl", "a certificate as openssl makes it") {
        return;
    }
    let folder = folder("openssl");
    let path = |name: &str| format!("{folder}/{name}");
    let made = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let identity = Identity::from_pem(&read("cert.pem"), &read("key.pem"));
    let server = with(identity).start();
    call_trusting(&server, &read("cert.pem")).succeeds();
}

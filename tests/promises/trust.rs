//! Which certificates are trusted, and that a refused one is told in words that help.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::support::certs::{
    Ca, Identity, LOCAL_NAMES, expired, make_expired, not_yet_valid, other_name,
};
use crate::support::process::Outcome;
use crate::support::server::{Builder, Server, accept};
use crate::world::*;

/// A call that trusts this file, and knows the token.
fn call_trusting(server: &Server, pem: &str) -> Call {
    call(&["-s", &server.url(), "--cacert", &file("trusted.pem", pem)])
        .args(&["--identity-token-file", token_file()])
}

/// A call that trusts what the system and its variables say.
fn call_system(server: &Server) -> Call {
    call(&["-s", &server.url(), "--identity-token-file", token_file()])
}

/// A CA with the name of the shared one and another key, as one that was made again.
fn unrelated() -> &'static Ca {
    static UNRELATED: OnceLock<Ca> = OnceLock::new();
    UNRELATED.get_or_init(Ca::new)
}

/// A new directory, with these files in it.
fn directory(files: &[(&str, &str)]) -> String {
    let path = PathBuf::from(file("certs", "")).with_extension("d");
    fs::create_dir_all(&path).unwrap();
    for (name, content) in files {
        fs::write(path.join(name), content).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

/// Expects that no request was made, let alone a token sent.
fn refused(server: &Server, call: Call) -> Outcome {
    let outcome = call.fails(5, "tls");
    assert_eq!(outcome.json()["error"]["retryable"], false);
    assert_eq!(server.requests().len(), 0);
    outcome
}

/// Expects all of these in what is told.
fn tells(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(outcome.stderr.contains(word), "no {word:?} in {outcome:#?}");
    }
}

/// How many times stand in what is told, as the program spells them.
fn times_told(outcome: &Outcome) -> usize {
    let is_time = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        word.len() == 20 && word.starts_with("20") && word.ends_with('Z') && word.contains('T')
    };
    outcome
        .stderr
        .split_whitespace()
        .filter(|word| is_time(word))
        .count()
}

#[test]
fn a_cacert_file_may_hold_many_certificates_with_words_between() {
    let key = Identity::shared().key_pem;
    let bundle = format!(
        "# Our own\r\nSubject: CN=Unrelated\r\n{}\n\nand the one that counts:\n{}\n{key}\n\
         -----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n{}",
        unrelated().pem().replace('\n', "\r\n"),
        Ca::shared().pem(),
        unrelated().pem(),
    );
    let server = connect().start();
    call_trusting(&server, &bundle).succeeds();
}

#[test]
fn a_cacert_file_is_the_whole_trust() {
    let server = Server::tls().start();
    let call = call_trusting(&server, &unrelated().pem()).env("SSL_CERT_FILE", ca_file());
    tells(&refused(&server, call), &["unknown issuer", "--cacert"]);
}

#[test]
fn a_cacert_file_silences_the_variables_of_the_system() {
    let server = connect().start();
    call_at(&server, &[])
        .env("SSL_CERT_FILE", "/nonexistent/bundle.pem")
        .env("SSL_CERT_DIR", "/nonexistent/certs")
        .succeeds();
}

#[test]
fn a_cacert_file_without_a_certificate_is_a_usage_error_that_names_it() {
    let server = Server::tls().start();
    let key = Identity::shared().key_pem;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let endless = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    for content in ["", "not PEM", &key, broken, endless, "\u{0}\u{1}"] {
        let path = file("nothing.pem", content);
        let outcome = call_system(&server)
            .args(&["--cacert", &path])
            .fails(2, "usage");
        tells(&outcome, &[&path]);
    }
    let missing = "/nonexistent/ca.pem";
    let outcome = call_system(&server)
        .env("CONNECT_CA_CERTIFICATE", missing)
        .fails(2, "usage");
    tells(&outcome, &[missing]);
    let outcome = call_system(&server)
        .args(&["--cacert", &directory(&[])])
        .fails(2, "usage");
    tells(&outcome, &["directory"]);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_self_signed_certificate_is_trusted_as_itself_ca_or_not() {
    for is_ca in [false, true] {
        let identity = Identity::self_signed(&LOCAL_NAMES, is_ca);
        let pem = identity.cert_pem.clone();
        let server = connect().identity(identity).start();
        call_trusting(&server, &pem).succeeds();
    }
}

#[test]
fn a_self_signed_certificate_among_others_is_trusted_as_itself() {
    let identity = Identity::self_signed(&LOCAL_NAMES, true);
    let pem = format!("{}{}", unrelated().pem(), identity.cert_pem);
    let server = connect().identity(identity).start();
    call_trusting(&server, &pem).succeeds();
}

#[test]
fn a_server_certificate_from_a_ca_is_trusted_as_itself() {
    let pem = Identity::shared().cert_pem;
    let server = connect().start();
    call_trusting(&server, &pem).succeeds();
}

#[test]
fn a_given_self_signed_certificate_must_be_of_now() {
    for is_ca in [false, true] {
        let identity = Identity::self_signed_with(&LOCAL_NAMES, is_ca, make_expired);
        let pem = identity.cert_pem.clone();
        let server = Server::tls().identity(identity).start();
        let outcome = refused(&server, call_trusting(&server, &pem));
        tells(&outcome, &["expired"]);
        assert_eq!(times_told(&outcome), 2, "{outcome:#?}");
    }
}

#[test]
fn a_given_self_signed_certificate_must_be_for_the_servers_name() {
    for is_ca in [false, true] {
        let identity = Identity::self_signed(&["connect.example.com", "10.1.2.3"], is_ca);
        let pem = identity.cert_pem.clone();
        let server = Server::tls().identity(identity).start();
        let outcome = refused(&server, call_trusting(&server, &pem));
        tells(&outcome, &["another name", "connect.example.com"]);
    }
}

#[test]
fn another_self_signed_certificate_than_the_given_one_is_refused() {
    for is_ca in [false, true] {
        let given = Identity::self_signed(&LOCAL_NAMES, is_ca);
        let shown = Identity::self_signed(&LOCAL_NAMES, is_ca);
        let server = Server::tls().identity(shown).start();
        refused(&server, call_trusting(&server, &given.cert_pem));
    }
}

#[test]
fn a_self_signed_certificate_that_is_not_given_is_refused() {
    for is_ca in [false, true] {
        let identity = Identity::self_signed(&LOCAL_NAMES, is_ca);
        let server = Server::tls().identity(identity).start();
        for call in [call_at(&server, &[]), call_system(&server)] {
            let outcome = refused(&server, call);
            tells(&outcome, &["--cacert"]);
            assert!(
                is_ca || outcome.stderr.contains("unknown issuer"),
                "{outcome:#?}"
            );
        }
    }
}

#[test]
fn an_expired_certificate_is_told_with_its_date_and_this_machines_clock() {
    let server = Server::tls().identity(expired()).start();
    let outcome = refused(&server, call_at(&server, &[]));
    tells(&outcome, &["expired", "clock"]);
    assert_eq!(times_told(&outcome), 2, "{outcome:#?}");
}

#[test]
fn a_certificate_of_the_future_is_told_with_its_date_and_this_machines_clock() {
    let server = Server::tls().identity(not_yet_valid()).start();
    let outcome = refused(&server, call_at(&server, &[]));
    tells(&outcome, &["not valid before", "clock"]);
    assert_eq!(times_told(&outcome), 2, "{outcome:#?}");
}

#[test]
fn a_certificate_for_another_name_is_told_with_its_names() {
    let server = Server::tls().identity(other_name()).start();
    let outcome = refused(&server, call_at(&server, &[]));
    tells(&outcome, &["another name", "other.example"]);

    let names: Vec<String> = (0..300)
        .map(|number| format!("n{number}.example"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = Ca::shared().issue(&names);
    let server = Server::tls().identity(many).start();
    let outcome = refused(&server, call_at(&server, &[]));
    tells(&outcome, &["n0.example"]);
    assert!(outcome.stderr.len() < 1_000, "{outcome:#?}");

    let nobody = Ca::shared().issue(&[]);
    let server = Server::tls().identity(nobody).start();
    tells(&refused(&server, call_at(&server, &[])), &["name"]);
}

#[test]
fn an_address_must_be_in_the_certificate_too() {
    let identity = Ca::shared().issue(&["localhost"]);
    let server = Server::tls().identity(identity).named("127.0.0.1").start();
    let outcome = refused(&server, call_at(&server, &[]));
    tells(&outcome, &["another name", "localhost"]);
}

#[test]
fn an_unknown_issuer_is_told_with_the_way_to_trust_it() {
    let server = Server::tls()
        .identity(unrelated().issue(&LOCAL_NAMES))
        .start();
    let outcome = refused(&server, call_at(&server, &[]));
    tells(&outcome, &["unknown issuer", "--cacert"]);
}

#[test]
fn ssl_cert_file_is_trusted() {
    let server = connect().start();
    call_system(&server)
        .env("SSL_CERT_FILE", ca_file())
        .succeeds();
    let server = connect().start();
    call_system(&server)
        .env("SSL_CERT_FILE", ca_file())
        .env("SSL_CERT_DIR", &directory(&[]))
        .succeeds();
}

#[test]
fn ssl_cert_dir_is_trusted_each_of_its_directories() {
    let ca = Ca::shared().pem();
    let one = directory(&[("README", "not a certificate"), ("ours.crt", &ca)]);
    let server = connect().start();
    call_system(&server).env("SSL_CERT_DIR", &one).succeeds();
    let server = connect().start();
    let two = format!("{}:{one}", directory(&[("x.pem", &unrelated().pem())]));
    call_system(&server).env("SSL_CERT_DIR", &two).succeeds();
}

#[test]
fn ssl_cert_file_and_ssl_cert_dir_are_the_whole_trust() {
    let server = Server::tls().start();
    let other = file("other.pem", unrelated().pem());
    let call = call_system(&server).env("SSL_CERT_FILE", &other);
    tells(&refused(&server, call), &["unknown issuer"]);
}

#[test]
fn a_missing_ssl_cert_file_or_directory_is_named_with_its_variable() {
    let server = Server::tls().start();
    for (variable, other) in [
        ("SSL_CERT_FILE", "SSL_CERT_DIR"),
        ("SSL_CERT_DIR", "SSL_CERT_FILE"),
    ] {
        let missing = "/nonexistent/certificates";
        let call = call_system(&server).env(variable, missing);
        tells(&refused(&server, call), &[missing, variable]);
        // What the other one names does not hide the mistake.
        let good = match other {
            "SSL_CERT_FILE" => ca_file().to_owned(),
            _ => directory(&[("ca.pem", &Ca::shared().pem())]),
        };
        let call = call_system(&server)
            .env(variable, missing)
            .env(other, &good);
        tells(&refused(&server, call), &[missing, variable]);
    }
    let both = format!(
        "{}:/nonexistent/more",
        directory(&[("ca.pem", &Ca::shared().pem())])
    );
    let call = call_system(&server).env("SSL_CERT_DIR", &both);
    tells(
        &refused(&server, call),
        &["/nonexistent/more", "SSL_CERT_DIR"],
    );
}

#[test]
fn ssl_cert_variables_that_name_no_certificate_are_no_trust() {
    let server = Server::tls().start();
    let empty = file("empty.pem", "nothing here\n");
    let call = call_system(&server).env("SSL_CERT_FILE", &empty);
    tells(&refused(&server, call), &["SSL_CERT_FILE"]);
    let call = call_system(&server).env("SSL_CERT_DIR", &directory(&[]));
    tells(&refused(&server, call), &["SSL_CERT_DIR"]);
    let call = call_system(&server).env("SSL_CERT_FILE", &directory(&[]));
    tells(&refused(&server, call), &["SSL_CERT_FILE", "directory"]);
}

#[test]
fn empty_ssl_cert_variables_are_unset() {
    let server = Server::tls().start();
    let call = call_system(&server)
        .env("SSL_CERT_FILE", "")
        .env("SSL_CERT_DIR", "");
    tells(&refused(&server, call), &["--cacert"]);
}

#[test]
fn plain_http_on_a_tls_port_is_told() {
    let answer = &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..];
    let server = Server::tls().step(accept().send(answer)).start();
    let outcome = refused(&server, call_at(&server, &[]));
    tells(&outcome, &["does not speak TLS", "http://", "--insecure"]);

    let server = Server::tls()
        .step(accept().send("SSH-2.0-OpenSSH_9.9\r\n"))
        .start();
    tells(
        &refused(&server, call_at(&server, &[])),
        &["does not speak TLS"],
    );
}

#[test]
fn tls_1_2_is_enough_and_so_is_1_3() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = connect().versions(&[version]).start();
        call_at(&server, &[]).succeeds();
        assert_eq!(server.handshakes(), 1);
    }
}

#[test]
fn a_bad_certificate_is_refused_in_tls_1_2_too() {
    let old = |builder: Builder| builder.versions(&[&rustls::version::TLS12]).start();
    let server = old(Server::tls().identity(expired()));
    tells(&refused(&server, call_at(&server, &[])), &["expired"]);
    let server = old(Server::tls().identity(other_name()));
    tells(&refused(&server, call_at(&server, &[])), &["other.example"]);
}

#[test]
fn a_handshake_that_is_cut_is_unreachable() {
    for bytes in [0, 3, 100] {
        let cut = || accept().cut_handshake(bytes);
        let server = Server::tls().step(cut()).step(cut()).step(cut()).start();
        let outcome = call_at(&server, &["--timeout", "2"]).fails(5, "unreachable");
        assert_eq!(outcome.json()["error"]["retryable"], true);
    }
}

#[test]
fn insecure_takes_any_certificate() {
    for identity in [
        expired(),
        not_yet_valid(),
        other_name(),
        unrelated().issue(&LOCAL_NAMES),
        Identity::self_signed(&["other.example"], true),
        Identity::self_signed_with(&LOCAL_NAMES, false, make_expired),
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let server = connect()
                .identity(identity.clone())
                .versions(&[version])
                .start();
            call_system(&server).args(&["--insecure"]).succeeds();
        }
    }
}

#[test]
fn insecure_needs_no_certificates_of_the_system() {
    let server = connect().start();
    call_system(&server)
        .args(&["-i"])
        .env("SSL_CERT_FILE", "/nonexistent/bundle.pem")
        .succeeds();
}

/// A self-signed certificate as `openssl req -x509` makes it, which is a CA.
fn made_by_openssl(key_type: &[&str], more: &[&str]) -> Option<Identity> {
    if !is_installed("openssl", "a certificate made by openssl req -x509") {
        return None;
    }
    let (key, cert) = (file("openssl.key", ""), file("openssl.crt", ""));
    let mut args = vec!["req", "-x509", "-nodes", "-days", "2", "-newkey"];
    args.extend(key_type);
    args.extend([
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]);
    args.extend(["-keyout", &key, "-out", &cert]);
    args.extend(more);
    let output = Command::new("openssl").args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let (key_pem, cert_pem) = (
        fs::read_to_string(&key).unwrap(),
        fs::read_to_string(&cert).unwrap(),
    );
    Some(Identity {
        chain: vec![CertificateDer::from_pem_slice(cert_pem.as_bytes()).unwrap()],
        key: PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap(),
        cert_pem,
        key_pem,
    })
}

#[test]
fn a_certificate_made_by_openssl_req_x509_is_trusted_as_itself() {
    let ec = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    for key_type in [&["rsa:2048"][..], &ec] {
        let Some(identity) = made_by_openssl(key_type, &[]) else {
            return;
        };
        let pem = identity.cert_pem.clone();
        let server = connect().identity(identity.clone()).start();
        call_trusting(&server, &pem).succeeds();
        let server = Server::tls().identity(identity).start();
        refused(&server, call_at(&server, &[]));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_certificate_that_is_signed_with_an_odd_algorithm_is_told() {
    let odd = ["ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"];
    let Some(ca) = made_by_openssl(&odd, &[]) else {
        return;
    };
    let (cert, key) = (file("odd.crt", &ca.cert_pem), file("odd.key", &ca.key_pem));
    let usual = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let end_entity = "basicConstraints=critical,CA:FALSE";
    let signed = ["-CA", &cert, "-CAkey", &key, "-addext", end_entity];
    let identity = made_by_openssl(&usual, &signed).unwrap();
    let server = Server::tls().identity(identity).start();
    let outcome = refused(&server, call_trusting(&server, &ca.cert_pem));
    tells(&outcome, &["algorithm that is not supported"]);
}

#[test]
fn a_server_of_tls_1_1_only_is_told() {
    let Some(identity) = made_by_openssl(&["rsa:2048"], &[]) else {
        return;
    };
    let (key, cert) = (
        file("old.key", &identity.key_pem),
        file("old.crt", &identity.cert_pem),
    );
    // A port that was free a moment ago: openssl does not say which one it took.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-tls1_1",
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-quiet",
        ])
        .args([
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-key",
            &key,
            "-cert",
            &cert,
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let is_up = server.try_wait().unwrap().is_none();
        assert!(
            is_up && std::time::Instant::now() < deadline,
            "openssl s_server does not start"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let url = format!("https://localhost:{port}");
    let outcome = call(&["-s", &url, "--cacert", &cert, "--timeout", "5"])
        .args(&["--identity-token-file", token_file()])
        .run();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(outcome.status, Some(5), "{outcome:#?}");
    assert_eq!(outcome.code(), "tls", "{outcome:#?}");
    tells(&outcome, &["TLS"]);
}

//! The least that the exchange costs with `rustls`: one handshake, two fixed requests, and the key
//! out of a reply that has to be as expected. `floor HOST:PORT CA-FILE TOKEN-FILE`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a yardstick, which fails by panicking"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().unwrap();
    let (address, ca, token) = (arg(), arg(), arg());

    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = address.rsplit_once(':').unwrap().0.to_owned();
    let name = ServerName::try_from(host).unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(&address).unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut tls = StreamOwned::new(tls, tcp);

    let discovery =
        format!("GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: {address}\r\n\r\n");
    ask(&mut tls, &discovery);
    let token = std::fs::read_to_string(token).unwrap();
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={}\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token\
         &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token",
        token.trim_end()
    );
    let exchange = format!(
        "POST /__api__/v1/oauth/token HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let reply = ask(&mut tls, &exchange);
    let (_, key) = reply.split_once("\"access_token\":\"").unwrap();
    println!("{}", key.split_once('"').unwrap().0);
}

/// Sends a request, and reads until the reply's JSON has ended, as it does with its one object.
fn ask(tls: &mut Tls, request: &str) -> String {
    tls.write_all(request.as_bytes()).unwrap();
    tls.flush().unwrap();
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    while !reply.ends_with(b"}") {
        let count = tls.read(&mut buffer).unwrap();
        reply.extend(buffer.iter().take(count));
    }
    String::from_utf8(reply).unwrap()
}

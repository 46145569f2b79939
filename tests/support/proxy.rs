//! Knows how to be an HTTP proxy that tunnels with CONNECT, and how to be a bad one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::life::{Life, lock};
use super::link::{drain, finish_writing, reset_on_drop};
pub use super::request::Head;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A running proxy. It ends, with its tunnels, when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

enum Behaviour {
    Tunnel,
    RequireBasic { credentials: String },
    Reply(Vec<u8>),
    Drip(Vec<u8>, Duration),
    Silence,
    Close,
}

struct Shared {
    life: Arc<Life>,
    behaviour: Behaviour,
    forward_to: Mutex<Option<SocketAddr>>,
    requests: Mutex<Vec<Head>>,
    failures: Mutex<Vec<String>>,
}

impl Proxy {
    /// Tunnels to wherever it is asked.
    pub fn start() -> Proxy {
        Proxy::behaving(Behaviour::Tunnel)
    }

    /// Tunnels only with these credentials, and answers 407 without.
    pub fn requiring_basic(user: &str, password: &str) -> Proxy {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        Proxy::behaving(Behaviour::RequireBasic { credentials })
    }

    /// Answers every request with these bytes, and ends the connection.
    pub fn replying(bytes: impl Into<Vec<u8>>) -> Proxy {
        Proxy::behaving(Behaviour::Reply(bytes.into()))
    }

    /// Answers with these bytes one at a time, with a pause after each.
    pub fn dripping(bytes: impl Into<Vec<u8>>, pause: Duration) -> Proxy {
        Proxy::behaving(Behaviour::Drip(bytes.into(), pause))
    }

    /// Reads the request and never answers.
    pub fn silent() -> Proxy {
        Proxy::behaving(Behaviour::Silence)
    }

    /// Reads the request and ends the connection.
    pub fn closing() -> Proxy {
        Proxy::behaving(Behaviour::Close)
    }

    /// Tunnels here whatever name is asked for, which then need not resolve.
    pub fn forward_to(self, address: SocketAddr) -> Proxy {
        *lock(&self.shared.forward_to) = Some(address);
        self
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL with credentials in it, percent-encoded by the caller.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The head of every request so far.
    pub fn requests(&self) -> Vec<Head> {
        lock(&self.shared.requests).clone()
    }

    /// What was no request, or could not be tunnelled.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.shared.failures).clone()
    }

    fn behaving(behaviour: Behaviour) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free local port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            life: Life::new(),
            behaviour,
            forward_to: Mutex::default(),
            requests: Mutex::default(),
            failures: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        shared.life.accept_from(listener, move |client| {
            let connection = Arc::clone(&serving);
            serving.life.spawn(move || {
                if let Err(why) = connection.serve(client) {
                    connection.fail(why);
                }
            });
        });
        Proxy { shared, address }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.life.stop();
    }
}

impl Shared {
    /// Noted before the client hears of it, so that the test finds it then.
    fn fail(&self, why: String) {
        lock(&self.failures).push(why);
    }

    fn serve(&self, client: Arc<TcpStream>) -> Result<(), String> {
        let mut early = Vec::new();
        let Some(head) = Head::read(&mut &*client, &mut early)? else {
            return Ok(());
        };
        lock(&self.requests).push(head.clone());
        match &self.behaviour {
            Behaviour::Tunnel => self.tunnel(client, &head, &early)?,
            Behaviour::RequireBasic { credentials } if has_basic(&head, credentials) => {
                self.tunnel(client, &head, &early)?;
            }
            Behaviour::RequireBasic { .. } => refuse(
                &client,
                "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"",
            ),
            Behaviour::Reply(bytes) => say(&client, bytes),
            Behaviour::Drip(bytes, pause) => self.drip(&client, bytes, *pause),
            Behaviour::Silence => drain(&mut &*client),
            Behaviour::Close => say(&client, b""),
        }
        Ok(())
    }

    fn drip(&self, client: &TcpStream, bytes: &[u8], pause: Duration) {
        let mut to = client;
        for byte in bytes {
            if to.write_all(&[*byte]).is_err() || !self.life.sleep(pause) {
                return;
            }
        }
        say(client, b"");
    }

    fn tunnel(&self, client: Arc<TcpStream>, head: &Head, early: &[u8]) -> Result<(), String> {
        let (method, authority, _) = head.request_line()?;
        if method != "CONNECT" {
            self.fail(format!("not CONNECT: {:?}", head.line));
            refuse(&client, "405 Method Not Allowed");
            return Ok(());
        }
        let upstream = match self.reach(&authority) {
            Ok(upstream) => upstream,
            Err(error) => {
                self.fail(format!("{authority} cannot be reached: {error}"));
                refuse(&client, "502 Bad Gateway");
                return Ok(());
            }
        };
        let Some(upstream) = self.life.adopt(upstream) else {
            return Ok(());
        };
        // A failure to write shows again in the relays, which then end.
        let _ = (&*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        let _ = (&*upstream).write_all(early);
        let (from, to) = (Arc::clone(&client), Arc::clone(&upstream));
        self.life.spawn(move || relay(&from, &to));
        relay(&upstream, &client);
        Ok(())
    }

    fn reach(&self, authority: &str) -> io::Result<TcpStream> {
        let addresses = match *lock(&self.forward_to) {
            Some(address) => vec![address],
            None => authority.to_socket_addrs()?.collect(),
        };
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Carries one direction: its bytes, its end, and a reset as a reset.
fn relay(from: &TcpStream, to: &TcpStream) {
    let (mut source, mut sink) = (from, to);
    let mut buffer = [0; 16 * 1024];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return finish_writing(to),
            Ok(count) if sink.write_all(&buffer[..count]).is_ok() => {}
            Ok(_) => {
                // Nobody takes these bytes any more, so their sender should learn of it.
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                reset_on_drop(to);
                // Wakes the other direction, which holds the socket too.
                let _ = to.shutdown(Shutdown::Read);
                return;
            }
        }
    }
}

fn has_basic(head: &Head, credentials: &str) -> bool {
    let value = head.header("proxy-authorization").unwrap_or_default();
    value.split_once(' ').is_some_and(|(scheme, sent)| {
        scheme.eq_ignore_ascii_case("basic") && sent.trim() == credentials
    })
}

fn refuse(client: &TcpStream, status: &str) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    say(client, head.as_bytes());
}

/// Says the last words on a connection, and waits for the client to leave.
fn say(client: &TcpStream, bytes: &[u8]) {
    let (mut sink, mut source) = (client, client);
    if sink.write_all(bytes).is_ok() {
        finish_writing(client);
        drain(&mut source);
    }
}

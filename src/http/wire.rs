//! The wire below HTTP: name look-up, TCP, a proxy's tunnel, TLS, all under one deadline.
//!
//! `ureq`'s own connectors measure time per phase, and one of their phases has a hole; here the
//! deadline is absolute and holds at every read and write.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, thread};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use url::Url;

use super::{HEAD_LIMIT, Trust, USER_AGENT, trust};
use crate::clock::Deadline;
use crate::error::{Code, Error};
use crate::proxy::{Proxies, Proxy, Route};
use crate::words::Redactor;

/// Why there is no connection: what [`ureq::Error::Other`] carries from here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("unknown host")]
    UnknownHost { proxy: Option<String> },
    #[error("no connection")]
    Connect {
        proxy: Option<String>,
        error: io::Error,
    },
    #[error("the proxy refused")]
    Proxy { proxy: String, status: u16 },
    #[error("the proxy answered garbage")]
    ProxyGarbage { proxy: String },
    /// Already told in full, such as a proxy that cannot be used.
    #[error("{0}")]
    Told(Error),
}

impl Failure {
    /// Nothing has been sent yet, so repeating is safe; whether it can help is the question.
    pub(super) fn may_repeat(&self) -> bool {
        match self {
            Self::UnknownHost { .. } | Self::Connect { .. } => true,
            Self::Proxy { status, .. } => matches!(status, 502..=504),
            Self::ProxyGarbage { .. } | Self::Told(_) => false,
        }
    }

    /// `way` is the host, with the proxy on the way to it.
    pub(super) fn into_error(self, host: &str, way: &str) -> Error {
        let unreachable = |message| Error::new(Code::Unreachable, message);
        match self {
            Self::UnknownHost { proxy: None } => {
                unreachable(format!("the host name of {host} is unknown"))
                    .hint("check the server's URL, and that this machine's name service knows it")
            }
            Self::UnknownHost { proxy: Some(proxy) } => {
                unreachable(format!("the host name of the proxy {proxy} is unknown"))
            }
            Self::Connect { proxy, error } => {
                let to = proxy.map_or_else(|| way.to_owned(), |proxy| format!("the proxy {proxy}"));
                let how = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "was refused",
                    io::ErrorKind::ConnectionReset => "was reset",
                    io::ErrorKind::UnexpectedEof => "was closed before it was set up",
                    io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                        "has no route"
                    }
                    _ => "failed",
                };
                unreachable(format!("the connection to {to} {how}"))
            }
            Self::Proxy { proxy, status: 407 } => {
                unreachable(format!("the proxy {proxy} wants credentials (HTTP 407)"))
                    .hint("put them into the proxy's URL: http://USER:PASSWORD@HOST:PORT")
                    .status(407)
                    .retryable(false)
            }
            Self::Proxy { proxy, status } => unreachable(format!(
                "the proxy {proxy} would not connect to {host} (HTTP {status})"
            ))
            .status(status),
            Self::ProxyGarbage { proxy } => unreachable(format!(
                "the proxy {proxy} answered with something that is not HTTP"
            )),
            Self::Told(error) => error,
        }
    }
}

impl From<Failure> for ureq::Error {
    fn from(failure: Failure) -> Self {
        Self::Other(Box::new(failure))
    }
}

/// A failed read of a reply, in disguise: `ureq` would take an end without TLS's farewell, or a
/// reset, for the end of a body that has no length, and a part of it for the whole (RFC 9112
/// section 9.8).
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Dropped(io::Error);

/// The error without its disguise.
pub(super) fn undisguised(error: ureq::Error) -> ureq::Error {
    match error {
        ureq::Error::Other(error) => match error.downcast::<Dropped>() {
            Ok(dropped) => dropped.0.into(),
            Err(error) => ureq::Error::Other(error),
        },
        error => error,
    }
}

/// The `rustls` error inside a failed read or write, if that is what failed it.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What a client is doing, for messages, and what may be concluded from how far it got.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    kept: bool,
    heard: bool,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    LookUp,
    Connect,
    Tunnel,
    Handshake,
    Send,
    Receive,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A try begins: until a connection is made, it is on a kept one.
    pub(super) fn begin(&self) {
        *self.state() = State {
            kept: true,
            ..State::default()
        };
    }

    /// Whether the try went out on a connection kept from an earlier request.
    pub(super) fn was_kept(&self) -> bool {
        self.state().kept
    }

    /// Whether any byte of the reply has come.
    pub(super) fn heard(&self) -> bool {
        self.state().heard
    }

    pub(super) fn doing(&self, host: &str) -> String {
        match self.state().stage {
            Stage::LookUp => format!("looking up {host}"),
            Stage::Connect => format!("connecting to {host}"),
            Stage::Tunnel => format!("waiting for the proxy to connect to {host}"),
            Stage::Handshake => format!("waiting for {host} in the TLS handshake"),
            Stage::Send => format!("sending to {host}"),
            Stage::Receive => format!("waiting for the reply of {host}"),
        }
    }

    fn enter(&self, stage: Stage) {
        self.state().stage = stage;
    }
}

/// Looks names up once a run, and not at all where the host is an address.
pub(super) struct Lookup {
    deadline: Deadline,
    proxies: Proxies,
    progress: Arc<Progress>,
    known: Mutex<HashMap<(String, u16), Vec<SocketAddr>>>,
}

impl Lookup {
    pub(super) fn new(deadline: Deadline, proxies: Proxies, progress: Arc<Progress>) -> Self {
        Self {
            deadline,
            proxies,
            progress,
            known: Mutex::default(),
        }
    }

    /// The addresses of a host. The system's resolver cannot be interrupted, so it works on a
    /// thread, which is left behind where the deadline comes first.
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let name = (host.to_owned(), port);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = known.get(&name) {
            return Ok(addresses.clone());
        }
        let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
        let left = self.deadline.remaining().ok_or_else(timed_out)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let wanted = name.clone();
        thread::Builder::new().spawn(move || {
            let found = wanted
                .to_socket_addrs()
                .map(|found| found.collect::<Vec<_>>());
            // Nobody waits any more once the deadline has passed.
            let _ = sender.send(found);
        })?;
        match receiver.recv_timeout(left) {
            Ok(found) => {
                let found = found?;
                known.insert(name, found.clone());
                Ok(found)
            }
            Err(RecvTimeoutError::Timeout) => Err(timed_out()),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::from(io::ErrorKind::Other)),
        }
    }
}

impl Resolver for Lookup {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.progress.enter(Stage::LookUp);
        let target = Target::new(uri, &self.proxies)?;
        let (host, port) = target.first_hop();
        let unknown = || Failure::UnknownHost {
            proxy: target.proxy_name(),
        };
        let found = self.addresses(host, port).map_err(|_| unknown())?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(16) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(unknown().into());
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

/// Where a connection goes, and by which way.
struct Target {
    host: String,
    port: u16,
    is_https: bool,
    route: Route,
}

impl Target {
    fn new(uri: &Uri, proxies: &Proxies) -> Result<Self, Failure> {
        let told = || Failure::Told(Error::new(Code::BadResponse, "a URL that cannot be asked"));
        let url = Url::parse(&uri.to_string()).map_err(|_| told())?;
        let host = match url.host().ok_or_else(told)? {
            url::Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        Ok(Self {
            host,
            port: url.port_or_known_default().ok_or_else(told)?,
            is_https: url.scheme() == "https",
            route: proxies.route(&url).map_err(Failure::Told)?,
        })
    }

    fn first_hop(&self) -> (&str, u16) {
        match &self.route {
            Route::Direct => (&self.host, self.port),
            Route::Via(proxy) => (&proxy.host, proxy.port),
        }
    }

    fn proxy_name(&self) -> Option<String> {
        match &self.route {
            Route::Direct => None,
            Route::Via(proxy) => Some(proxy.to_string()),
        }
    }

    /// Host and port as messages name them, without a port that goes without saying.
    fn shown(&self) -> String {
        let authority = self.authority();
        let suffix = if self.is_https { ":443" } else { ":80" };
        authority
            .strip_suffix(suffix)
            .unwrap_or(&authority)
            .to_owned()
    }

    /// Host and port as CONNECT spells them.
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Makes connections.
pub(super) struct Dialer {
    deadline: Deadline,
    proxies: Proxies,
    trust: Trust,
    tls: OnceLock<Arc<ClientConfig>>,
    progress: Arc<Progress>,
    redactor: Redactor,
}

impl Dialer {
    pub(super) fn new(
        deadline: Deadline,
        proxies: Proxies,
        trust: Trust,
        progress: Arc<Progress>,
        redactor: Redactor,
    ) -> Self {
        Self {
            deadline,
            proxies,
            trust,
            tls: OnceLock::new(),
            progress,
            redactor,
        }
    }

    fn dial(&self, uri: &Uri, addresses: &[SocketAddr]) -> Result<Wire, Failure> {
        let target = Target::new(uri, &self.proxies)?;
        self.progress.state().kept = false;
        self.progress.enter(Stage::Connect);
        let proxy = target.proxy_name();
        let tcp = self.connect(addresses).map_err(|error| Failure::Connect {
            proxy: proxy.clone(),
            error,
        })?;
        let mut socket = Socket {
            tcp,
            deadline: self.deadline,
        };
        if let Route::Via(proxy) = &target.route {
            self.progress.enter(Stage::Tunnel);
            // Whoever is on the way may repeat it.
            if let Some(password) = &proxy.password {
                self.redactor.learn(password);
            }
            tunnel(&mut socket, proxy, &target.authority())?;
        }
        let stream = if target.is_https {
            self.progress.enter(Stage::Handshake);
            Stream::Tls(Box::new(self.handshake(socket, &target)?))
        } else {
            Stream::Plain(socket)
        };
        Ok(Wire {
            stream,
            buffers: LazyBuffers::new(super::INPUT_BUFFER, super::OUTPUT_BUFFER),
            progress: self.progress.clone(),
        })
    }

    /// Tries the addresses in turn: each but the last may take half of the time that is left.
    fn connect(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for (index, address) in addresses.iter().enumerate() {
            let Some(left) = self.deadline.remaining() else {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            };
            let is_last = index + 1 == addresses.len();
            match TcpStream::connect_timeout(address, if is_last { left } else { left / 2 }) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn handshake(&self, mut socket: Socket, target: &Target) -> Result<TlsStream, Failure> {
        let told = |error: &rustls::Error| {
            let clock = self.deadline.clock();
            Failure::Told(trust::explain(error, &target.shown(), clock))
        };
        let config = match self.tls.get() {
            Some(config) => config.clone(),
            None => {
                let config = self
                    .trust
                    .client_config(self.deadline)
                    .map_err(Failure::Told)?;
                self.tls.get_or_init(|| config).clone()
            }
        };
        let name = ServerName::try_from(target.host.clone()).map_err(|_| {
            let message = format!("{} is not a name that a certificate can have", target.host);
            Failure::Told(Error::new(Code::Tls, message))
        })?;
        let mut tls = ClientConnection::new(config, name).map_err(|error| told(&error))?;
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut socket) {
                return Err(match tls_error(&error) {
                    Some(error) => told(error),
                    None => Failure::Connect { proxy: None, error },
                });
            }
        }
        Ok(StreamOwned::new(tls, socket))
    }
}

impl Connector for Dialer {
    type Out = Wire;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Wire>, ureq::Error> {
        Ok(Some(self.dial(details.uri, &details.addrs)?))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

/// Asks a proxy for a tunnel (RFC 9110 section 9.3.6).
fn tunnel(socket: &mut Socket, proxy: &Proxy, authority: &str) -> Result<(), Failure> {
    let broken = |error| Failure::Connect {
        proxy: Some(proxy.to_string()),
        error,
    };
    let garbage = || Failure::ProxyGarbage {
        proxy: proxy.to_string(),
    };
    let credentials = proxy
        .authorization
        .as_ref()
        .map_or_else(String::new, |authorization| {
            format!("Proxy-Authorization: {}\r\n", authorization.expose())
        });
    let request = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\n{credentials}\r\n"
    );
    socket.write_all(request.as_bytes()).map_err(broken)?;
    // A byte at a time, since what follows the head is the server's, and TLS's to read.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).map_err(broken)?;
        head.extend(byte);
        if head.len() > HEAD_LIMIT {
            return Err(garbage());
        }
    }
    // The reason behind the status may be in any encoding.
    let head = String::from_utf8_lossy(&head);
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_ascii_whitespace().nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(garbage)?;
    match status {
        200..=299 => Ok(()),
        status => Err(Failure::Proxy {
            proxy: proxy.to_string(),
            status,
        }),
    }
}

/// How often a kept connection is read before it counts as one that is never quiet.
const TICKET_READS: usize = 8;

type TlsStream = StreamOwned<ClientConnection, Socket>;

/// A TCP connection whose every read and write ends at the deadline.
struct Socket {
    tcp: TcpStream,
    deadline: Deadline,
}

impl Socket {
    /// Runs one read or write under the time that is left, again where a signal interrupted it.
    fn timed(
        &mut self,
        set_timeout: fn(&TcpStream, Option<std::time::Duration>) -> io::Result<()>,
        mut operation: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.deadline.remaining();
            let left = left.ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?;
            match set_timeout(&self.tcp, Some(left)) {
                // macOS refuses to set it once the other end has closed; the operation then
                // returns at once and tells what happened.
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
                _ => {}
            }
            match operation(&mut self.tcp) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What a timeout is called depends on the system.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.timed(TcpStream::set_read_timeout, |tcp| tcp.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.timed(TcpStream::set_write_timeout, |tcp| tcp.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream>),
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Stream {
    fn io(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => &socket.tcp,
            Self::Tls(tls) => &tls.sock.tcp,
        }
    }
}

/// A connection as `ureq` uses it.
pub(super) struct Wire {
    stream: Stream,
    buffers: LazyBuffers,
    progress: Arc<Progress>,
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.progress.enter(Stage::Send);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.io().write_all(output)?;
        self.stream.io().flush()?;
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        self.progress.enter(Stage::Receive);
        let read = self.stream.io().read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| ureq::Error::Other(Box::new(Dropped(error))))?;
        self.buffers.input_appended(amount);
        if amount > 0 {
            self.progress.state().heard = true;
        }
        Ok(amount > 0)
    }

    /// Whether a kept connection can take another request: the other end has neither closed it
    /// nor sent anything that nobody asked for.
    fn is_open(&mut self) -> bool {
        if self.stream.tcp().set_nonblocking(true).is_err() {
            return false;
        }
        let is_idle = |result: io::Result<usize>| matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let is_open = match &mut self.stream {
            Stream::Plain(socket) => is_idle(socket.tcp.peek(&mut [0])),
            // TLS 1.3 sends tickets whenever it likes, so read what is there: no application
            // data and no end may come of it, nor more tickets than a server has reason to send.
            Stream::Tls(tls) => (0..TICKET_READS).any(|_| {
                let read = tls.conn.read_tls(&mut tls.sock.tcp);
                let quiet = match tls.conn.process_new_packets() {
                    Ok(state) => state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed(),
                    Err(_) => false,
                };
                quiet && is_idle(read)
            }),
        };
        is_open && self.stream.tcp().set_nonblocking(false).is_ok()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

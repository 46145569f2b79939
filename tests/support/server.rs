//! Knows how to play a server from a script, and fails the test that leaves the script.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion};

use super::certs::Identity;
use super::life::{Life, lock};
use super::link::Link;
pub use super::reply::Reply;
use super::reply::Then;
pub use super::request::Request;

/// The most that an endless reply sends; a client that takes it all is not protecting itself.
const ENDLESS_CAP: usize = 64 * 1024 * 1024;

/// A TLS record of application data, whose last bytes should prove where it is from.
const FORGED: &[u8] = b"\x17\x03\x03\x00\x20forged-forged-forged-forged-more";

/// How long steps that are still open at the end may take: the client can be ahead of us.
const GRACE: Duration = Duration::from_millis(500);

/// One thing that has to happen, and what the server does then.
pub struct Step(Kind);

enum Kind {
    Request {
        method: String,
        target: String,
        reply: Reply,
    },
    Connection(Event),
}

/// What happens to a connection before its first request.
#[derive(Clone, Debug)]
enum Event {
    Serve,
    Reset,
    Silence,
    Close,
    Send(Vec<u8>),
    CutHandshake(usize),
    StallHandshake(usize),
}

/// A request to expect; `reply` makes it a step.
pub struct Expected {
    method: String,
    target: String,
}

/// Expects a request with this method and exactly this target, query included.
pub fn request(method: &str, target: &str) -> Expected {
    Expected {
        method: method.into(),
        target: target.into(),
    }
}

pub fn get(target: &str) -> Expected {
    request("GET", target)
}

pub fn post(target: &str) -> Expected {
    request("POST", target)
}

impl Expected {
    pub fn reply(self, reply: Reply) -> Step {
        Step(Kind::Request {
            method: self.method,
            target: self.target,
            reply,
        })
    }
}

/// A new connection to expect; what is done to it makes it a step.
///
/// The step is taken by the connection that is accepted while it is the next one. Connections
/// that come while a request is next are served, and take no step.
pub struct Accept(());

pub fn accept() -> Accept {
    Accept(())
}

impl Accept {
    /// Serves it: the step only demands that the client opens a new connection here.
    pub fn serve(self) -> Step {
        Step(Kind::Connection(Event::Serve))
    }

    /// Resets it at once.
    pub fn reset(self) -> Step {
        Step(Kind::Connection(Event::Reset))
    }

    /// Holds it open without a byte.
    pub fn silence(self) -> Step {
        Step(Kind::Connection(Event::Silence))
    }

    /// Ends it without a byte.
    pub fn close(self) -> Step {
        Step(Kind::Connection(Event::Close))
    }

    /// Sends these bytes past TLS, and ends it.
    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Step {
        Step(Kind::Connection(Event::Send(bytes.into())))
    }

    /// Sends the first `bytes` bytes of the server's TLS handshake, and ends it.
    pub fn cut_handshake(self, bytes: usize) -> Step {
        Step(Kind::Connection(Event::CutHandshake(bytes)))
    }

    /// Sends the first `bytes` bytes of the server's TLS handshake, and holds it open.
    pub fn stall_handshake(self, bytes: usize) -> Step {
        Step(Kind::Connection(Event::StallHandshake(bytes)))
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Request {
                method,
                target,
                reply,
            } => {
                write!(f, "{method} {target} -> {}", reply.summary())
            }
            Kind::Connection(event) => write!(f, "a new connection -> {event:?}"),
        }
    }
}

type Handler = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// An answer that may be asked for any number of times.
struct Route {
    method: String,
    target: Target,
    handler: Handler,
}

enum Target {
    Exactly(String),
    Under(String),
}

impl Route {
    fn matches(&self, request: &Request) -> bool {
        self.method == request.method
            && match &self.target {
                Target::Exactly(target) => request.target == *target,
                Target::Under(prefix) => request.target.starts_with(prefix),
            }
    }
}

/// A server that is not started yet.
pub struct Builder {
    tls: bool,
    identity: Option<Identity>,
    versions: Vec<&'static SupportedProtocolVersion>,
    bind: String,
    host: String,
    steps: Vec<Step>,
    routes: Vec<Route>,
}

impl Builder {
    fn new(tls: bool) -> Builder {
        Builder {
            tls,
            identity: None,
            versions: ALL_VERSIONS.to_vec(),
            bind: "127.0.0.1:0".into(),
            host: "localhost".into(),
            steps: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// Shows this certificate in place of the shared good one.
    pub fn identity(self, identity: Identity) -> Builder {
        Builder {
            identity: Some(identity),
            ..self
        }
    }

    /// Speaks only these TLS versions.
    pub fn versions(self, versions: &[&'static SupportedProtocolVersion]) -> Builder {
        Builder {
            versions: versions.to_vec(),
            ..self
        }
    }

    /// Listens here in place of `127.0.0.1:0`.
    pub fn bind(self, address: &str) -> Builder {
        Builder {
            bind: address.into(),
            ..self
        }
    }

    /// Calls itself this in `url` and `{origin}` in place of `localhost`.
    pub fn named(self, host: &str) -> Builder {
        Builder {
            host: host.into(),
            ..self
        }
    }

    /// Adds what has to happen next.
    pub fn step(mut self, step: Step) -> Builder {
        self.steps.push(step);
        self
    }

    /// Answers this request whenever it is not the next step.
    pub fn route(mut self, step: Step) -> Builder {
        let Kind::Request {
            method,
            target,
            reply,
        } = step.0
        else {
            panic!("a route answers requests, not connections");
        };
        let target = Target::Exactly(target);
        self.routes.push(Route {
            method,
            target,
            handler: Box::new(move |_| reply.clone()),
        });
        self
    }

    /// Answers every request under `prefix` that is not the next step as `handler` says.
    pub fn route_with(
        mut self,
        method: &str,
        prefix: &str,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Builder {
        let target = Target::Under(prefix.into());
        self.routes.push(Route {
            method: method.into(),
            target,
            handler: Box::new(handler),
        });
        self
    }

    pub fn start(self) -> Server {
        let listener = TcpListener::bind(&self.bind).expect("a free local port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let scheme = if self.tls { "https" } else { "http" };
        let shared = Arc::new(Shared {
            tls: self.tls_config(),
            life: Life::new(),
            address,
            scheme,
            origin: format!("{scheme}://{}:{}", self.host, address.port()),
            steps: self.steps,
            routes: self.routes,
            record: Mutex::default(),
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            received: Arc::default(),
        });
        let serving = Arc::clone(&shared);
        shared
            .life
            .accept_from(listener, move |socket| accepted(&serving, socket));
        Server {
            shared,
            checked: AtomicBool::new(false),
        }
    }

    fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        if !self.tls {
            return None;
        }
        let identity = self.identity.clone().unwrap_or_else(Identity::shared);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .expect("TLS versions that can be served")
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .expect("an identity whose key fits its certificate");
        Some(Arc::new(config))
    }
}

/// A running server. Dropping it stops it and panics if the script was not followed.
pub struct Server {
    shared: Arc<Shared>,
    checked: AtomicBool,
}

impl Server {
    /// A server that speaks TLS 1.2 and 1.3 and shows [`Identity::shared`].
    pub fn tls() -> Builder {
        Builder::new(true)
    }

    /// A server that speaks plain HTTP.
    pub fn plain() -> Builder {
        Builder::new(false)
    }

    /// Scheme, name and port: what `{origin}` stands for.
    pub fn url(&self) -> String {
        self.shared.origin.clone()
    }

    /// The URL under another name for the same server; an IPv6 address needs its brackets.
    pub fn url_for(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.shared.scheme, self.port())
    }

    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Every request that was read and answered, or was meant to be, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.record).requests.clone()
    }

    /// Requests that came on a connection which the script had them lose.
    pub fn lost(&self) -> Vec<Request> {
        lock(&self.shared.record).lost.clone()
    }

    /// Accepted TCP connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Completed TLS handshakes.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }

    /// Why handshakes failed. A client that refuses a certificate is no failure of the script.
    pub fn tls_errors(&self) -> Vec<String> {
        lock(&self.shared.record).tls_errors.clone()
    }

    /// Bytes that came over all connections, TLS included.
    pub fn bytes_received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// Closes every connection and the listener; later clients are refused.
    pub fn stop(&self) {
        self.shared.life.stop();
    }

    /// Stops, and panics with a list of what was missing and what came instead.
    pub fn finish(&self) {
        self.checked.store(true, Ordering::SeqCst);
        self.shared.await_steps();
        self.stop();
        if let Err(report) = self.shared.verdict() {
            panic!("{report}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() || self.checked.load(Ordering::SeqCst) {
            self.stop();
        } else {
            self.finish();
        }
    }
}

/// What the threads of one server share.
struct Shared {
    tls: Option<Arc<ServerConfig>>,
    life: Arc<Life>,
    address: SocketAddr,
    scheme: &'static str,
    origin: String,
    steps: Vec<Step>,
    routes: Vec<Route>,
    record: Mutex<Record>,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    received: Arc<AtomicU64>,
}

/// What has happened so far.
#[derive(Default)]
struct Record {
    /// How many of the steps were taken.
    taken: usize,
    requests: Vec<Request>,
    lost: Vec<Request>,
    failures: Vec<String>,
    tls_errors: Vec<String>,
}

impl Shared {
    /// The event that is the next step, if one is; taking it is part of the question.
    fn take_event(&self) -> Option<Event> {
        let mut record = lock(&self.record);
        match self.steps.get(record.taken) {
            Some(Step(Kind::Connection(event))) => {
                record.taken += 1;
                Some(event.clone())
            }
            _ => None,
        }
    }

    fn take_reply(&self, request: &Request) -> Option<Reply> {
        let mut record = lock(&self.record);
        record.requests.push(request.clone());
        match self.steps.get(record.taken) {
            Some(Step(Kind::Request {
                method,
                target,
                reply,
            })) if *method == request.method && *target == request.target => {
                record.taken += 1;
                Some(reply.clone())
            }
            _ => None,
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        if let Some(reply) = self.take_reply(request) {
            return reply;
        }
        match self.routes.iter().find(|route| route.matches(request)) {
            Some(route) => (route.handler)(request),
            None => self.refuse(request),
        }
    }

    /// 599 is no status of any server, so a client's message about it points here.
    fn refuse(&self, request: &Request) -> Reply {
        let next = match self.steps.get(lock(&self.record).taken) {
            Some(step) => format!("the next step is {step}"),
            None => "no step is left".into(),
        };
        self.fail(format!(
            "connection {}: not expected, {next}:\n{request}",
            request.connection
        ));
        Reply::text(599, format!("not in the script: {next}"))
    }

    fn fail(&self, failure: String) {
        lock(&self.record).failures.push(failure);
    }

    fn await_steps(&self) {
        let deadline = Instant::now() + GRACE;
        while lock(&self.record).taken < self.steps.len() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn verdict(&self) -> Result<(), String> {
        let record = lock(&self.record);
        if record.taken == self.steps.len() && record.failures.is_empty() {
            return Ok(());
        }
        let mut report = format!("{} was not used as scripted\n", self.origin);
        for (index, step) in self.steps.iter().enumerate() {
            let state = if index < record.taken {
                "done   "
            } else {
                "MISSING"
            };
            let _ = writeln!(report, "  {state} {step}");
        }
        for failure in &record.failures {
            let _ = writeln!(report, "FAILURE {}", failure.replace('\n', "\n  | "));
        }
        let _ = writeln!(
            report,
            "came: {} bytes, {} connections, {} handshakes, {} lost requests, and",
            self.received.load(Ordering::SeqCst),
            self.connections.load(Ordering::SeqCst),
            self.handshakes.load(Ordering::SeqCst),
            record.lost.len(),
        );
        for Request {
            connection,
            method,
            target,
            ..
        } in &record.requests
        {
            let _ = writeln!(report, "  {method} {target} on connection {connection}");
        }
        for error in &record.tls_errors {
            let _ = writeln!(report, "  a failed handshake: {error}");
        }
        Err(report)
    }
}

/// Takes a connection's number and step while connections are still in order.
fn accepted(shared: &Arc<Shared>, socket: Arc<TcpStream>) {
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    let event = shared.take_event().unwrap_or(Event::Serve);
    let link = Link::new(socket, Arc::clone(&shared.received), shared.tls.clone());
    let serving = Arc::clone(shared);
    shared.life.spawn(move || {
        let serve = || begin(&serving, number, link, event);
        if catch_unwind(AssertUnwindSafe(serve)).is_err() {
            serving.fail(format!("connection {number}: its thread panicked"));
        }
    });
}

fn begin(shared: &Shared, number: usize, mut link: Link, event: Event) {
    match event {
        Event::Serve => serve(shared, number, link),
        Event::Reset => link.reset(),
        Event::Silence => link.hold(),
        Event::Close => link.cut(),
        Event::Send(bytes) => {
            if link.send_raw(&bytes).is_ok() {
                link.cut();
            }
        }
        Event::CutHandshake(bytes) => {
            if send_flight(&mut link, bytes).is_ok() {
                link.cut();
            }
        }
        Event::StallHandshake(bytes) => {
            if send_flight(&mut link, bytes).is_ok() {
                link.hold();
            }
        }
    }
}

fn send_flight(link: &mut Link, bytes: usize) -> io::Result<()> {
    let flight = link.flight()?;
    link.send_raw(&flight[..bytes.min(flight.len())])
}

fn serve(shared: &Shared, number: usize, mut link: Link) {
    if let Err(error) = link.handshake() {
        lock(&shared.record)
            .tls_errors
            .push(format!("connection {number}: {error}"));
        // Not a plain drop, which could reset away the alert that tells the client why.
        return link.cut();
    }
    if link.is_tls() {
        shared.handshakes.fetch_add(1, Ordering::SeqCst);
    }
    let mut pending = Vec::new();
    while let Some(request) = next_request(shared, number, &mut link, &mut pending) {
        let reply = shared.answer(&request);
        if send(shared, &mut link, &reply, &request).is_err() {
            return;
        }
        match reply.ending() {
            Then::Keep if request.keeps_connection() => {}
            Then::Keep | Then::Close => return link.close(),
            Then::Cut => return link.cut(),
            Then::CutPolitely => return link.cut_politely(),
            Then::Reset => return link.reset(),
            Then::Hold => return link.hold(),
            Then::Forge => {
                let _ = link.send_raw(FORGED);
                return link.hold();
            }
            Then::CloseAtNext => {
                lose_next(shared, number, &mut link, &mut pending);
                return link.cut_politely();
            }
            Then::ResetAtNext => {
                lose_next(shared, number, &mut link, &mut pending);
                return link.reset();
            }
        }
    }
}

fn next_request(
    shared: &Shared,
    number: usize,
    link: &mut Link,
    pending: &mut Vec<u8>,
) -> Option<Request> {
    match Request::read(link, pending, number) {
        Ok(request) => request,
        // The stop itself may have cut the request short.
        Err(_) if shared.life.stopped() => None,
        Err(why) => {
            shared.fail(format!("connection {number}: {why}"));
            let _ = link.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = link.flush();
            None
        }
    }
}

fn lose_next(shared: &Shared, number: usize, link: &mut Link, pending: &mut Vec<u8>) {
    if let Some(request) = next_request(shared, number, link, pending) {
        lock(&shared.record).lost.push(request);
    }
}

/// Sends the reply up to its limit. An error means that the client left or the server stopped.
fn send(shared: &Shared, link: &mut Link, reply: &Reply, request: &Request) -> io::Result<()> {
    if !shared.life.sleep(reply.delay) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let rendered = reply.render(&shared.origin, &request.method);
    let mut left = reply.limit.unwrap_or(ENDLESS_CAP);
    let mut part = rendered.bytes;
    // Short repetitions go out together, or the cap would take minutes to reach.
    let copies = 1 + 16 * 1024 / rendered.repeated.len().max(1);
    let repeated = rendered.repeated.repeat(copies);
    loop {
        part.truncate(left);
        send_part(shared, link, reply.pace, &part)?;
        left -= part.len();
        if left == 0 || repeated.is_empty() {
            return Ok(());
        }
        part = repeated.clone();
    }
}

fn send_part(
    shared: &Shared,
    link: &mut Link,
    pace: Option<Duration>,
    part: &[u8],
) -> io::Result<()> {
    let Some(pause) = pace else {
        link.write_all(part)?;
        return link.flush();
    };
    for byte in part {
        link.write_all(&[*byte])?;
        link.flush()?;
        if !shared.life.sleep(pause) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

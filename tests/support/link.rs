//! Knows one connection, plain or TLS, and every way to end it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

/// What a client may need to read the bytes that precede a reset; some systems drop them.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// One accepted connection.
pub struct Link {
    tls: Option<Box<ServerConnection>>,
    wire: Wire,
}

impl Link {
    /// Speaks TLS once `handshake` is done, or plain bytes without a configuration.
    pub fn new(
        socket: Arc<TcpStream>,
        received: Arc<AtomicU64>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Link {
        let tls = tls.map(|config| {
            Box::new(ServerConnection::new(config).expect("the TLS configuration is usable"))
        });
        Link {
            tls,
            wire: Wire { socket, received },
        }
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Completes the TLS handshake; a plain connection has none to fail.
    pub fn handshake(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.is_handshaking() {
                tls.complete_io(&mut self.wire)?;
            }
        }
        Ok(())
    }

    /// Reads the client's hello and returns what the server would have sent in answer.
    pub fn flight(&mut self) -> io::Result<Vec<u8>> {
        let tls = self
            .tls
            .as_mut()
            .expect("only a TLS server has a handshake to cut");
        while !tls.wants_write() {
            if tls.read_tls(&mut self.wire)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight)?;
        }
        Ok(flight)
    }

    /// Sends bytes past TLS.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)
    }

    /// Closes as a server does that is done: close_notify, then both directions at once.
    pub fn close(mut self) {
        self.notify();
    }

    /// Ends the server's direction with close_notify, and waits for the client to leave.
    pub fn cut_politely(mut self) {
        self.notify();
        self.cut();
    }

    /// Ends the server's direction without close_notify, and waits for the client to leave.
    pub fn cut(self) {
        finish_writing(&self.wire.socket);
        self.hold();
    }

    /// Says no more, and waits for the client to leave.
    pub fn hold(mut self) {
        drain(&mut self.wire);
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        thread::sleep(BEFORE_RESET);
        reset_on_drop(&self.wire.socket);
    }

    fn notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            while tls.wants_write() && tls.write_tls(&mut self.wire).is_ok() {}
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.wire).read(buffer),
            None => self.wire.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.wire).write(bytes),
            None => self.wire.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.wire).flush(),
            None => self.wire.flush(),
        }
    }
}

/// The socket, counting what arrives.
struct Wire {
    socket: Arc<TcpStream>,
    received: Arc<AtomicU64>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&*self.socket).read(buffer)?;
        self.received.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends the end of the stream (FIN) and keeps reading possible.
pub fn finish_writing(socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
}

/// Reads and forgets until the client leaves. Closing over unread bytes would reset instead.
pub fn drain(source: &mut impl Read) {
    let _ = io::copy(source, &mut io::sink());
}

/// Makes the socket's last owner reset the connection by dropping it.
pub fn reset_on_drop(socket: &TcpStream) {
    // The standard library cannot set this yet, and no portable trick makes a reset certain.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

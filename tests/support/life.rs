//! Knows how to listen so that every thread, pause and connection ends with the listener.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How long [`Life::stop`] waits for threads that do not end at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the threads of one server share: whether it still runs, and what to wake when it stops.
#[derive(Default)]
pub struct Life {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    threads: usize,
    listening: Option<SocketAddr>,
    /// Weak, because a socket is closed (or reset) when its last owner drops it.
    sockets: Vec<Weak<TcpStream>>,
}

impl Life {
    pub fn new() -> Arc<Life> {
        Arc::default()
    }

    /// Hands each connection to `on_accept`, in the order they came, on one thread.
    pub fn accept_from(
        self: &Arc<Self>,
        listener: TcpListener,
        mut on_accept: impl FnMut(Arc<TcpStream>) + Send + 'static,
    ) {
        lock(&self.state).listening = listener.local_addr().ok();
        let life = Arc::clone(self);
        self.spawn(move || {
            for stream in listener.incoming() {
                if life.stopped() {
                    break;
                }
                if let Some(socket) = stream.ok().and_then(|stream| life.adopt(stream)) {
                    on_accept(socket);
                }
            }
        });
    }

    /// Makes `stop` shut this socket down. `None` when the stop has been already.
    pub fn adopt(&self, stream: TcpStream) -> Option<Arc<TcpStream>> {
        // A dripped byte has to leave when it is written.
        stream.set_nodelay(true).ok()?;
        let mut state = lock(&self.state);
        if state.stopped {
            return None;
        }
        let socket = Arc::new(stream);
        state.sockets.retain(|known| known.strong_count() > 0);
        state.sockets.push(Arc::downgrade(&socket));
        Some(socket)
    }

    /// Runs `work` on a thread that `stop` waits for.
    pub fn spawn(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        lock(&self.state).threads += 1;
        let leaving = Leaving(Arc::clone(self));
        thread::spawn(move || {
            let _leaving = leaving;
            work();
        });
    }

    pub fn stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    /// Pauses, and says whether the server still runs. A stop ends the pause.
    pub fn sleep(&self, pause: Duration) -> bool {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, pause, |state| !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        !state.stopped
    }

    /// Ends pauses, connections and the listener, and waits for the threads.
    pub fn stop(&self) {
        let (sockets, listening) = {
            let mut state = lock(&self.state);
            state.stopped = true;
            (std::mem::take(&mut state.sockets), state.listening.take())
        };
        self.changed.notify_all();
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(address) = listening {
            // Only a connection wakes a thread that waits for one.
            let _ = TcpStream::connect_timeout(&address, PATIENCE);
        }
        let _ = self
            .changed
            .wait_timeout_while(lock(&self.state), PATIENCE, |state| state.threads > 0);
    }
}

/// Counts a thread as ended, also when it panicked.
struct Leaving(Arc<Life>);

impl Drop for Leaving {
    fn drop(&mut self) {
        lock(&self.0.state).threads -= 1;
        self.0.changed.notify_all();
    }
}

/// Locks also what a panicked thread held: the test wants to report it, not to panic again.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

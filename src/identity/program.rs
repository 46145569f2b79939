//! A provider's program: runs it, and reads the token that it prints.

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::TOKEN_LIMIT;
use super::provider::{Program, Provider};
use crate::clock::Deadline;
use crate::command::Command;
use crate::environment::Environment;
use crate::error::{Code, Error};
use crate::input;
use crate::secret::{Secret, SubjectToken};
use crate::words::Redactor;

/// Runs a provider's program, without a shell.
///
/// # Errors
/// `identity_provider_failed`, or `timeout`, and then the program is killed.
pub(crate) fn run(
    provider: Provider,
    program: Program,
    env: &Environment,
    deadline: Deadline,
) -> Result<SubjectToken, Error> {
    let found = match (Command::find(&program.words, env), program.instead) {
        (Ok(found), _) => found,
        (Err(_), Some(instead)) => return instead,
        (Err(error), None) => {
            return Err(provider.failed(&error.message).hints(provider.help()));
        }
    };
    let mut command = found.prepare(env);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let unable = |_| provider.failed("its program cannot be started");
    let mut child = Killed(command.spawn().map_err(unable)?);
    let stderr = child.0.stderr.take().map(drained);
    let stdout = child.0.stdout.take();
    let stdout = stdout.ok_or_else(|| provider.failed("its program has no output"))?;
    let mut stdout = input::Patient::new(move || Ok(stdout), deadline).map_err(unable)?;
    let name = format!("the output of {}", provider.name());
    let output = input::read_to_end(&mut stdout, TOKEN_LIMIT, 0)
        .map_err(|why| why.into_error(Code::IdentityProviderFailed, name.clone()))?;
    let output = Zeroizing::new(output);
    if !child.succeeds(deadline)? {
        let said = stderr.and_then(|said| said.recv_timeout(Duration::from_millis(200)).ok());
        let said = said.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let error = provider.failed("its program ended with a failure");
        return Err(match said.trim() {
            "" => error,
            said => error.hint(format!("it said: {}", Redactor::default().quote(said))),
        });
    }
    let text = std::str::from_utf8(&output).unwrap_or("\0");
    Secret::visible_ascii(text)
        .map(SubjectToken)
        .map_err(|why| provider.failed(&format!("{name} {}", why.what())))
}

/// Reads what a program says on stderr, so that it is never blocked by saying it, and keeps the
/// beginning.
fn drained(mut stderr: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    // Without a thread its words are lost, and a program that says a lot may wait for the deadline.
    let _ = thread::Builder::new().spawn(move || {
        let mut said = Vec::new();
        let _ = (&mut stderr).take(16 * 1024).read_to_end(&mut said);
        let _ = sender.send(said);
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    });
    receiver
}

/// A running program that does not outlive its use.
struct Killed(Child);

impl Killed {
    /// Waits for its end. Its output has ended already, so that is a matter of moments.
    fn succeeds(&mut self, deadline: Deadline) -> Result<bool, Error> {
        loop {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Ok(status.success());
            }
            if deadline.has_passed() {
                let message =
                    "the deadline passed while waiting for an identity provider's program";
                return Err(Error::new(Code::Timeout, message));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

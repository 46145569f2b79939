//! One run of the program: what it was given, and what is made of that wherever it is needed.

use std::io::Read;
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use crate::clock::{Clock, Deadline};
use crate::command::Command;
use crate::environment::Environment;
use crate::error::Error;
use crate::format::{Credential, github};
use crate::http::{Http, Trust};
use crate::input::Patient;
use crate::output::Log;
use crate::proxy::Proxies;
use crate::settings::Settings;
use crate::words::Redactor;

/// What a run was given.
pub(crate) struct Run {
    pub(crate) stdin: Option<Box<dyn Read + Send>>,
    pub(crate) stdin_is_terminal: bool,
    pub(crate) env: Environment,
    pub(crate) clock: Clock,
    pub(crate) started: Instant,
    pub(crate) seed: u64,
    pub(crate) log: Log,
    /// Knows each secret before anything is sent that others could repeat.
    pub(crate) redactor: Redactor,
}

impl Run {
    pub(crate) fn deadline(&self, timeout: Duration) -> Deadline {
        Deadline::new(self.clock, self.started, timeout)
    }

    /// Stdin, to be read at most until the deadline.
    pub(crate) fn stdin(&mut self, deadline: Deadline) -> Result<Patient, Error> {
        let unreadable = || Error::usage("stdin cannot be read");
        let stdin = self.stdin.take().ok_or_else(unreadable)?;
        Patient::new(move || Ok(stdin), deadline).map_err(|_| unreadable())
    }

    /// A client for the Connect server, with the trust that was asked for.
    pub(crate) fn http(&self, settings: &Settings, deadline: Deadline) -> Result<Http, Error> {
        let trust = match (&settings.cacert, settings.insecure) {
            (_, true) => Trust::Nothing,
            (Some(file), false) => Trust::from_file(file, deadline)?,
            (None, false) => Trust::system(&self.env),
        };
        Ok(self.client(settings.proxies.clone(), trust, deadline))
    }

    /// A client for an identity provider: always with the system's trust.
    pub(crate) fn provider_http(&self, proxies: Proxies, deadline: Deadline) -> Http {
        self.client(proxies, Trust::system(&self.env), deadline)
    }

    fn client(&self, proxies: Proxies, trust: Trust, deadline: Deadline) -> Http {
        let (log, redactor) = (self.log.clone(), self.redactor.clone());
        Http::new(deadline, proxies, trust, self.seed, log, redactor)
    }

    /// The file that `GITHUB_ENV` names.
    ///
    /// # Errors
    /// `usage` where it names none.
    pub(crate) fn file_of_variables(&self) -> Result<PathBuf, Error> {
        let variable = github::FILE;
        let file = self.env.get(variable).map(PathBuf::from).ok_or_else(|| {
            Error::usage(format!(
                "{variable} is not set, which names the file of variables"
            ))
            .hint("-f github is for a step of a GitHub Actions job")
        })?;
        match file.is_file() {
            true => Ok(file),
            false => Err(Error::usage(format!("{variable} does not name a file"))),
        }
    }

    /// The command with the credential in its environment, and without what it was made from.
    pub(crate) fn with_credential(
        &self,
        command: Command,
        credential: &Credential,
        settings: &Settings,
    ) -> process::Command {
        let mut command = command.prepare(&self.env);
        command
            .env_remove("CONNECT_IDENTITY_TOKEN")
            .env_remove("CONNECT_IDENTITY_TOKEN_FILE")
            .env("CONNECT_SERVER", credential.server.as_str())
            .env("CONNECT_API_KEY", credential.api_key.expose());
        if let Some(variable) = settings.source.variable(&self.env, &settings.audience) {
            command.env_remove(variable);
        }
        if let Some(cacert) = &settings.cacert {
            command.env("CONNECT_CA_CERTIFICATE", cacert);
        }
        if settings.insecure {
            command.env("CONNECT_INSECURE", "1");
        }
        command
    }
}

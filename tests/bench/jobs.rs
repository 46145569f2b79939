//! The jobs that are measured, and the world they are done in.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::CustomExtension;
use serde_json::json;

use crate::support::certs::Identity;
use crate::support::server::{Builder, Reply, Request, Server, get};
use crate::world::{
    KEY, METADATA, TOKEN_ENDPOINT, ca_file, exchange, file, folder, is_on_path, metadata,
    python_program, token,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A system's certificates: how many there are, and what brings them to the size that they have.
const ROOTS: usize = 145;
const PADDING: u32 = 640;

/// Two of curl, two of jq, one shell.
const SCRIPT: &str = r#"set -e
endpoint=$(curl -fsS --cacert "$CA" "$SERVER/.well-known/oauth-authorization-server" |
    jq -r .token_endpoint)
curl -fsS --cacert "$CA" "$endpoint" --data-urlencode "subject_token@$TOKEN_FILE" \
    --data-urlencode grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
    --data-urlencode subject_token_type=urn:ietf:params:oauth:token-type:id_token \
    --data-urlencode requested_token_type=urn:ietf:params:oauth:token-type:access_token |
    jq -r .access_token"#;

/// A process to run, and what it says once it has done its work.
pub struct Job {
    command: Command,
    says: &'static str,
}

impl Job {
    fn new(program: impl AsRef<OsStr>, args: &[&str], says: &'static str) -> Job {
        let mut command = Command::new(program);
        command.env_clear().args(args).stdin(Stdio::null());
        Job { command, says }
    }

    fn env(mut self, name: &str, value: &str) -> Job {
        self.command.env(name, value);
        self
    }

    /// For what runs other programs.
    fn with_path(self) -> Job {
        let path = std::env::var("PATH").unwrap_or_default();
        self.env("PATH", &path)
    }

    /// Runs it, and returns how long that took.
    pub fn run(&mut self) -> Duration {
        let started = Instant::now();
        let output = self.command.output().unwrap();
        let elapsed = started.elapsed();
        self.check(&output);
        elapsed
    }

    /// Runs it under a tool, and returns what there is on stderr.
    pub fn under(&self, tool: &str, options: &[&str]) -> String {
        let mut job = Job::new(tool, options, self.says).with_path();
        let variables = self.command.get_envs();
        job.command
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .envs(variables.filter_map(|(name, value)| Some((name, value?))));
        let output = job.command.output().unwrap();
        self.check(&output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The command, for whoever runs it in another way.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// A job that was not done would be a fast one.
    fn check(&self, output: &Output) {
        let said = String::from_utf8_lossy(&output.stdout);
        let done = output.status.success() && said.contains(self.says);
        assert!(done, "{:?}: {output:?}", self.command);
    }
}

/// What the program trusts.
#[derive(Clone, Copy)]
pub enum Trust {
    OneCa,
    /// The system's certificates, and the test's CA among them.
    System,
    /// As many that are made up, for counts that another machine can repeat.
    MadeUp,
}

pub struct World {
    pub server: Server,
    pub program: PathBuf,
    /// Whether this machine has a bundle of certificates.
    pub has_bundle: bool,
    floor: PathBuf,
    empty: PathBuf,
    token: String,
    bundle: String,
    made_up: String,
}

impl World {
    pub fn new() -> World {
        build(&["--example", "floor", "--example", "empty"]);
        // Last, since the program as the benchmark has it was built with the features that only
        // tests want, and this one goes to the same place.
        build(&["--bin", "connect-credential"]);
        let program = PathBuf::from(env!("CARGO_BIN_EXE_connect-credential"));
        let examples = program.with_file_name("examples");
        let ca = std::fs::read_to_string(ca_file()).unwrap();
        let made_up = made_up_bundle() + &ca;
        let system = system_bundle();
        let has_bundle = system.is_some();
        let bundle = system.map_or(made_up.clone(), |system| system + &ca);
        World {
            server: connect("{origin}").start(),
            has_bundle,
            floor: examples.join("floor"),
            empty: examples.join("empty"),
            token: file("token", token()),
            bundle: file("bundle.pem", bundle),
            made_up: file("made-up.pem", made_up),
            program,
        }
    }

    pub fn exchange(&self, url: &str, trust: Trust) -> Job {
        let job = Job::new(&self.program, &["-f", "key", "-s", url], KEY);
        let job = job.env("CONNECT_IDENTITY_TOKEN_FILE", &self.token);
        match trust {
            Trust::OneCa => job.env("CONNECT_CA_CERTIFICATE", ca_file()),
            Trust::System => job.env("SSL_CERT_FILE", &self.bundle),
            Trust::MadeUp => job.env("SSL_CERT_FILE", &self.made_up),
        }
    }

    pub fn floor(&self, url: &str) -> Job {
        let address = url.trim_start_matches("https://");
        Job::new(&self.floor, &[address, ca_file(), &self.token], KEY)
    }

    pub fn version(&self) -> Job {
        Job::new(&self.program, &["--version"], VERSION)
    }

    pub fn empty(&self) -> Job {
        Job::new(&self.empty, &[], "")
    }

    /// The same with curl and jq, or which of them is absent.
    pub fn curl_and_jq(&self) -> Result<Job, &'static str> {
        if let Some(absent) = ["curl", "jq"].into_iter().find(|name| !is_on_path(name)) {
            return Err(absent);
        }
        let job = Job::new("/bin/sh", &["-c", SCRIPT], KEY).with_path();
        let job = job.env("SERVER", &self.server.url()).env("CA", ca_file());
        Ok(job.env("TOKEN_FILE", &self.token))
    }

    /// The same with rsconnect-python, which stores the key once the server has told whose it is.
    pub fn rsconnect(&self) -> Result<Job, &'static str> {
        let rsconnect = python_program("rsconnect");
        if !rsconnect.is_file() {
            return Err("rsconnect-python");
        }
        let args = ["login", &self.server.url(), "--cacert", ca_file()];
        let job = Job::new(rsconnect, &args, "Logged in to").with_path();
        let job = job.env("CONNECT_IDENTITY_TOKEN_FILE", &self.token);
        Ok(job.env("HOME", &folder("home")))
    }
}

/// A Connect server over TLS 1.3 that calls itself this, with what `rsconnect login` asks besides.
pub fn connect(origin: &str) -> Builder {
    let mut metadata = metadata();
    metadata["token_endpoint"] = json!(format!("{origin}{TOKEN_ENDPOINT}"));
    let asked_besides = |request: &Request| {
        let user = json!({"username": "ada", "guid": "1", "user_role": "publisher"});
        match request.header("authorization") == Some(&format!("Key {KEY}")) {
            _ if request.target.ends_with("/server_settings") => {
                Reply::json(200, json!({"version": "2026.07.0"}))
            }
            true => Reply::json(200, user),
            false => Reply::status(401),
        }
    };
    Server::tls()
        .versions(&[&rustls::version::TLS13])
        .route(get(METADATA).reply(Reply::json(200, metadata)))
        .route(exchange())
        .route_with("GET", "/__api__/", asked_besides)
}

/// Builds a part as it is released.
fn build(what: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(what)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.unwrap().success(), "{what:?} cannot be built");
}

/// The certificates that this machine trusts, where the program itself looks for them.
fn system_bundle() -> Option<String> {
    let bundles = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let mut found = bundles.iter().map(std::fs::read_to_string);
    found.find_map(Result::ok)
}

/// Not padded with zeros, since how long a text takes to search depends on what it is made of.
fn made_up_bundle() -> String {
    let noise = |n: u32| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8;
    let noise: Vec<u8> = (0..PADDING).map(noise).collect();
    let roots = (0..ROOTS).map(|number| {
        let name = format!("root-{number}.example");
        let padded = Identity::self_signed_with(&[&name], true, |params| {
            let padding = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4], noise.clone());
            params.custom_extensions.push(padding);
        });
        padded.cert_pem
    });
    roots.collect()
}

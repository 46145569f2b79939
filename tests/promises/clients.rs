//! The real tools, each run as its users run it, against a server that plays Connect.
//!
//! The Python ones are looked for in the virtual environment that `CONNECT_CREDENTIAL_CLIENTS`
//! names, or in `target/clients`; the others on the `PATH`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::documents::{EXAMPLE, PROTOCOL, blocks};
use crate::support::jwt::{github_claims, jwt};
use crate::support::process::{Outcome, Run};
use crate::support::server::{Builder, Reply, Request, Server, get, post};
use crate::world::*;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connect-credential");

/// A program of the virtual environment.
pub fn python_client(program: &str, what: &str) -> Option<String> {
    let path = python_program(program);
    if !path.is_file() {
        not_run(program, what);
        return None;
    }
    Some(path.to_str().unwrap().to_owned())
}

/// A client in an environment of its own: a home, the `PATH`, and no proxy.
pub fn client(program: &str) -> Run {
    let folder = Path::new(PROGRAM).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap_or_default();
    Run::new(program)
        .env("HOME", folder_of_its_own())
        .env("PATH", format!("{folder}:{path}"))
        .limit(std::time::Duration::from_secs(60))
}

fn folder_of_its_own() -> String {
    folder("home")
}

/// The options that name the server, its CA and the token.
pub fn options(server: &Server) -> String {
    format!(
        "-s {} -c {} --identity-token-file {}",
        server.url(),
        ca_file(),
        token_file()
    )
}

pub fn assert_success(outcome: &Outcome) {
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

/// The requests that came with this `Authorization`.
pub fn authorized<'a>(requests: &'a [Request], authorization: &str) -> Vec<&'a str> {
    let is_with = |request: &&Request| request.header("authorization") == Some(authorization);
    requests
        .iter()
        .filter(is_with)
        .map(|request| request.target.as_str())
        .collect()
}

const REFUSAL: &str = "Connect did not accept this identity token";

fn refusing_connect() -> Builder {
    let refusal = Reply::json(
        400,
        json!({"error": "invalid_grant", "error_description": "no"}),
    );
    Server::tls()
        .route(discovery())
        .route(post(TOKEN_ENDPOINT).reply(refusal))
}

// kubectl and the Kubernetes Python client

/// A cluster's version, which is all that is asked of it.
fn cluster(connect: Builder) -> Server {
    let version = json!({"major": "1", "minor": "31", "gitVersion": "v1.31.0", "gitCommit": "0",
        "gitTreeState": "clean", "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.22",
        "compiler": "gc", "platform": "linux/amd64"});
    connect
        .route(get("/version").reply(Reply::json(200, version.clone())))
        .route(get("/version/").reply(Reply::json(200, version)))
        .start()
}

/// A kubectl, by preference the versioned one that stands beside a dispatcher of that name.
fn kubectl(what: &str) -> Option<(String, Vec<&'static str>)> {
    if !is_installed("kubectl", what) {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("kubectl"));
    let found = found
        .filter(|path| path.is_file())
        .find_map(|path| path.canonicalize().ok())
        .unwrap();
    let beside = std::fs::read_dir(found.parent().unwrap())
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let minor = path
                .file_name()?
                .to_str()?
                .strip_prefix("kubectl.1.")?
                .parse::<u32>()
                .ok()?;
            Some((minor, path))
        });
    let found = beside
        .max()
        .map_or(found, |(_, path)| path)
        .to_str()?
        .to_owned();
    let version = client(&found)
        .args(["version", "--client", "-o", "json"])
        .run()
        .json();
    let minor = version["clientVersion"]["minor"].as_str().unwrap();
    let minor: u32 = minor.trim_end_matches('+').parse().unwrap();
    // v1 came with 1.22.
    let versions = if minor >= 22 {
        vec!["v1", "v1beta1"]
    } else {
        vec!["v1beta1"]
    };
    Some((found, versions))
}

/// A kubeconfig; with `flags` the plugin is told by arguments, else by the cluster's own data.
fn kubeconfig(server: &Server, version: &str, flags: bool) -> String {
    let ca = std::fs::read_to_string(ca_file()).unwrap();
    let mut cluster =
        json!({"server": server.url(), "certificate-authority": file("kube-ca.pem", ca)});
    let mut exec = json!({
        "apiVersion": format!("client.authentication.k8s.io/{version}"),
        "command": PROGRAM,
        "interactiveMode": "Never",
    });
    if flags {
        exec["args"] = json!(options(server).split(' ').collect::<Vec<_>>());
    } else {
        exec["provideClusterInfo"] = json!(true);
        exec["env"] = json!([
            {"name": "CONNECT_CA_CERTIFICATE", "value": ca_file()},
            {"name": "CONNECT_IDENTITY_TOKEN_FILE", "value": token_file()},
        ]);
        cluster["extensions"] = json!([{
            "name": "client.authentication.k8s.io/exec",
            "extension": {"server": server.url(), "audience": "connect"},
        }]);
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"exec": exec}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    file("kubeconfig.json", config.to_string())
}

#[test]
fn kubectl_sends_the_exchanged_key() {
    let Some((kubectl, versions)) = kubectl("kubectl's exec plugin") else {
        return;
    };
    for version in versions {
        for flags in [true, false] {
            let server = cluster(open_connect());
            let config = kubeconfig(&server, version, flags);
            let outcome = client(&kubectl)
                .args(["--kubeconfig", &config, "get", "--raw", "/version"])
                .run();
            assert_success(&outcome);
            let requests = server.requests();
            assert_eq!(
                authorized(&requests, &format!("Bearer {KEY}")),
                ["/version"],
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn the_clusters_audience_decides_which_token_kubectls_plugin_sends() {
    let Some((kubectl, versions)) = kubectl("the audience of a kubeconfig's cluster") else {
        return;
    };
    for version in versions {
        let server = cluster(open_connect());
        let config = kubeconfig(&server, version, false);
        let team = jwt(&github_claims("team"));
        let written = std::fs::read_to_string(&config).unwrap();
        let mut written: Value = serde_json::from_str(&written).unwrap();
        let extension = &mut written["clusters"][0]["cluster"]["extensions"][0]["extension"];
        extension["audience"] = json!("team");
        written["users"][0]["user"]["exec"]["env"] = json!([
            {"name": "CONNECT_CA_CERTIFICATE", "value": ca_file()},
            {"name": "GITLAB_CI", "value": "true"},
            {"name": "CONNECT_ID_TOKEN", "value": token()},
            {"name": "TEAM_ID_TOKEN", "value": team},
        ]);
        std::fs::write(&config, written.to_string()).unwrap();
        let outcome = client(&kubectl)
            .args(["--kubeconfig", &config, "get", "--raw", "/version"])
            .run();
        assert_success(&outcome);
        let requests = server.requests();
        let exchange = requests.iter().find(|request| request.method == "POST");
        assert_eq!(exchange.unwrap().field("subject_token").unwrap(), team);
    }
}

#[test]
fn kubectl_shows_a_refusal_in_our_words() {
    let Some((kubectl, versions)) = kubectl("a refusal through kubectl") else {
        return;
    };
    let server = cluster(refusing_connect());
    let config = kubeconfig(&server, versions[0], true);
    let outcome = client(&kubectl)
        .args(["--kubeconfig", &config, "get", "--raw", "/version"])
        .run();
    assert_ne!(outcome.status, Some(0));
    assert!(outcome.stderr.contains(REFUSAL), "{outcome:?}");
}

#[test]
fn the_kubernetes_python_client_sends_the_exchanged_key() {
    let Some(python) = python_client("python", "the Kubernetes Python client") else {
        return;
    };
    let script = "import sys\nfrom kubernetes import client, config\n\
                  config.load_kube_config(config_file=sys.argv[1])\n\
                  print(client.VersionApi().get_code().git_version)";
    for (version, flags) in [
        ("v1", true),
        ("v1beta1", true),
        ("v1", false),
        ("v1beta1", false),
    ] {
        let server = cluster(open_connect());
        let config = kubeconfig(&server, version, flags);
        let outcome = client(&python).args(["-c", script, &config]).run();
        assert_success(&outcome);
        assert_eq!(outcome.text(), "v1.31.0\n");
        let requests = server.requests();
        assert_eq!(
            authorized(&requests, &format!("Bearer {KEY}")),
            ["/version/"]
        );
    }
}

/// Unlike kubectl it goes on after a failed plugin, which is for its users to know; it sends no
/// credential then.
#[test]
fn the_kubernetes_python_client_logs_a_refusal_in_our_words() {
    let Some(python) = python_client("python", "a refusal through the Python client") else {
        return;
    };
    let script = "import sys\nfrom kubernetes import client, config\n\
                  config.load_kube_config(config_file=sys.argv[1])\n\
                  client.VersionApi().get_code()";
    let server = cluster(refusing_connect());
    let config = kubeconfig(&server, "v1", true);
    let outcome = client(&python).args(["-c", script, &config]).run();
    assert!(outcome.stderr.contains(REFUSAL), "{outcome:?}");
    let requests = server.requests();
    assert_eq!(requests.last().unwrap().target, "/version/", "{outcome:?}");
    for request in requests {
        assert_eq!(request.header("authorization"), None, "{request}");
    }
}

// AWS SDKs

/// Asks boto3 for the credentials of a profile that runs the program.
fn boto3(python: &str, server: &Server) -> Outcome {
    let config = format!(
        "[profile connect]\ncredential_process = {PROGRAM} --format aws {}\n",
        options(server)
    );
    let script = "import boto3, json\n\
                  found = boto3.Session(profile_name='connect').get_credentials()\n\
                  frozen = found.get_frozen_credentials()\n\
                  print(json.dumps({'id': frozen.access_key, 'secret': frozen.secret_key,\n\
                  'expiry': found._expiry_time.isoformat()}))";
    client(python)
        .args(["-c", script])
        .env("AWS_CONFIG_FILE", file("aws-config", config))
        .run()
}

#[test]
fn boto3_holds_the_exchanged_key_and_its_expiry() {
    let Some(python) = python_client("python", "boto3's credential_process") else {
        return;
    };
    let server = open_connect().start();
    let before = now();
    let outcome = boto3(&python, &server);
    assert_success(&outcome);
    let held = outcome.json();
    assert_eq!(
        (&held["id"], &held["secret"]),
        (&json!("localhost"), &json!(KEY))
    );
    let expiry = held["expiry"].as_str().unwrap().replace("+00:00", "Z");
    let range = before + 3600..=now() + 3600;
    assert!(range.contains(&unix(&expiry)), "{expiry}");
}

#[test]
fn boto3_shows_a_refusal_in_our_words() {
    let Some(python) = python_client("python", "a refusal through boto3") else {
        return;
    };
    let outcome = boto3(&python, &refusing_connect().start());
    assert_ne!(outcome.status, Some(0));
    assert!(outcome.stderr.contains(REFUSAL), "{outcome:?}");
}

// git

/// Every git that is there: Debian's does not speak authtype before 2.46.
fn gits(what: &str) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<String> = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")])
        .map(|folder| folder.join("git"))
        .filter(|path| path.is_file())
        .filter_map(|path| path.canonicalize().ok())
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    found.sort();
    found.dedup();
    if found.is_empty() {
        not_run("git", what);
    }
    found
}

fn git(git: &str, server: &Server, args: &[&str]) -> Run {
    let helper = format!("credential.helper=!{PROGRAM} -f git {}", options(server));
    client(git)
        .args(["-c", &helper])
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_SSL_CAINFO", ca_file())
}

fn speaks_authtype(git: &str) -> bool {
    let version = client(git).arg("version").run().text();
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    version >= (2, 46)
}

#[test]
fn git_fills_approves_and_rejects() {
    for path in gits("git credential") {
        let revoke = post("/revoke").reply(Reply::status(200));
        let mut metadata = metadata();
        metadata["revocation_endpoint"] = json!("/revoke");
        let server = Server::tls()
            .route(get(METADATA).reply(Reply::json(200, metadata)))
            .route(exchange())
            .route(revoke)
            .start();
        let host = server.url().replace("https://", "");
        let asked = format!("protocol=https\nhost={host}\n\n");
        let filled = git(&path, &server, &["credential", "fill"])
            .stdin(&asked)
            .run();
        assert_success(&filled);
        assert!(
            filled.text().contains(&format!("password={KEY}\n")),
            "{filled:?}"
        );
        assert!(filled.text().contains("username=connect\n"), "{filled:?}");
        let before = server.requests().len();
        assert_success(
            &git(&path, &server, &["credential", "approve"])
                .stdin(filled.text())
                .run(),
        );
        assert_eq!(server.requests().len(), before);
        assert_success(
            &git(&path, &server, &["credential", "reject"])
                .stdin(filled.text())
                .run(),
        );
        let revoked = server.requests().pop().unwrap();
        assert_eq!(revoked.field("token").as_deref(), Some(KEY));

        let other = "protocol=https\nhost=other.example\n\n";
        let outcome = git(&path, &server, &["credential", "fill"])
            .stdin(other)
            .run();
        assert_ne!(outcome.status, Some(0), "{outcome:?}");
        assert!(!outcome.text().contains(KEY));
    }
}

#[test]
fn git_reads_a_repository_with_the_exchanged_key() {
    for path in gits("git ls-remote") {
        let refs = |request: &Request| match request.header("authorization") {
            None => Reply::status(401)
                .header("WWW-Authenticate", "Basic realm=\"Connect\"")
                .header("WWW-Authenticate", "Key realm=\"Connect\""),
            Some(_) => {
                let line = format!("{} HEAD\0agent=test\n", "1".repeat(40));
                let body = format!(
                    "001e# service=git-upload-pack\n0000{:04x}{line}0000",
                    line.len() + 4
                );
                Reply::text(200, body).header(
                    "Content-Type",
                    "application/x-git-upload-pack-advertisement",
                )
            }
        };
        let server = open_connect().route_with("GET", "/repo.git", refs).start();
        let url = format!("{}/repo.git", server.url());
        let outcome = git(&path, &server, &["ls-remote", &url]).run();
        assert_success(&outcome);
        assert!(outcome.text().contains("HEAD"), "{outcome:?}");
        use base64::Engine;
        let basic = base64::prelude::BASE64_STANDARD.encode(format!("connect:{KEY}"));
        let expected = match speaks_authtype(&path) {
            true => format!("Key {KEY}"),
            false => format!("Basic {basic}"),
        };
        let requests = server.requests();
        assert!(
            !authorized(&requests, &expected).is_empty(),
            "{path}: {requests:#?}"
        );
    }
}

/// A Connect server that revokes keys, and whose repository takes no credential.
fn connect_that_takes_no_credential() -> Server {
    let mut metadata = metadata();
    metadata["revocation_endpoint"] = json!("/revoke");
    Server::tls()
        .route(get(METADATA).reply(Reply::json(200, metadata)))
        .route(exchange())
        .route(post("/revoke").reply(Reply::status(200)))
        .route_with("GET", "/repo.git", |_| {
            Reply::status(401).header("WWW-Authenticate", "Basic realm=\"Connect\"")
        })
        .start()
}

#[test]
fn a_key_that_a_repository_refuses_is_revoked() {
    for path in gits("git after a refused key") {
        let server = connect_that_takes_no_credential();
        let url = format!("{}/repo.git", server.url());
        let outcome = git(&path, &server, &["ls-remote", &url]).run();
        assert_ne!(outcome.status, Some(0), "{outcome:?}");
        let requests = server.requests();
        let revoked = requests
            .iter()
            .filter(|request| request.target == "/revoke");
        let revoked: Vec<_> = revoked.map(|request| request.field("token")).collect();
        assert_eq!(revoked, [Some(KEY.to_owned())], "{path}: {requests:#?}");
    }
}

#[test]
fn what_other_helpers_gave_git_goes_nowhere_when_it_is_refused() {
    let theirs = "secret-of-another-helper";
    for path in gits("git with another helper") {
        // The refusing server is another one, or ours with another's name, or ours by its name.
        for (name, elsewhere) in [("connect", true), ("ada", true), ("ada", false)] {
            let server = connect_that_takes_no_credential();
            let other = connect_that_takes_no_credential();
            let asked = if elsewhere { &other } else { &server };
            let url = format!("{}/repo.git", asked.url());
            let url = match elsewhere {
                true => url,
                false => url.replace("https://", &format!("https://{name}@")),
            };
            let helper = format!(
                "credential.helper=!f() {{ test \"$1\" = get || exit 0; \
                 echo username={name}; echo password={theirs}; }}; f"
            );
            let outcome = git(&path, &server, &["-c", &helper, "ls-remote", &url]).run();
            assert_ne!(outcome.status, Some(0), "{outcome:?}");
            let asked = asked.requests();
            assert!(
                asked
                    .iter()
                    .all(|request| request.target.starts_with("/repo.git")),
                "{path} {name}: {asked:#?}"
            );
            // git did try the other helper's secret, and so had it to erase.
            let tried = asked
                .iter()
                .filter_map(|request| request.header("authorization"));
            assert_ne!(tried.count(), 0, "{path} {name}: {asked:#?}");
            if elsewhere {
                assert_eq!(server.connections(), 0, "{path} {name}");
            }
        }
    }
}

// rsconnect-python

/// A Connect server that rsconnect can work with.
pub fn connect_for_rsconnect(connect: Builder) -> Server {
    connect
        .route_with("GET", "/__api__", |request| {
            let path = request.target.split('?').next().unwrap_or_default();
            Reply::json(
                200,
                match path {
                    "/__api__/server_settings" => json!({"version": "2026.07.0"}),
                    "/__api__/v1/user" | "/__api__/me" => {
                        json!({"username": "ada", "guid": "1", "user_role": "publisher"})
                    }
                    path if path.ends_with("/search/content") => {
                        json!({"results": [], "total": 0, "current_page": 1})
                    }
                    _ => json!([]),
                },
            )
        })
        .start()
}

#[test]
fn rsconnect_runs_as_the_command() {
    let Some(rsconnect) = python_client("rsconnect", "rsconnect as the command") else {
        return;
    };
    let server = connect_for_rsconnect(open_connect());
    let options = options(&server);
    let outcome = client(PROGRAM)
        .args(options.split(' '))
        .args(["--", &rsconnect, "content", "search"])
        .run();
    assert_success(&outcome);
    let requests = server.requests();
    assert!(
        !authorized(&requests, &format!("Key {KEY}")).is_empty(),
        "{requests:#?}"
    );

    let server = connect_for_rsconnect(refusing_connect());
    let outcome = client(PROGRAM)
        .args(self::options(&server).split(' '))
        .args(["--", &rsconnect, "content", "search"])
        .run();
    assert_eq!(
        (outcome.status, outcome.text().as_str()),
        (Some(4), ""),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains(REFUSAL), "{outcome:?}");
}

#[test]
fn rsconnect_runs_in_a_shell_that_evaluated_env() {
    let Some(rsconnect) = python_client("rsconnect", "rsconnect with -f env") else {
        return;
    };
    let server = connect_for_rsconnect(open_connect());
    let script = format!(
        "eval \"$(connect-credential -f env {})\" || exit\nexec {rsconnect} content search",
        options(&server)
    );
    let outcome = client("/bin/sh")
        .args(["-c", &script])
        .env("CONNECT_CA_CERTIFICATE", ca_file())
        .run();
    assert_success(&outcome);
    let requests = server.requests();
    assert!(
        !authorized(&requests, &format!("Key {KEY}")).is_empty(),
        "{requests:#?}"
    );
}

#[test]
fn rsconnect_add_stores_the_exchanged_key() {
    let Some(rsconnect) = python_client("rsconnect", "rsconnect add") else {
        return;
    };
    let server = connect_for_rsconnect(open_connect());
    let script = format!(
        "{rsconnect} add --name n --server {} --cacert {} \
         --api-key \"$(connect-credential {} -f key)\" >&2 && cat \"$(find . -name servers.json)\"",
        server.url(),
        ca_file(),
        options(&server)
    );
    let home = folder("home");
    let outcome = client("/bin/sh")
        .args(["-c", &script])
        .env("HOME", &home)
        .dir(&home)
        .run();
    assert_success(&outcome);
    let stored: Value = outcome.json();
    assert_eq!(stored["n"]["api_key"], KEY, "{outcome:?}");
}

// curl and Bazel

#[test]
fn curl_reads_the_header_from_a_pipe() {
    if !is_installed("curl", "curl -H @-") {
        return;
    }
    let user = Reply::json(200, json!({"username": "ada"}));
    let server = open_connect().route(get(USER).reply(user)).start();
    let script = format!(
        "connect-credential {} -f header | curl --silent --cacert {} -H @- {}{USER}",
        options(&server),
        ca_file(),
        server.url()
    );
    let outcome = client("/bin/sh").args(["-c", &script]).run();
    assert_success(&outcome);
    assert_eq!(outcome.json()["username"], "ada");
    let requests = server.requests();
    assert_eq!(authorized(&requests, &format!("Key {KEY}")), [USER]);
}

/// Bazel itself is not to be had from a package registry; this does as its source does: `get`, the
/// request on stdin, which is closed, ten seconds, and a document of which `headers` is read.
#[test]
fn a_caller_like_bazel_has_its_headers() {
    let server = open_connect().start();
    let request = json!({"uri": format!("{}/content/a.tar.gz", server.url())}).to_string();
    let outcome = client(PROGRAM)
        .args(["-f", "bazel", "--timeout", "8"])
        .args(options(&server).split(' '))
        .arg("get")
        .stdin(request)
        .limit(std::time::Duration::from_secs(10))
        .run();
    assert_success(&outcome);
    assert_eq!(
        outcome.json()["headers"],
        json!({"Authorization": [format!("Key {KEY}")]})
    );
}

// The configurations that protocol.md shows, as they stand there

/// The block of a language that holds some words, with the test's server for the example's.
fn documented(language: &str, words: &str, server: &Server) -> String {
    let mut all = blocks(PROTOCOL, language)
        .into_iter()
        .map(|(_, block)| block);
    let block = all.find(|block| block.contains(words)).unwrap();
    assert!(block.contains(EXAMPLE), "{block}");
    block.replace(EXAMPLE, &server.url())
}

/// A client whose plugin finds the program on the `PATH`, and the rest in the environment.
pub fn configured(program: &str) -> Run {
    client(program)
        .env("CONNECT_CA_CERTIFICATE", ca_file())
        .env("CONNECT_IDENTITY_TOKEN_FILE", token_file())
}

/// Holds the users of a kubeconfig, in which one is called `connect`, against kubectl.
pub fn kubectl_works_with(what: &str, users: impl Fn(&Server) -> String) {
    let Some((kubectl, versions)) = kubectl(what) else {
        return;
    };
    let server = cluster(open_connect());
    let users = users(&server);
    // Debian 12's kubectl is older than v1; all else of the block is the same for it.
    let users = match versions.contains(&"v1") {
        true => users,
        false => users.replace("k8s.io/v1", "k8s.io/v1beta1"),
    };
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  \
         cluster:\n    server: {}\n    certificate-authority: {}\ncontexts:\n- name: test\n  \
         context:\n    cluster: test\n    user: connect\n{users}\n",
        server.url(),
        ca_file()
    );
    let config = file("kubeconfig.yaml", config);
    let outcome = configured(&kubectl)
        .args(["--kubeconfig", &config, "get", "--raw", "/version"])
        .run();
    assert_success(&outcome);
    assert_eq!(
        authorized(&server.requests(), &format!("Bearer {KEY}")),
        ["/version"]
    );
}

/// Holds an AWS configuration file, in which a profile is called `connect`, against boto3.
pub fn boto3_works_with(what: &str, config: impl Fn(&Server) -> String) {
    let Some(python) = python_client("python", what) else {
        return;
    };
    let server = open_connect().start();
    let script = "import boto3\n\
                  found = boto3.Session(profile_name='connect').get_credentials()\n\
                  print(found.get_frozen_credentials().secret_key)";
    let outcome = configured(&python)
        .args(["-c", script])
        .env("AWS_CONFIG_FILE", file("aws-config", config(&server)))
        .run();
    assert_success(&outcome);
    assert_eq!(outcome.text(), format!("{KEY}\n"));
}

/// Holds a configuration file of git's against each git that is there.
pub fn git_works_with(what: &str, config: impl Fn(&Server) -> String) {
    for git in gits(what) {
        let server = open_connect().start();
        let host = server.url().replace("https://", "");
        let outcome = configured(&git)
            .args(["credential", "fill"])
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", file("gitconfig", config(&server)))
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(format!("protocol=https\nhost={host}\n\n"))
            .run();
        assert_success(&outcome);
        assert!(
            outcome.text().contains(&format!("password={KEY}\n")),
            "{outcome:?}"
        );
    }
}

#[test]
fn the_documented_kubeconfig_works() {
    kubectl_works_with("the documented kubeconfig", |server| {
        documented("yaml", "exec:", server)
    });
}

#[test]
fn the_documented_aws_profile_works() {
    boto3_works_with("the documented AWS profile", |server| {
        documented("ini", "credential_process", server)
    });
}

#[test]
fn the_documented_git_helper_works() {
    git_works_with("the documented git helper", |server| {
        documented("ini", "helper", server)
    });
}

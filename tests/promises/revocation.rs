//! `erase`: keys that end with the job.

use serde_json::{Value, json};

use crate::support::server::{Builder, Reply, Server, get, post};
use crate::world::*;

/// A server that names this revocation endpoint.
fn revoking_at(endpoint: &str) -> Builder {
    let mut metadata = metadata();
    metadata["revocation_endpoint"] = json!(endpoint);
    Server::tls().step(get(METADATA).reply(Reply::json(200, metadata)))
}

fn revoking() -> Builder {
    revoking_at("{origin}/oauth/revoke").step(post("/oauth/revoke").reply(Reply::status(200)))
}

/// `erase` with no source of an identity token that could be read.
fn erase(server: &Server, args: &[&str], request: &str) -> Call {
    call(args)
        .args(&["erase", "-s", &server.url(), "-c", ca_file()])
        .args(&["--identity-token-file", "/nonexistent"])
        .stdin(request)
}

fn json_request() -> String {
    json!({"version": 1, "api_key": KEY}).to_string()
}

fn git_request(server: &Server, lines: &str) -> String {
    let host = server.url().replace("https://", "");
    format!("protocol=https\nhost={host}\n{lines}\n")
}

/// The form that a server got, without a trace of an identity token.
fn form_at(server: &Server) -> Vec<(String, String)> {
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    requests[1].form()
}

fn expected() -> Vec<(String, String)> {
    let pairs = [("token", KEY), ("token_type_hint", "access_token")];
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn a_refused_key_is_revoked() {
    let server = revoking().start();
    let outcome = erase(&server, &[], &json_request()).succeeds();
    assert_eq!(outcome.text(), "");
    assert_eq!(form_at(&server), expected());
    assert_eq!(server.connections(), 1);
}

#[test]
fn git_has_its_own_keys_revoked() {
    for ours in [
        format!("username=connect\npassword={KEY}"),
        format!("capability[]=authtype\nauthtype=Key\ncredential={KEY}"),
    ] {
        let server = revoking().start();
        let request = git_request(&server, &ours);
        let outcome = erase(&server, &["-f", "git"], &request).succeeds();
        assert_eq!(outcome.text(), "");
        assert_eq!(form_at(&server), expected());
    }
}

#[test]
fn what_is_not_ours_goes_nowhere() {
    for others in [
        format!("username=ada\npassword={KEY}"),
        format!("password={KEY}"),
        format!("authtype=Bearer\ncredential={KEY}"),
        format!("credential={KEY}"),
        "username=connect".to_owned(),
        "username=connect\npassword=".to_owned(),
        format!("username=connect\nusername=connect\npassword={KEY}"),
    ] {
        let server = Server::tls().start();
        let request = git_request(&server, &others);
        erase(&server, &["-f", "git"], &request).succeeds();
        assert_eq!(server.connections(), 0, "{others}");
    }
    let server = Server::tls().start();
    for host in ["other.example", "localhost:1", "localhost"] {
        let request = format!("protocol=https\nhost={host}\nusername=connect\npassword={KEY}\n\n");
        erase(&server, &["-f", "git"], &request).succeeds();
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_server_that_cannot_revoke_is_asked_nothing_more() {
    let server = Server::tls().step(discovery()).start();
    erase(&server, &[], &json_request()).succeeds();
    let server = Server::tls()
        .step(get(METADATA).reply(Reply::status(404)))
        .step(get("/.well-known/openid-configuration").reply(Reply::status(404)))
        .start();
    erase(&server, &[], &json_request()).succeeds();
}

#[test]
fn a_key_goes_to_the_servers_own_origin_only() {
    let evil = Server::tls().start();
    let server = revoking_at(&format!("{}/oauth/revoke", evil.url()))
        .step(post("/oauth/revoke").reply(Reply::status(200)))
        .start();
    erase(&server, &[], &json_request()).succeeds();
    assert_eq!(evil.connections(), 0);
    let server = revoking_at("https://u@h/revoke").start();
    erase(&server, &[], &json_request()).fails(6, "unsafe_endpoint");
    for bad in [json!(7), json!("")] {
        let metadata = json!({"revocation_endpoint": bad});
        let server = Server::tls()
            .step(get(METADATA).reply(Reply::json(200, metadata)))
            .start();
        erase(&server, &[], &json_request()).fails(6, "bad_response");
    }
}

#[test]
fn a_failed_revocation_is_told() {
    for (status, exit, code) in [(500, 5, "unavailable"), (400, 6, "bad_response")] {
        let server = revoking_at("/revoke")
            .step(post("/revoke").reply(Reply::status(status)))
            .start();
        erase(&server, &[], &json_request()).fails(exit, code);
    }
    let request = json!({"version": 1, "api_key": 7}).to_string();
    call(&["erase", "-s", "h"])
        .stdin(request)
        .fails(2, "bad_request");
}

#[test]
fn a_server_that_is_not_allowed_is_not_asked_to_revoke() {
    let server = Server::tls().start();
    erase(&server, &[], &json_request())
        .env("CONNECT_ALLOWED_SERVERS", "https://other.example")
        .fails(2, "server_not_allowed");
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_request_names_the_server_as_get_does() {
    let server = revoking().start();
    let request = json!({
        "version": 1,
        "server": server.url(),
        "cacert": ca_file(),
        "api_key": KEY,
        "identity_token": Value::Null,
    });
    call(&["erase"]).stdin(request.to_string()).succeeds();
}

#[test]
fn a_server_in_trouble_is_told_and_a_redirect_is_not_followed() {
    let later = Reply::status(503).header("Retry-After", "3600");
    let server = revoking_at("/revoke")
        .step(post("/revoke").reply(later))
        .start();
    let outcome = erase(&server, &[], &json_request()).fails(5, "unavailable");
    assert_eq!(outcome.json()["error"]["retryable"], true);
    let evil = Server::tls().start();
    let away = Reply::status(307).header("Location", &format!("{}/revoke", evil.url()));
    let server = revoking_at("/revoke")
        .step(post("/revoke").reply(away))
        .start();
    erase(&server, &[], &json_request()).fails(6, "bad_response");
    assert_eq!(evil.connections(), 0);
}

#[test]
fn an_endpoint_stays_below_the_servers_prefix_and_keeps_its_query() {
    let server = Server::tls()
        .step(
            get("/rsc/.well-known/oauth-authorization-server").reply(Reply::json(
                200,
                json!({"revocation_endpoint": "https://inner.invalid/oauth/revoke?a=b%20c"}),
            )),
        )
        .step(post("/rsc/oauth/revoke?a=b%20c").reply(Reply::status(200)))
        .start();
    let prefixed = format!("{}/rsc", server.url());
    call(&["erase", "-s", &prefixed, "-c", ca_file()])
        .stdin(json_request())
        .succeeds();
    assert_eq!(form_at(&server), expected());
}

#[test]
fn git_below_a_prefix_has_only_its_own_paths_revoked() {
    let server = Server::tls().start();
    let prefixed = format!("{}/rsc", server.url());
    for path in ["", "path=other/a\n", "path=rscx\n", "path=rsc/../a\n"] {
        let ours = format!("{path}username=connect\npassword={KEY}");
        call(&["-f", "git", "erase", "-s", &prefixed, "-c", ca_file()])
            .stdin(git_request(&server, &ours))
            .succeeds();
    }
    let ours = format!("username=connect\npassword={KEY}");
    let plain = git_request(&server, &ours).replace("protocol=https", "protocol=http");
    erase(&server, &["-f", "git"], &plain).succeeds();
    assert_eq!(server.connections(), 0);
}

#[test]
fn no_identity_token_is_read_minted_or_sent() {
    let github = Server::tls().start();
    let server = revoking().start();
    let request = json!({"version": 1, "api_key": KEY, "identity_token": token()}).to_string();
    call(&["erase", "-s", &server.url(), "-c", ca_file()])
        .env("GITHUB_ACTIONS", "true")
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", &github.url())
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-request-token")
        .env("CONNECT_IDENTITY_TOKEN_FILE", "/nonexistent")
        .stdin(request)
        .succeeds();
    assert_eq!(github.connections(), 0);
    assert_eq!(form_at(&server), expected());
    for request in server.requests() {
        assert_eq!(request.header("authorization"), None);
        assert!(!request.to_string().contains(token()));
    }
}

#[test]
fn the_client_id_goes_with_the_key_and_without_a_key_nothing_goes() {
    let server = revoking().start();
    erase(&server, &["--client-id", "ci"], &json_request()).succeeds();
    let client = ("client_id".to_owned(), "ci".to_owned());
    assert_eq!(form_at(&server), [expected(), vec![client]].concat());
    let server = Server::tls().start();
    erase(&server, &[], r#"{"version":1}"#).succeeds();
    assert_eq!(server.connections(), 0);
}

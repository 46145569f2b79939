//! What a server or a proxy echoes is shown nowhere, at whatever stage and in whatever place:
//! not on stdout, not on stderr, not with `--verbose`.

use serde_json::{Value, json};

use crate::support::jwt::{github_claims, jwt};
use crate::support::process::Outcome;
use crate::support::proxy::Proxy;
use crate::support::server::{Builder, Reply, Server, get, post};
use crate::world::*;

/// Tokens of each shape: a JWT, and opaque ones that look like a word of OAuth, like a host's
/// name and like base64.
fn tokens() -> [String; 4] {
    [
        jwt(&github_claims("connect")),
        "d41d8cd98f00b204e9800998ecf8427e".into(),
        "a_secret_that_is_spelled_like_an_oauth_error".into(),
        "Qm9vTGVhbi1Ub2tlbi+PbGVhc2UvSGlkZQ==".into(),
    ]
}

/// A secret as a server may write it.
fn spellings(secret: &str) -> Vec<String> {
    let every: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let some = secret.replacen(&secret[5..6], &format!("%{:02x}", secret.as_bytes()[5]), 1);
    vec![
        secret.to_owned(),
        every.replace('%', "%25"),
        every,
        some,
        secret[4..20].to_owned(),
        format!("Bearer {secret}, {secret}"),
    ]
}

/// The secret itself with every status, and each spelling of it with the first one.
fn cases(secret: &str, statuses: &[u16]) -> Vec<(u16, String)> {
    let every = statuses.iter().map(|status| (*status, secret.to_owned()));
    let spelled = spellings(secret).into_iter();
    every
        .chain(spelled.skip(1).map(|text| (statuses[0], text)))
        .collect()
}

/// Calls verbosely with this token, and expects none of it in any case, and no line without end.
fn hides(server: Builder, token: &str, args: &[&str]) -> Outcome {
    let server = server.start();
    let outcome = call(&["-v", "-s", &server.url(), "--cacert", ca_file()])
        .args(&["--timeout", "5"])
        .args(&["--identity-token-file", &file("token", token)])
        .args(args)
        .secret(token)
        .run();
    let lowered = token.to_ascii_lowercase();
    assert_hidden(&lowered, &outcome.stderr.to_ascii_lowercase());
    assert_hidden(token, &outcome.text());
    for line in outcome.stderr.lines() {
        assert!(line.chars().count() < 1_200, "{outcome:#?}");
    }
    outcome
}

/// A body that echoes in every place that a client may look at.
fn echo(text: &str) -> Value {
    json!({
        "error": text,
        "error_description": text,
        "error_uri": text,
        "message": text,
        "code": 30,
        text: text,
        "nested": {text: [text]},
    })
}

/// A reply with it in headers too. What cannot stand in a header stands in the body only.
fn echoing(status: u16, text: &str) -> Reply {
    Reply::json(status, echo(text))
        .header(
            "Location",
            &format!("https://login.example.com/{text}?{text}"),
        )
        .header("Date", text)
        .header("Retry-After", text)
        .header("X-Request-Id", text)
        .header("WWW-Authenticate", &format!("Bearer error=\"{text}\""))
}

#[test]
fn discovery_shows_no_token_that_a_server_echoes() {
    for token in tokens() {
        for (status, text) in cases(&token, &[400, 200, 302, 401, 404, 500]) {
            let reply = echoing(status, &text);
            let server = Server::tls().route_with("GET", "/.well-known/", move |_| reply.clone());
            let outcome = hides(server, &token, &[]);
            assert_ne!(outcome.status, Some(0), "{outcome:#?}");
        }
    }
}

#[test]
fn a_redirect_shows_no_token_that_is_in_its_location() {
    for token in tokens() {
        // A host's name has no capitals, and its labels are short.
        let label = &token[..30].replace(['+', '/', '=', '_', '.'], "-");
        for location in [
            format!("https://{token}@localhost/"),
            format!("https://localhost/#{token}"),
            format!("https://{label}.example/"),
            format!("//x.example/{token}"),
            format!("{token}:{token}"),
            format!("https://[{token}"),
        ] {
            let redirect = Reply::status(302).header("Location", &location);
            let server = Server::tls()
                .step(get(METADATA).reply(redirect))
                .route_with("GET", "/", |_| Reply::status(400));
            assert_ne!(hides(server, &token, &[]).status, Some(0));
        }
        // Followed, since it stays inside the origin.
        let redirect = Reply::status(302).header("Location", &format!("/a/{token}?b={token}"));
        let server = Server::tls()
            .step(get(METADATA).reply(redirect))
            .step(get(&format!("/a/{token}?b={token}")).reply(Reply::status(400)));
        assert_ne!(hides(server, &token, &[]).status, Some(0));
    }
}

#[test]
fn metadata_shows_no_token_that_is_in_its_endpoint() {
    for token in tokens() {
        let label = &token[..30].replace(['+', '/', '=', '_', '.'], "-");
        for endpoint in [
            format!("/{token}"),
            format!(
                "/{}",
                token
                    .bytes()
                    .map(|b| format!("%{b:02X}"))
                    .collect::<String>()
            ),
            format!("/t?{token}"),
            format!("https://{label}.example/{token}"),
            format!("https://{token}@localhost/t"),
            format!("{token}://localhost/t"),
            format!("/t#{token}"),
            format!("/t {token}"),
            format!("/../{token}"),
        ] {
            let metadata = json!({"issuer": token, "token_endpoint": endpoint, token.clone(): 1});
            let refusal = json!({"error": "invalid_grant"});
            let server = Server::tls()
                .step(get(METADATA).reply(Reply::json(200, metadata)))
                .route_with("POST", "/", move |_| Reply::json(400, refusal.clone()));
            // The label of a host's name is spelled as the token, as far as it can be.
            let outcome = hides(server, &token, &[]);
            assert_ne!(outcome.status, Some(0), "{outcome:#?}");
            if *label == token[..30] {
                assert_hidden(&label.to_ascii_lowercase(), &outcome.stderr);
            }
        }
        for metadata in [
            json!({"token_endpoint": {token.clone(): token.clone()}}),
            json!({"token_endpoint": "/t", "grant_types_supported": token}),
            json!({"token_endpoint": "/t", "grant_types_supported": [token]}),
            json!(token),
            json!([token]),
        ] {
            let server = Server::tls().step(get(METADATA).reply(Reply::json(200, metadata)));
            assert_eq!(hides(server, &token, &[]).status, Some(6));
        }
    }
}

#[test]
fn the_exchange_shows_no_token_that_a_server_echoes() {
    for token in tokens() {
        for (status, text) in cases(&token, &[400, 200, 302, 401, 404, 418, 500]) {
            let outcome = hides(answering(echoing(status, &text)), &token, &[]);
            assert_ne!(outcome.status, Some(0), "{outcome:#?}");
        }
        for text in spellings(&token) {
            let refusal = json!({"error": "invalid_grant", "error_description": text});
            let outcome = hides(answering(Reply::json(400, refusal)), &token, &[]);
            assert_eq!(outcome.status, Some(4), "{outcome:#?}");
        }
    }
}

#[test]
fn the_exchange_shows_no_key_in_vain() {
    for answer in [
        json!({"access_token": KEY, "expires_in": KEY}),
        json!({"access_token": KEY, "expires_in": 0, "error_description": KEY}),
        json!({"access_token": format!("{KEY}\n"), "error_description": KEY}),
        json!({"access_token": [KEY]}),
        json!({"access_token": {KEY: KEY}}),
    ] {
        let outcome = hides(answering(Reply::json(200, answer)), token(), &[]);
        assert_eq!(outcome.status, Some(6), "{outcome:#?}");
    }
    let refusal = json!({
        "access_token": KEY,
        "error": "invalid_grant",
        "error_description": format!("we did not mean to give you {KEY}"),
    });
    let outcome = hides(answering(Reply::json(400, refusal)), token(), &[]);
    assert_eq!(outcome.status, Some(4), "{outcome:#?}");
    // The type of what was issued is a verbose line; so is what stands in its place.
    let answer = json!({"access_token": KEY, "issued_token_type": KEY, "expires_in": 60});
    let outcome = hides(answering(Reply::json(200, answer)), token(), &[]);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    let answer = json!({"access_token": KEY, "issued_token_type": token()});
    let outcome = hides(answering(Reply::json(200, answer)), token(), &[]);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
}

#[test]
fn the_check_shows_neither_token_nor_key_that_a_server_echoes() {
    for token in tokens() {
        for (status, text) in cases(&token, &[403, 302, 401, 500]) {
            let server = connect().step(get(USER).reply(echoing(status, &text)));
            let outcome = hides(server, &token, &["--check"]);
            assert_ne!(outcome.status, Some(0), "{outcome:#?}");
        }
        // A name that is shown on success holds no secret either.
        let user = json!({"username": format!("ada {token}")});
        let server = connect().step(get(USER).reply(Reply::json(200, user)));
        let outcome = hides(server, &token, &["--check"]);
        assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    }
    for (status, text) in cases(KEY, &[403, 302, 400, 401, 404, 500]) {
        let server = connect().step(get(USER).reply(echoing(status, &text)));
        let outcome = hides(server, token(), &["--check"]);
        assert_ne!(outcome.status, Some(0), "{outcome:#?}");
    }
}

#[test]
fn a_proxys_words_are_not_shown() {
    let password = "correct-horse-battery";
    let server = Server::tls().start();
    for status in ["200 OK", "403", "407", "502"] {
        let reply =
            format!("HTTP/1.1 {status} {password}\r\n{password}: {password}\r\n\r\n{password}");
        let proxy = Proxy::replying(reply);
        call_at(&server, &["-v"])
            .env("https_proxy", &proxy.url_with("ada", password))
            .secret(password)
            .fails(
                5,
                if status == "200 OK" {
                    "tls"
                } else {
                    "unreachable"
                },
            );
    }
    let proxy = Proxy::replying(format!("{password}\r\n\r\n"));
    call_at(&server, &["-v"])
        .env("https_proxy", &proxy.url_with("ada", password))
        .secret(password)
        .fails(5, "unreachable");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_proxys_password_is_not_shown_that_comes_back_through_its_tunnel() {
    for (password, encoded) in [
        ("correct-horse-battery", "correct-horse-battery"),
        ("correct+horse/battery", "correct%2Bhorse%2Fbattery"),
    ] {
        for text in [password, encoded] {
            let proxy = Proxy::requiring_basic("ada", password);
            let refusal = json!({"error": "invalid_grant", "error_description": text});
            let server = Server::plain()
                .step(discovery())
                .step(post(TOKEN_ENDPOINT).reply(Reply::json(400, refusal)))
                .start();
            let outcome = call(&["-v", "-i", "-s", &server.url()])
                .args(&["--identity-token-file", token_file()])
                .env("http_proxy", &proxy.url_with("ada", encoded))
                .secret(password)
                .secret(encoded)
                .run();
            assert_eq!(outcome.status, Some(4), "{outcome:#?}");
        }
    }
}

/// A password that nothing on the way knows is a word as good as any other.
#[test]
fn the_password_of_a_proxy_that_is_not_on_the_way_cuts_nothing_out() {
    for variables in [
        [
            ("https_proxy", "http://u:ada1@127.0.0.1:9"),
            ("no_proxy", "*"),
        ],
        [
            ("http_proxy", "http://u:ada1@127.0.0.1:9"),
            ("no_proxy", ""),
        ],
    ] {
        let user = Reply::json(200, json!({"username": "ada1"}));
        let server = connect().step(get(USER).reply(user)).start();
        let call = variables
            .iter()
            .fold(call_at(&server, &["--check"]), |call, (name, value)| {
                call.env(name, value)
            });
        assert_eq!(call.succeeds().json()["user"], "ada1");
    }
}

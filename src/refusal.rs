//! Why Connect refused a token, as far as the token itself tells, and what to do about it.
//!
//! Pure.

use std::time::SystemTime;

use crate::error::{Code, Error};
use crate::expiry::Expiry;
use crate::http::Reply;
use crate::identity::Claims;
use crate::words::Redactor;

/// The audience that Connect's trusted publishers expect.
const CONNECT_AUDIENCE: &str = "connect";
const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// Adds to a refusal what the token that was sent claims, and each thing that can be done.
///
/// Only for the codes of exit status 4 that the exchange gives; a token that is no JWT has no
/// claims to speak of.
pub(crate) fn explain(
    mut error: Error,
    claims: Option<&Claims>,
    reply: &Reply,
    now: SystemTime,
    redactor: &Redactor,
) -> Error {
    let Some(claims) = claims.filter(|_| error.code.is_refusal()) else {
        return error;
    };
    let said = std::mem::take(&mut error.hints);
    let code = error.code;
    let error = error
        .hint(summary(claims, now, redactor))
        .hints(ci_claims(claims, redactor))
        .hints(said)
        .hints(time_trouble(claims, now));
    match code {
        Code::NoMatch => error
            .hints(audience_trouble(claims, redactor))
            .hint(registration(claims, redactor)),
        Code::AmbiguousMatch => error
            .hint("the same values are registered more than once on Connect; remove all but one"),
        Code::VerificationFailed => error.hints(verification(claims, reply, now, redactor)),
        _ => error,
    }
}

/// `iss`, `aud`, `sub` and the time left.
fn summary(claims: &Claims, now: SystemTime, redactor: &Redactor) -> String {
    let shown = |name| {
        claims
            .text(name)
            .map_or("(none)".into(), |text| redactor.quote(text))
    };
    let audiences = match claims.audiences().as_slice() {
        [] => "(none)".to_owned(),
        audiences => redactor.quote(&audiences.join(",")),
    };
    let life = match claims.seconds_until("exp", now) {
        None => "has no expiry".to_owned(),
        Some(left @ 0..) => format!("expires in {}", duration(left)),
        Some(left) => format!("expired {} ago", duration(-left)),
    };
    format!(
        "the token has iss={} aud={audiences} sub={}, {life}",
        shown("iss"),
        shown("sub")
    )
}

/// The claims of CI systems that a trusted publisher may ask for.
fn ci_claims(claims: &Claims, redactor: &Redactor) -> Option<String> {
    let names = ["repository", "ref", "environment", "job_workflow_ref"];
    let shown: Vec<String> = names
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", redactor.quote(claims.text(name)?))))
        .collect();
    (!shown.is_empty()).then(|| format!("it also has {}", shown.join(" ")))
}

/// An expired token, one of the future, and one that barely lives.
fn time_trouble(claims: &Claims, now: SystemTime) -> Option<String> {
    let early = claims.seconds_until("nbf", now).filter(|left| *left > 0);
    match (claims.seconds_until("exp", now), early) {
        (Some(left @ ..0), _) => Some(format!(
            "the token expired {} ago by this machine's clock; ask for a new one just before use",
            duration(-left)
        )),
        (_, Some(early)) => Some(format!(
            "the token is not valid for another {} by this machine's clock; compare the clocks",
            duration(early)
        )),
        (Some(left @ 0..60), _) => Some(format!(
            "the token has {} left; ask for it just before use",
            duration(left)
        )),
        _ => None,
    }
}

fn audience_trouble(claims: &Claims, redactor: &Redactor) -> Option<String> {
    let audiences = claims.audiences();
    (!audiences.is_empty() && !audiences.contains(&CONNECT_AUDIENCE)).then(|| {
        format!(
            "trusted publishers expect the audience {CONNECT_AUDIENCE}, and this token is for {}",
            redactor.quote(&audiences.join(","))
        )
    })
}

/// What to register. A publisher of GitHub's kind is found by its repository, so a `sub` of
/// another form, or one with immutable numbers in it (`repo:owner@1/name@2`), needs its own kind.
fn registration(claims: &Claims, redactor: &Redactor) -> String {
    let sub = claims.text("sub").unwrap_or_default();
    let is_github = claims.text("iss") == Some(GITHUB);
    if has_numbers(sub) || (is_github && !sub.starts_with("repo:")) {
        return format!(
            "add a Custom OpenID Connect publisher with exactly this sub to the content on Connect: {}",
            redactor.quote(sub)
        );
    }
    "add a trusted publisher with these values to the content on Connect".to_owned()
}

/// Whether a subject holds `@digits`.
fn has_numbers(sub: &str) -> bool {
    sub.split('@')
        .skip(1)
        .any(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn verification(
    claims: &Claims,
    reply: &Reply,
    now: SystemTime,
    redactor: &Redactor,
) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(iss) = claims.text("iss") {
        hints.push(format!(
            "the Connect server itself must reach {}/.well-known/openid-configuration to verify it",
            redactor.quote(iss.trim_end_matches('/'))
        ));
    }
    if let Some(date) = &reply.date {
        hints.push(format!(
            "the server's clock says {}, this machine's {}",
            redactor.quote(date),
            Expiry::after(now, std::time::Duration::ZERO)
        ));
    }
    hints
}

/// A number of seconds as people say it, rounded down.
fn duration(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::secret::{Secret, SubjectToken};

    const NOW: u64 = 1_795_000_000;

    fn hints(code: Code, claims: &Value) -> Vec<String> {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        let token = SubjectToken(Secret::new(format!("e30.{payload}.c2ln")));
        let mut reply = Reply::new(400, Vec::new());
        reply.date = Some("Mon, 23 Nov 2026 22:00:00 GMT".into());
        let error = Error::new(code, "refused").hint("the server said: no");
        let claims = Claims::of(&token);
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        explain(error, claims.as_ref(), &reply, now, &Redactor::default()).hints
    }

    #[test]
    fn no_match_shows_the_claims_and_what_to_register() {
        let shown = hints(
            Code::NoMatch,
            &json!({"iss": GITHUB, "aud": "connect", "sub": "repo:acme/app:ref:refs/heads/main",
                "exp": NOW + 299, "repository": "acme/app", "ref": "refs/heads/main"}),
        );
        assert_eq!(
            shown,
            [
                "the token has iss=https://token.actions.githubusercontent.com aud=connect \
             sub=repo:acme/app:ref:refs/heads/main, expires in 4 min",
                "it also has repository=acme/app ref=refs/heads/main",
                "the server said: no",
                "add a trusted publisher with these values to the content on Connect",
            ]
        );
    }

    #[test]
    fn a_customised_or_immutable_subject_is_registered_exactly() {
        for sub in [
            "repo:acme@123/app@456:ref:refs/heads/main",
            "owner:acme:app",
        ] {
            let shown = hints(
                Code::NoMatch,
                &json!({"iss": GITHUB, "aud": "connect", "sub": sub}),
            );
            let last = shown.last().unwrap();
            assert!(last.contains("Custom OpenID Connect publisher") && last.ends_with(sub));
        }
        let mail = hints(
            Code::NoMatch,
            &json!({"iss": "https://i", "sub": "ada@example.com"}),
        );
        assert!(!mail.last().unwrap().contains("Custom"));
    }

    #[test]
    fn the_tokens_time_is_told_where_it_is_the_trouble() {
        let time = |claims: Value| hints(Code::Refused, &claims).pop().unwrap();
        assert!(time(json!({"exp": NOW - 600})).starts_with("the token expired 10 min ago"));
        assert!(time(json!({"exp": NOW + 900, "nbf": NOW + 90})).contains("for another 90 s"));
        assert!(time(json!({"exp": NOW + 59})).starts_with("the token has 59 s left"));
        assert_eq!(time(json!({"exp": NOW + 900})), "the server said: no");
    }

    #[test]
    fn another_audience_is_told() {
        let shown = hints(
            Code::NoMatch,
            &json!({"iss": "i", "aud": ["sts", "x"], "sub": "s"}),
        );
        assert!(
            shown
                .iter()
                .any(|hint| hint.ends_with("this token is for sts,x")),
            "{shown:?}"
        );
    }

    #[test]
    fn verification_names_the_issuer_to_reach_and_the_two_clocks() {
        let shown = hints(
            Code::VerificationFailed,
            &json!({"iss": "https://i.example/", "exp": NOW + 999}),
        );
        assert!(
            shown.contains(
                &"the Connect server itself must reach \
            https://i.example/.well-known/openid-configuration to verify it"
                    .to_owned()
            )
        );
        assert!(
            shown.contains(
                &"the server's clock says Mon, 23 Nov 2026 22:00:00 GMT, \
            this machine's 2026-11-18T11:06:40Z"
                    .to_owned()
            ),
            "{shown:?}"
        );
    }

    #[test]
    fn claims_cannot_forge_lines_or_show_a_token() {
        let shown = hints(
            Code::NoMatch,
            &json!({"iss": "i\nhint: \u{1b}[31m", "aud": "eyJhbGciOi.eyJpc3M.c2ln", "sub": "x".repeat(999)}),
        );
        for hint in shown {
            assert!(
                !hint.contains(char::is_control) && !hint.contains("eyJ"),
                "{hint}"
            );
            assert!(hint.chars().count() < 800, "{hint}");
        }
    }

    #[test]
    fn an_opaque_token_says_nothing_of_claims() {
        let error = Error::new(Code::NoMatch, "refused").hint("the server said: no");
        let reply = Reply::new(400, Vec::new());
        let error = explain(error, None, &reply, UNIX_EPOCH, &Redactor::default());
        assert_eq!(error.hints, ["the server said: no"]);
    }
}

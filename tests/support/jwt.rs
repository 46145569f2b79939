//! Knows what an identity token looks like; nothing here signs or verifies one.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The bytes of an RS256 signature by a 2048-bit key.
const SIGNATURE_BYTES: usize = 256;

/// A token with these claims and a signature that only looks like one: the same for the same
/// claims, another for others, so that a test can search output for it.
pub fn jwt(claims: &Value) -> String {
    let header = json!({"alg": "RS256", "kid": "test-key", "typ": "JWT"});
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(noise(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The part of a token that must never be shown.
pub fn signature_of(token: &str) -> &str {
    token.rsplit('.').next().unwrap_or_default()
}

/// The claims of a token that GitHub Actions gives a job on `acme/app`, valid for five minutes.
pub fn github_claims(audience: &str) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock past 1970")
        .as_secs();
    json!({
        "jti": "0b6c2a0e-7c1f-4a53-9f0e-2d7a8f6f3c11",
        "sub": "repo:acme/app:ref:refs/heads/main",
        "aud": audience,
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "sha": "3f786850e387550fdab836ed7e6dc881de23001b",
        "repository": "acme/app",
        "repository_id": "512345678",
        "repository_owner": "acme",
        "repository_owner_id": "1234567",
        "repository_visibility": "private",
        "run_id": "9876543210",
        "run_number": "42",
        "run_attempt": "1",
        "actor": "octocat",
        "actor_id": "583231",
        "workflow": "Release",
        "workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main",
        "workflow_sha": "3f786850e387550fdab836ed7e6dc881de23001b",
        "job_workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main",
        "job_workflow_sha": "3f786850e387550fdab836ed7e6dc881de23001b",
        "event_name": "push",
        "head_ref": "",
        "base_ref": "",
        "runner_environment": "github-hosted",
        "iss": "https://token.actions.githubusercontent.com",
        "nbf": now,
        "iat": now,
        "exp": now + 300,
    })
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// Bytes that look random and depend on `seed` alone: FNV-1a, drawn out by SplitMix64.
fn noise(seed: &[u8]) -> Vec<u8> {
    let mut state = seed.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    words
        .flat_map(u64::to_be_bytes)
        .take(SIGNATURE_BYTES)
        .collect()
}

//! `kubernetes`: client-go's exec plugins. The request is in `KUBERNETES_EXEC_INFO`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Credential, json};
use crate::error::{Code, Error};
use crate::settings::{Field, Layer, LayerKind};

/// The variable that carries the request.
pub(crate) const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";

const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";

/// The version of the API that the caller speaks, which the answer must repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApiVersion(&'static str);

impl Default for ApiVersion {
    fn default() -> Self {
        Self(V1)
    }
}

/// Reads the request: the version, and the cluster's settings as a layer.
///
/// # Errors
/// `bad_request`.
pub(crate) fn read_request(info: &str) -> Result<(ApiVersion, Layer), Error> {
    let Ok(Value::Object(info)) = serde_json::from_str(info) else {
        return Err(bad(format!("{EXEC_INFO} is not a JSON object")));
    };
    let version = match info.get("apiVersion").and_then(Value::as_str) {
        Some(V1) => ApiVersion(V1),
        Some(V1BETA1) => ApiVersion(V1BETA1),
        _ => {
            return Err(bad(format!(
                "{EXEC_INFO} has an apiVersion that is not spoken here; {V1} and {V1BETA1} are"
            )));
        }
    };
    if info
        .get("kind")
        .is_some_and(|kind| kind != "ExecCredential")
    {
        return Err(bad(format!(
            "{EXEC_INFO} is of another kind than ExecCredential"
        )));
    }
    let mut layer = Layer::new(LayerKind::Cluster);
    if let Some(spec) = object(&info, "spec", "spec")?
        && let Some(cluster) = object(spec, "cluster", "spec.cluster")?
        && let Some(config) = object(cluster, "config", "spec.cluster.config")?
    {
        fill(&mut layer, config)?;
    }
    Ok((version, layer))
}

/// A member that is an object, if it is there at all.
fn object<'a>(
    within: &'a Map<String, Value>,
    member: &str,
    path: &str,
) -> Result<Option<&'a Map<String, Value>>, Error> {
    match within.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(bad(format!("{path} in {EXEC_INFO} is not an object"))),
    }
}

/// The cluster's config is data of the cluster and not of the operator, so it may say where to
/// go and for which audience, and nothing of tokens or trust.
fn fill(layer: &mut Layer, config: &Map<String, Value>) -> Result<(), Error> {
    for (name, value) in config {
        if value.is_null() {
            continue;
        }
        let field = Field::ALL.into_iter().find(|field| field.name() == name);
        match (field, value) {
            (Some(field @ (Field::Server | Field::Audience)), Value::String(text)) => {
                layer.set(field, text.into())?;
            }
            (Some(Field::Server | Field::Audience), _) => {
                let path = "spec.cluster.config";
                return Err(bad(format!(
                    "{name} in {path} of {EXEC_INFO} is not a string"
                )));
            }
            (Some(_), _) => return Err(forbidden(name)),
            (None, _) if json::OTHER_FIELDS.contains(&name.as_str()) => {
                return Err(forbidden(name));
            }
            (None, _) => {}
        }
    }
    Ok(())
}

fn forbidden(name: &str) -> Error {
    bad(format!(
        "spec.cluster.config in {EXEC_INFO} may not set {name}"
    ))
    .hint("it may set server and audience; give the rest in the kubeconfig's args or env")
}

fn bad(message: String) -> Error {
    Error::new(Code::BadRequest, message)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'a str,
    kind: &'a str,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_timestamp: Option<String>,
    token: &'a str,
}

pub(super) fn render(credential: &Credential, version: ApiVersion) -> String {
    json::line(&Answer {
        api_version: version.0,
        kind: "ExecCredential",
        status: Status {
            expiration_timestamp: credential.expires_at.map(|expiry| expiry.to_string()),
            token: credential.api_key.expose(),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_info_is_a_request_or_one_clean_error(info in "\\PC{0,60}", config: String) {
            let _ = read_request(&info);
            let spec = serde_json::json!({"cluster": {"config": {config.clone(): config}}});
            let info = serde_json::json!({"apiVersion": V1, "spec": spec}).to_string();
            if let Err(error) = read_request(&info) {
                prop_assert!(!error.message.contains(char::is_control));
            }
        }
    }
}

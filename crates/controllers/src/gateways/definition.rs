//! The CustomResourceDefinition of `OpenShellGateway`: what a cluster refuses before we see it. Pure.
//!
//! The schema follows the types of `paddock_api::gateway`; a test walks both. Rules that need more than the object itself
//! (allow lists, gateway versions, the TOML) are the controller's, which reports them as `ConfigValid=False`.

use paddock_api::gateway::{GROUP, KIND, PLURAL, VERSION};
use paddock_api::labels;
use paddock_policy::tenant::GatewayName;
use serde_json::{Value, json};

/// The definition, ready to be applied.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{PLURAL}.{GROUP}"),
            "labels": { labels::MANAGED_BY: labels::MANAGED_BY_PADDOCK },
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND, "listKind": format!("{KIND}List"), "plural": PLURAL, "singular": "openshellgateway",
                "shortNames": ["osg"], "categories": ["paddock"],
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    column("Phase", ".status.phase", "string"),
                    column("Ready", ".status.conditions[?(@.type==\"Ready\")].status", "string"),
                    column("Reason", ".status.conditions[?(@.type==\"Ready\")].reason", "string"),
                    column("Image", ".status.image", "string"),
                    column("Age", ".metadata.creationTimestamp", "date"),
                ],
                "schema": { "openAPIV3Schema": schema() },
            }],
        },
    })
}

fn column(name: &str, path: &str, kind: &str) -> Value {
    json!({ "name": name, "type": kind, "jsonPath": path })
}

fn schema() -> Value {
    let reserved: Vec<String> = GatewayName::RESERVED.iter().map(|name| format!("'{name}'")).collect();
    json!({
        "type": "object",
        "description": "An OpenShell agent gateway in this namespace, called like this object.",
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "spec": spec(),
            "status": status(),
        },
        "x-kubernetes-validations": [
            rule(
                &format!(
                    "self.metadata.name.size() <= {} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                    GatewayName::MAX
                ),
                &format!(
                    "the name must have at most {} characters, lower-case letters, digits and inner hyphens, and start with a letter, because it names a Service",
                    GatewayName::MAX
                ),
            ),
            rule(
                &format!("!(self.metadata.name in [{}])", reserved.join(", ")),
                "the name is that of an object of the gateway openshell-gateway",
            ),
        ],
    })
}

fn spec() -> Value {
    json!({
        "type": "object",
        "properties": {
            "image": image(),
            "version": text("The gateway's version, needed only when the image's tag does not tell it.", 64),
            "serverDnsNames": {
                "type": "array",
                "description": "Names and addresses in the server's certificate besides the Service's own, which are always there.",
                "maxItems": 64,
                "x-kubernetes-list-type": "set",
                "items": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 254,
                    "x-kubernetes-validations": [rule(
                        &format!("self.matches('{SERVER_NAME}')"),
                        "must be a DNS name, one with *. in front, or an address",
                    )],
                },
            },
            "logLevel": {
                "type": "string",
                "description": "What the gateway logs; absent: info.",
                "enum": ["error", "warn", "info", "debug", "trace"],
            },
            "oidc": oidc(),
            "config": {
                "type": "string",
                "description": "TOML in the gateway's own format, laid over what is rendered from everything else.",
                "maxLength": 65536,
            },
            "database": {
                "type": "object",
                "description": "Where the gateway keeps its state; absent: the operator's default.",
                "required": ["type"],
                "properties": {
                    "type": {
                        "type": "string",
                        "description": "SQLite: a volume of the gateway's own. Postgres: a server elsewhere.",
                        "enum": ["SQLite", "Postgres"],
                    },
                    "secretName": text("The Secret in this namespace whose key uri is the connection string.", 253),
                },
                "x-kubernetes-validations": [rule(
                    "(self.type == 'Postgres') == has(self.secretName)",
                    "Postgres needs secretName, SQLite has none",
                )],
            },
            "isolation": {
                "type": "string",
                "description": "PerTenant: sandboxes live in this namespace. SharedOperator: in the served namespaces; needs a gateway from 0.0.107 on.",
                "enum": ["PerTenant", "SharedOperator"],
                "default": "PerTenant",
                "x-kubernetes-validations": [rule(
                    "self == oldSelf",
                    "isolation cannot change: the gateway would lose sight of its sandboxes; make another gateway",
                )],
            },
            "servedNamespaces": {
                "type": "object",
                "description": "The namespaces that a SharedOperator gateway serves.",
                "required": ["matchLabels"],
                "properties": {
                    "matchLabels": {
                        "type": "object",
                        "description": "Every label that such a namespace has.",
                        "minProperties": 1,
                        "maxProperties": 16,
                        "additionalProperties": { "type": "string", "maxLength": 63 },
                    },
                },
            },
            "deletionPolicy": {
                "type": "string",
                "description": "What happens to live sandboxes when this object is deleted; absent: the operator's default.",
                "enum": ["Block", "Drain", "Force"],
            },
            "dataPolicy": {
                "type": "string",
                "description": "What happens to the volume and to the key of stored credentials then; absent: the operator's default.",
                "enum": ["Retain", "Delete"],
            },
            "driftPolicy": {
                "type": "string",
                "description": "What happens when somebody else changes the gateway's objects; absent: the operator's default.",
                "enum": ["Revert", "Report"],
            },
        },
        "x-kubernetes-validations": [rule(
            "(self.isolation == 'SharedOperator') == has(self.servedNamespaces)",
            "SharedOperator needs servedNamespaces, PerTenant has none",
        )],
    })
}

/// What every image reference with a registry looks like; which ones may run is the controller's to say.
const IMAGE: &str = "^(localhost|[A-Za-z0-9-]*[.:][A-Za-z0-9.:-]*|[[][0-9A-Fa-f:.]+[]](:[0-9]+)?)\
                     /[a-z0-9._/-]+(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha(256|512):[0-9a-f]+)?$";

/// What every name of a server certificate looks like.
const SERVER_NAME: &str = "^(([*][.])?[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*[.]?|[0-9A-Fa-f:.]+)$";

fn image() -> Value {
    let mut image = text("The gateway's image, with its registry; absent: the operator's default.", 512);
    let message = "must be an image in full, such as ghcr.io/nvidia/openshell/gateway:0.0.111";
    image["x-kubernetes-validations"] = json!([rule(&format!("self.matches('{IMAGE}')"), message)]);
    image
}

fn oidc() -> Value {
    json!({
        "type": "object",
        "description": "Who may log in: an identity provider that speaks OpenID Connect.",
        "required": ["issuer", "audience"],
        "properties": {
            "issuer": {
                "type": "string",
                "description": "The issuer, letter for letter as its discovery document says it.",
                "maxLength": 2048,
                "pattern": "^https?://.+",
            },
            "audience": {
                "type": "string", "description": "The audience that tokens must have.", "minLength": 1, "maxLength": 512,
            },
            "jwksTtlSeconds": {
                "type": "integer",
                "format": "int64",
                "description": "How long the issuer's keys are remembered.",
                "minimum": 0,
            },
            "rolesClaim": text("The claim with a user's roles.", 512),
            "adminRole": role("The role of administrators; empty together with userRole: whoever has a token may do everything."),
            "userRole": role("The role of users."),
            "scopesClaim": text("The claim with a token's scopes.", 512),
        },
        "x-kubernetes-validations": [rule(
            "(has(self.adminRole) && self.adminRole == '') == (has(self.userRole) && self.userRole == '')",
            "adminRole and userRole are empty together (authentication only) or not at all",
        )],
    })
}

fn status() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "properties": {
            "observedGeneration": { "type": "integer", "format": "int64" },
            "phase": text("Pending, Provisioning, Running, Degraded, Failed or Deleting."),
            "image": text("The image that runs, or shall run while none does."),
            "imageFrom": text("Who chose the image that is wanted: entry (the spec), flag, environment or built-in."),
            "imageID": text("The digest of the image that runs, as the node's container runtime tells it."),
            "configHash": text("Digest of everything that the running gateway reads only at its start."),
            "notAfter": text("End of the server certificate's life."),
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
                    "properties": {
                        "type": { "type": "string", "maxLength": 316 },
                        "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                        "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
                        "lastTransitionTime": { "type": "string", "format": "date-time" },
                        "reason": { "type": "string", "maxLength": 1024 },
                        "message": { "type": "string", "maxLength": 32768 },
                    },
                },
            },
        },
    })
}

fn text(description: &str, longest: u32) -> Value {
    json!({ "type": "string", "description": description, "minLength": 1, "maxLength": longest })
}

fn role(description: &str) -> Value {
    json!({ "type": "string", "description": description, "maxLength": 512 })
}

fn rule(expression: &str, message: &str) -> Value {
    json!({ "rule": expression, "message": message })
}

#[cfg(test)]
mod tests {
    use paddock_api::gateway::{DatabaseKind, DatabaseSpec, Isolation, Oidc, OpenShellGatewaySpec, ServedNamespaces};
    use paddock_api::{DataPolicy, DeletionPolicy, DriftPolicy};

    use super::*;

    /// Every field is there.
    fn full() -> OpenShellGatewaySpec {
        let word = || Some("x".to_owned());
        OpenShellGatewaySpec {
            image: word(),
            version: word(),
            server_dns_names: vec!["a.example".into()],
            log_level: word(),
            oidc: Some(Oidc {
                issuer: "https://idp.example".into(),
                audience: "x".into(),
                jwks_ttl_seconds: Some(1),
                roles_claim: word(),
                admin_role: word(),
                user_role: word(),
                scopes_claim: word(),
            }),
            config: word(),
            database: Some(DatabaseSpec { kind: DatabaseKind::Postgres, secret_name: word() }),
            isolation: Isolation::SharedOperator,
            served_namespaces: Some(ServedNamespaces { match_labels: [("a".to_owned(), "b".to_owned())].into() }),
            deletion_policy: Some(DeletionPolicy::Drain),
            data_policy: Some(DataPolicy::Delete),
            drift_policy: Some(DriftPolicy::Report),
        }
    }

    /// The same keys on both sides, below every object whose keys the schema names.
    fn agree(value: &Value, schema: &Value, path: &str) {
        let (Some(value), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else { return };
        assert_eq!(
            value.keys().collect::<std::collections::BTreeSet<_>>(),
            properties.keys().collect::<std::collections::BTreeSet<_>>(),
            "{path}"
        );
        for (key, value) in value {
            agree(value, &properties[key], &format!("{path}.{key}"));
        }
    }

    #[test]
    fn schema_and_types_have_the_same_fields() {
        agree(&serde_json::to_value(full()).unwrap(), &spec(), "spec");
    }

    #[test]
    fn what_is_left_out_stays_left_out() {
        let spec: OpenShellGatewaySpec = serde_json::from_value(json!({})).unwrap();
        assert_eq!(serde_json::to_value(spec).unwrap(), json!({ "isolation": "PerTenant" }));
    }
}

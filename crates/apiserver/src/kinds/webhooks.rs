//! Webhook configurations, admission policies, and other kinds of the control plane itself.

use serde_json::json;

use super::at::At;
use super::rules::Rules;
use super::tables::cluster as tables;

pub(super) const WEBHOOKS: Rules = Rules {
    generation: true,
    default: |obj| {
        for webhook in obj.list_mut_at("/webhooks") {
            for (field, value) in [
                ("failurePolicy", json!("Fail")),
                ("matchPolicy", json!("Equivalent")),
                ("namespaceSelector", json!({})),
                ("objectSelector", json!({})),
                ("timeoutSeconds", json!(10)),
            ] {
                webhook.default_at(&format!("/{field}"), value);
            }
            webhook.default_at("/clientConfig/service/port", 443);
            for rule in webhook.list_mut_at("/rules") {
                rule.default_at("/scope", "*");
            }
        }
    },
    ..Rules::PLAIN
};

pub(super) const MUTATING: Rules = Rules {
    default: |obj| {
        (WEBHOOKS.default)(obj);
        for webhook in obj.list_mut_at("/webhooks") {
            webhook.default_at("/reinvocationPolicy", "Never");
        }
    },
    ..WEBHOOKS
};

pub(super) const POLICY: Rules = Rules {
    generation: true,
    default: |obj| {
        obj.default_at("/spec/failurePolicy", "Fail");
        obj.default_at("/spec/matchConstraints/matchPolicy", "Equivalent");
        for constraints in ["/spec/matchConstraints", "/spec/matchResources"] {
            for selector in ["namespaceSelector", "objectSelector"] {
                obj.default_at(&format!("{constraints}/{selector}"), json!({}));
            }
            obj.default_at(&format!("{constraints}/matchPolicy"), "Equivalent");
            for rule in obj.list_mut_at(&format!("{constraints}/resourceRules")) {
                rule.default_at("/scope", "*");
            }
        }
    },
    ..Rules::PLAIN
};

pub(super) const POLICY_BINDING: Rules = Rules {
    default: |obj| {
        for selector in ["namespaceSelector", "objectSelector"] {
            obj.default_at(&format!("/spec/matchResources/{selector}"), json!({}));
        }
        obj.default_at("/spec/matchResources/matchPolicy", "Equivalent");
    },
    ..POLICY
};

pub(super) const API_SERVICE: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec/service/port", 443);
        obj.default_at("/status", json!({}));
    },
    columns: || tables::columns(tables::API_SERVICE),
    cells: tables::api_service,
    ..Rules::PLAIN
};

pub(super) const DEFINITION: Rules = Rules {
    generation: true,
    columns: || tables::columns(tables::DEFINITION),
    cells: tables::definition,
    ..Rules::PLAIN
};

pub(super) const SIGNING_REQUEST: Rules = Rules {
    fields: &["spec.signerName"],
    unselectable: |field| format!("field label not supported: {field}"),
    default: |obj| obj.default_at("/status", json!({})),
    ..Rules::PLAIN
};

//! Alerts on the TLS profile, by the metrics of [`super::metrics`] and of the listeners. Pure.

use serde_json::{Value, json};

/// An alert: when it fires, and what it says.
struct Alert {
    name: &'static str,
    /// In Prometheus' language.
    expr: &'static str,
    /// How long it must hold.
    hold: &'static str,
    severity: &'static str,
    summary: &'static str,
    description: &'static str,
}

const ALERTS: [Alert; 7] = [
    Alert {
        name: "PaddockTLSProfileStale",
        expr: "max by (namespace, pod) (paddock_tls_profile_stale) == 1",
        hold: "10m",
        severity: "warning",
        summary: "A listener does not serve the TLS profile that was handed to it",
        description: "What is mounted is not what the operator says it wrote, or cannot be served; the last good profile goes on being served. \
                      /tlsz of the pod says why.",
    },
    Alert {
        name: "PaddockTLSProfileUnservable",
        expr: "min by (namespace, condition) (paddock_tls_profile_condition{condition=~\"ProfileHonored|ComponentsHonored\"}) == 0",
        hold: "5m",
        severity: "warning",
        summary: "A TLS profile that was asked for cannot be served",
        description: "The last good profile or the built-in one is served in its place. The condition {{ $labels.condition }} of the ServingPolicy \
                      says why; so does `paddock tls explain`.",
    },
    Alert {
        name: "PaddockTLSProfileInvalid",
        expr: "min by (namespace) (paddock_tls_profile_condition{condition=\"ProfileResolved\"}) == 0",
        hold: "5m",
        severity: "warning",
        summary: "What was asked for is no TLS profile",
        description: "The last good profile goes on being served. The condition ProfileResolved of the ServingPolicy says what is wrong.",
    },
    Alert {
        name: "PaddockTLSProfileSourceDown",
        expr: "min by (namespace, source) (paddock_tls_profile_source_up) == 0",
        hold: "1h",
        severity: "warning",
        summary: "The source of the TLS profile cannot be read",
        description: "The last good profile goes on being served; changes of {{ $labels.source }} are not seen.",
    },
    Alert {
        name: "PaddockTLSProfileNotServed",
        expr: "min by (namespace) (paddock_tls_profile_condition{condition=\"Verified\"}) == 0",
        hold: "10m",
        severity: "critical",
        summary: "Pods do not serve their TLS profile",
        description: "Handshakes showed something else than the profile allows, or nobody answers. The ServingPolicy's status names the pods.",
    },
    Alert {
        name: "PaddockTLSProfileStalled",
        expr: "max by (namespace) (paddock_tls_profile_condition{condition=\"Stalled\"}) == 1",
        hold: "10m",
        severity: "warning",
        summary: "A TLS profile does not reach every workload that follows it",
        description: "The condition Stalled of the ServingPolicy names the workloads and what stands in the way.",
    },
    Alert {
        name: "PaddockTLSClientsShutOut",
        expr: "min by (namespace) (paddock_tls_profile_condition{condition=\"ClientsServed\"}) == 0",
        hold: "5m",
        severity: "critical",
        summary: "The TLS profile shuts out Kubernetes' own clients",
        description: "Webhooks, probes and aggregated APIs that follow it cannot be reached. The condition ClientsServed of the ServingPolicy says whom.",
    },
];

/// The alerts as a `PrometheusRule` of the Prometheus operator.
pub fn alerts(namespace: &str) -> Value {
    let rule = |alert: &Alert| {
        json!({
            "alert": alert.name, "expr": alert.expr, "for": alert.hold,
            "labels": { "severity": alert.severity },
            "annotations": { "summary": alert.summary, "description": alert.description },
        })
    };
    let rules: Vec<Value> = ALERTS.iter().map(rule).collect();
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "paddock-tls-profile", "namespace": namespace,
            "labels": { paddock_api::labels::MANAGED_BY: paddock_api::labels::MANAGED_BY_PADDOCK },
        },
        "spec": { "groups": [{ "name": "paddock-tls-profile", "rules": rules }] },
    })
}

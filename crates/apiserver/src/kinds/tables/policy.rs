//! Disruption budgets, quotas, limits, priority and runtime classes, autoscalers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
pub(in super::super) use super::columns;
use super::{count, created, name};

pub(in super::super) const BUDGET: &str = "Name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age";
pub(in super::super) const QUOTA: &str = "Name|Request|Limit|Age";
pub(in super::super) const LIMITS: &str = "Name|Created At:date";
pub(in super::super) const PRIORITY: &str = "Name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy";
pub(in super::super) const RUNTIME: &str = "Name|Handler|Age";
pub(in super::super) const AUTOSCALER: &str = "Name|Reference|Targets|MinPods|MaxPods|Replicas:integer|Age";

pub(in super::super) fn budget(obj: &Value, now: Timestamp) -> Vec<Value> {
    let amount = |field: &str| match obj.at(field) {
        Value::Null => json!("N/A"),
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    };
    vec![
        name(obj),
        amount("/spec/minAvailable"),
        amount("/spec/maxUnavailable"),
        count(obj, "/status/disruptionsAllowed"),
        created(obj, now),
    ]
}

pub(in super::super) fn quota(obj: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for key in obj.map_at("/status/hard").into_iter().flatten().map(|(key, _)| key) {
        let amount =
            |what: &str| obj.at(&format!("/status/{what}")).get(key).and_then(Value::as_str).unwrap_or("0").to_owned();
        let text = format!("{key}: {}/{}", amount("used"), amount("hard"));
        if key.starts_with("limits") { limits.push(text) } else { requests.push(text) }
    }
    vec![name(obj), json!(requests.join(", ")), json!(limits.join(", ")), created(obj, now)]
}

pub(in super::super) fn limits(obj: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(obj), obj.at("/metadata/creationTimestamp").clone()]
}

pub(in super::super) fn priority(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(obj),
        count(obj, "/value"),
        json!(obj.true_at("/globalDefault")),
        created(obj, now),
        obj.at("/preemptionPolicy").clone(),
    ]
}

pub(in super::super) fn runtime(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), obj.at("/handler").clone(), created(obj, now)]
}

/// Cells of an autoscaler in its stored form, `autoscaling/v2`.
pub(in super::super) fn autoscaler(obj: &Value, now: Timestamp) -> Vec<Value> {
    let metrics = obj.list_at("/spec/metrics");
    let target = |(index, metric): (usize, &Value)| {
        let kind = metric.str_at("/type");
        let key = kind.chars().next().map(|c| c.to_ascii_lowercase().to_string() + &kind[1..]).unwrap_or_default();
        let current = obj.at(&format!("/status/currentMetrics/{index}/{key}/current"));
        let target = metric.at(&format!("/{key}/target"));
        let label = if kind == "Resource" { format!("{}: ", metric.str_at("/resource/name")) } else { String::new() };
        match target.int_at("/averageUtilization") {
            Some(wanted) => {
                let now = current.int_at("/averageUtilization").map_or("<unknown>".to_owned(), |n| format!("{n}%"));
                format!("{label}{now}/{wanted}%")
            }
            None => {
                let amount = |value: &Value| {
                    let text = value.str_at("/averageValue");
                    if text.is_empty() { value.str_at("/value").to_owned() } else { text.to_owned() }
                };
                let now = Some(amount(current)).filter(|text| !text.is_empty());
                format!("{label}{}/{}", now.as_deref().unwrap_or("<unknown>"), amount(target))
            }
        }
    };
    let mut targets: Vec<String> = metrics.iter().enumerate().map(target).collect();
    let more = targets.len().saturating_sub(2);
    targets.truncate(2);
    let mut text = targets.join(", ");
    if more > 0 {
        text.push_str(&format!(" + {more} more..."));
    }
    if text.is_empty() {
        text.push_str("<none>");
    }
    let least = obj.int_at("/spec/minReplicas").map_or("<unset>".to_owned(), |n| n.to_string());
    let [kind, target] = ["kind", "name"].map(|field| obj.str_at(&format!("/spec/scaleTargetRef/{field}")));
    vec![
        name(obj),
        json!(format!("{kind}/{target}")),
        json!(text),
        json!(least),
        count(obj, "/spec/maxReplicas"),
        count(obj, "/status/currentReplicas"),
        created(obj, now),
    ]
}

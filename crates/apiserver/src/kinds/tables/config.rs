//! ConfigMap, Secret and ServiceAccount.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
pub(in super::super) use super::columns;
use super::{created, entries, name};

pub(in super::super) const CONFIG_MAP: &str = "Name|Data|Age";
pub(in super::super) const SECRET: &str = "Name|Type|Data|Age";
pub(in super::super) const SERVICE_ACCOUNT: &str = "Name|Secrets|Age";

pub(in super::super) fn config_map(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), json!(entries(obj, "/data") + entries(obj, "/binaryData")), created(obj, now)]
}

pub(in super::super) fn secret(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), obj.at("/type").clone(), json!(entries(obj, "/data")), created(obj, now)]
}

pub(in super::super) fn service_account(obj: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(obj), json!(obj.list_at("/secrets").len()), created(obj, now)]
}

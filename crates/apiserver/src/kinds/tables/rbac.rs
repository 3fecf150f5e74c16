//! Roles and bindings.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::at::At;
use super::{created, joined, name};

pub(in super::super) const ROLE: &str = "Name|Created At:date";
pub(in super::super) const BINDING: &str = "Name|Role|Age|Users+|Groups+|ServiceAccounts+";

pub(in super::super) fn role(obj: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(obj), obj.at("/metadata/creationTimestamp").clone()]
}

pub(in super::super) fn binding(obj: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let of_kind = obj.list_at("/subjects").iter().filter(|s| s.str_at("/kind") == kind);
        let text = |s: &Value| match kind {
            "ServiceAccount" => format!("{}/{}", s.str_at("/namespace"), s.str_at("/name")),
            _ => s.str_at("/name").to_owned(),
        };
        let texts: Vec<String> = of_kind.map(text).collect();
        json!(joined(texts.iter().map(String::as_str)).replace(',', ", "))
    };
    vec![
        name(obj),
        json!(format!("{}/{}", obj.str_at("/roleRef/kind"), obj.str_at("/roleRef/name"))),
        created(obj, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

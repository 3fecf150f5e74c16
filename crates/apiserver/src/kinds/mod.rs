//! The built-in kinds: what is served, and each kind's defaults, validation and life-cycle rules. Pure: other objects are
//! seen through [`Cx::lookup`] only.
//!
//! One file per family; each gives a `Rules` per kind. `BuiltIn` is the `Strategy` over them: what kinds share (status
//! reset and isolation, dropping of empty fields) is here, once.

mod admission_policies;
mod admission_rules;
pub(crate) mod at;
mod autoscaler;
mod certificates;
pub(crate) mod checks;
mod cluster;
mod config;
mod cron;
mod endpoints;
mod events;
mod go_types;
mod job;
mod limits;
pub(crate) mod meta;
pub(crate) mod names;
mod networking;
pub(crate) mod pod;
mod policy;
mod quota;
mod rbac;
mod reported;
mod rules;
mod served;
mod service;
mod storage;
pub(crate) mod subresources;
pub(crate) mod tables;
mod tidy;
mod webhooks;
mod workloads;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::field::FieldError;
use crate::resource::{Column, CoreMetadata, Cx, NameRule, Part, Resource, ScalePaths, Strategy, Subresource};
use crate::schema::{self, Definitions, Schema, Typed};
use crate::status::Status;
pub(crate) use at::At;
use rules::Rules;

/// Every built-in resource.
pub fn resources() -> Vec<Resource> {
    served::SERVED.iter().map(resource).collect()
}

fn resource(row: &served::Served) -> Resource {
    let (definitions, schema) = schema::builtin(row.group, row.version, row.kind);
    let subresource = |(name, kind, verbs): &served::Sub| Subresource { name, kind: *kind, verbs };
    let rules = rules::of(row.group, row.version, row.kind);
    // Events of both groups are one stored resource, as both versions of an autoscaler are.
    let (storage, storage_version) = match (row.group, row.plural) {
        ("events.k8s.io", plural) => (format!("/{plural}"), "v1"),
        ("autoscaling", plural) => (format!("autoscaling/{plural}"), "autoscaling/v2"),
        (group, plural) => (format!("{group}/{plural}"), ""),
    };
    let mut resource = Resource {
        group: row.group.into(),
        version: row.version.into(),
        kind: row.kind.into(),
        list_kind: format!("{}List", row.kind).into(),
        plural: row.plural.into(),
        singular: row.kind.to_ascii_lowercase().into(),
        short_names: row.short.iter().map(|&name| name.into()).collect(),
        categories: row.categories.iter().map(|&name| name.into()).collect(),
        namespaced: row.namespaced,
        verbs: row.verbs,
        subresources: row.subresources.iter().map(subresource).collect(),
        storage: storage.into(),
        storage_version: storage_version.into(),
        definitions: definitions.clone(),
        schema: schema.clone(),
        strategy: Arc::new(BuiltIn {
            selectable: rules.fields.iter().map(|&field| field.to_owned()).collect(),
            has_status: row.subresources.iter().any(|(name, ..)| *name == "status"),
            has_scale: row.subresources.iter().any(|(name, ..)| *name == "scale"),
            rules,
            definitions,
            schema,
        }),
        custom: false,
    };
    if resource.storage_version.is_empty() {
        resource.storage_version = resource.api_version().into();
    }
    resource
}

/// A time as objects carry it: whole seconds, UTC.
fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The strategy of a built-in kind.
struct BuiltIn {
    rules: Rules,
    selectable: Vec<String>,
    has_status: bool,
    definitions: Arc<Definitions>,
    schema: Arc<Schema>,
    has_scale: bool,
}

impl Strategy for BuiltIn {
    fn scale_paths(&self) -> Option<ScalePaths> {
        self.has_scale.then(|| ScalePaths {
            spec: "/spec/replicas".to_owned(),
            status: "/status/replicas".to_owned(),
            selector: Some("/spec/selector".to_owned()),
        })
    }
    fn core_metadata(&self) -> Option<CoreMetadata> {
        self.rules.core_metadata
    }
    fn name_rule(&self) -> NameRule {
        self.rules.name
    }
    fn has_generation(&self) -> bool {
        self.rules.generation
    }
    fn create_on_update(&self) -> bool {
        self.rules.create_on_update
    }
    fn unconditional_update(&self) -> bool {
        self.rules.unconditional_update
    }
    fn default(&self, obj: &mut Value) {
        tidy::tidy(obj, Typed::new(&self.definitions, &self.schema));
        (self.rules.default)(obj);
    }
    fn prepare_create(&self, obj: &mut Value, cx: &Cx<'_>) -> Result<(), Status> {
        if self.has_status && !self.rules.keeps_status {
            obj.set_at("/status", json!({}));
        }
        (self.rules.prepare_create)(obj, cx)?;
        // A status that was reset gets its own defaults.
        (self.rules.default)(obj);
        Ok(())
    }
    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part, cx: &Cx<'_>) -> Result<(), Status> {
        if self.has_status {
            match part {
                Part::Main => replace(new, old, |key| key == "status"),
                Part::Status => replace(new, old, |key| !matches!(key, "status" | "metadata")),
                Part::Other(_) => {}
            }
        }
        (self.rules.prepare_update)(new, old, part, cx)
    }
    fn validate_create(&self, obj: &Value, cx: &Cx<'_>) -> Vec<FieldError> {
        (self.rules.validate_create)(obj, cx)
    }
    fn validate_update(&self, new: &Value, old: &Value, part: Part, cx: &Cx<'_>) -> Vec<FieldError> {
        (self.rules.validate_update)(new, old, part, cx)
    }
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        (self.rules.warnings)(new, old)
    }
    fn selectable_by_namespace(&self) -> bool {
        self.rules.namespace_field
    }
    fn selectable(&self) -> &[String] {
        &self.selectable
    }
    fn select(&self, obj: &Value, field: &str) -> String {
        (self.rules.select)(obj, field)
    }
    fn unselectable(&self, field: &str) -> String {
        (self.rules.unselectable)(field)
    }
    fn grace_period(&self, obj: &Value, asked: Option<i64>) -> Option<i64> {
        (self.rules.grace_period)(obj, asked)
    }
    fn columns(&self) -> Vec<Column> {
        (self.rules.columns)()
    }
    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        (self.rules.cells)(obj, now)
    }
    fn raw_field(&self) -> Option<&'static str> {
        self.rules.raw_field
    }
    fn served_from_storage(&self, obj: &mut Value) {
        (self.rules.served_from_storage)(obj);
    }
    fn to_storage(&self, obj: &mut Value) {
        (self.rules.to_storage)(obj);
    }
}

/// Takes the top-level fields that `which` names from `old`, absent ones included.
fn replace(new: &mut Value, old: &Value, which: impl Fn(&str) -> bool) {
    let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) else { return };
    new.retain(|key, _| !which(key));
    new.extend(old.iter().filter(|(key, _)| which(key)).map(|(key, value)| (key.clone(), value.clone())));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_resource_is_registered_once() {
        let all = resources();
        let unique: BTreeSet<_> = all.iter().map(|r| (r.api_version(), r.plural.clone())).collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn verbs_are_in_alphabetical_order() {
        for resource in resources() {
            let lists = resource.subresources.iter().map(|s| s.verbs).chain([resource.verbs]);
            assert!(lists.into_iter().all(<[_]>::is_sorted), "{}", resource.plural);
        }
    }

    #[test]
    fn events_of_both_groups_are_one_stored_resource() {
        let stored: BTreeSet<_> = resources().into_iter().filter(|r| &*r.kind == "Event").map(|r| r.storage).collect();
        assert_eq!(stored.len(), 1);
    }
}

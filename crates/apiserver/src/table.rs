//! `meta.k8s.io/v1` views of objects: Table, PartialObjectMetadata and PartialObjectMetadataList. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::Resource;

/// What a Table's rows carry of their objects (`?includeObject=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    /// Nothing.
    None,
    /// Metadata, as PartialObjectMetadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// The value of the query parameter; absent or empty is `Metadata`. `None` when it is no such value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// A Table of objects of one resource. `metadata` is a list's (or, for one object, its `resourceVersion`).
/// `headers` is false for the later events of a watch, which repeat no column definitions.
pub(crate) fn table<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: &Value,
    include: IncludeObject,
    headers: bool,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = objects.into_iter().map(|object| row(resource, object, include, now)).collect();
    let column = |c: crate::resource::Column| json!({ "name": c.name, "type": c.type_, "format": c.format, "description": c.description, "priority": c.priority });
    let columns = if headers { resource.strategy.columns().into_iter().map(column).collect() } else { Vec::new() };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows,
    })
}

/// The row of one object.
pub(crate) fn row(resource: &Resource, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let carried = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial_object_metadata(object),
        IncludeObject::Object => object.clone(),
    };
    json!({ "cells": resource.strategy.cells(object, now), "object": carried })
}

/// An object reduced to its metadata.
pub(crate) fn partial_object_metadata(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
}

/// Objects reduced to their metadata, with the list's own.
pub(crate) fn partial_object_metadata_list<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: &Value,
) -> Value {
    let items: Vec<Value> = objects.into_iter().map(partial_object_metadata).collect();
    json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items })
}

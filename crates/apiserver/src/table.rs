//! `meta.k8s.io/v1` views of objects: Table, PartialObjectMetadata and PartialObjectMetadataList. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::Resource;

/// What a Table's rows carry of their objects (`?includeObject=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
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
    pub fn parse(text: &str) -> Option<Self> {
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
pub fn table<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: &Value,
    include: IncludeObject,
    headers: bool,
    now: Timestamp,
) -> Value {
    let rows = objects.into_iter().map(|object| {
        let carried = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => partial_object_metadata(object),
            IncludeObject::Object => object.clone(),
        };
        json!({ "cells": resource.strategy.cells(object, now), "object": carried })
    });
    let rows: Vec<Value> = rows.collect();
    let column = |c: crate::resource::Column| json!({ "name": c.name, "type": c.type_, "format": c.format, "description": c.description, "priority": c.priority });
    let columns = if headers { resource.strategy.columns().into_iter().map(column).collect() } else { Vec::new() };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows,
    })
}

/// An object reduced to its metadata.
pub fn partial_object_metadata(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
}

/// Objects reduced to their metadata, with the list's own.
pub fn partial_object_metadata_list<'a>(objects: impl IntoIterator<Item = &'a Value>, metadata: &Value) -> Value {
    let items: Vec<Value> = objects.into_iter().map(partial_object_metadata).collect();
    json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items })
}

/// Time since an RFC 3339 time, as Tables print it; `<unknown>` when there is none.
pub fn age(since: &str, now: Timestamp) -> String {
    match since.parse::<Timestamp>() {
        Ok(since) => duration(now.duration_since(since).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Seconds from one RFC 3339 time to another.
pub fn seconds_between(start: &str, end: &str) -> Option<i64> {
    let (start, end) = (start.parse::<Timestamp>().ok()?, end.parse::<Timestamp>().ok()?);
    Some(end.duration_since(start).as_secs())
}

/// `duration.HumanDuration`: two units at most, the coarser the longer it is.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |coarse: i64, unit: &str, fine: i64, fine_unit: &str| match fine {
        0 => format!("{coarse}{unit}"),
        _ => format!("{coarse}{unit}{fine}{fine_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{days}d"),
        _ if hours < 24 * 365 * 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_get_coarser() {
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_160, "3h6m"),
            (8 * 3600, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (8 * 86_400, "8d"),
            (729 * 86_400, "729d"),
            (730 * 86_400, "2y"),
            (800 * 86_400, "2y70d"),
            (3000 * 86_400, "8y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn an_age_of_no_time_is_unknown() {
        assert_eq!(age("", Timestamp::UNIX_EPOCH), "<unknown>");
    }
}

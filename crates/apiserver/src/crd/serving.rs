//! What a definition says of how its objects are shown and found: the scale subresource, printer columns, selectable fields.
//! Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fieldpath;
use super::structural::{elements, text};
use crate::field::FieldError;
use crate::schema::report::{Path, Report};

/// Most selectable fields of one version.
const MAX_SELECTABLE: usize = 8;

/// A dot, and names with dots between them.
fn simple_path(given: &Value, path: &Path<'_>, report: &mut Report) -> bool {
    let right = given.as_str().is_some_and(|given| given.starts_with('.'));
    if !right {
        report.add(|| FieldError::invalid(path.to_string(), given, "must be a simple json path starting with ."));
    }
    right
}

/// The paths of the scale subresource.
pub(super) fn subresources(value: &Value, path: &Path<'_>, report: &mut Report) {
    let scale = &value["scale"];
    if !scale.is_object() {
        return;
    }
    let at = path.field("scale");
    for (key, required, roots, where_) in [
        ("specReplicasPath", true, &[".spec."][..], ".spec"),
        ("statusReplicasPath", true, &[".status."][..], ".status"),
        ("labelSelectorPath", false, &[".spec.", ".status."][..], "either .spec or .status"),
    ] {
        let (field, given) = (at.field(key), text(scale, key));
        if given.is_empty() {
            if required {
                report.add(|| FieldError::required(field.to_string(), ""));
            }
        } else if simple_path(&scale[key], &field, report) && !roots.iter().any(|root| given.starts_with(root)) {
            let why = format!("should be a json path under {where_}");
            report.add(|| FieldError::invalid(field.to_string(), &scale[key], &why));
        }
    }
}

/// Printer columns.
pub(super) fn columns(value: &Value, path: &Path<'_>, report: &mut Report) {
    const TYPES: &str = "boolean,date,integer,number,string";
    const FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
    let one_of = |all: &str, text: &str| all.split(',').any(|known| known == text);
    for (i, column) in value.as_array().into_iter().flatten().enumerate() {
        let at = path.index(i);
        if text(column, "name").is_empty() {
            report.add(|| FieldError::required(at.field("name").to_string(), ""));
        }
        let why = format!("must be one of {TYPES}");
        match text(column, "type") {
            "" => report.add(|| FieldError::required(at.field("type").to_string(), &why)),
            known if one_of(TYPES, known) => {}
            _ => report.add(|| FieldError::invalid(at.field("type").to_string(), &column["type"], &why)),
        }
        let format = text(column, "format");
        if !format.is_empty() && !one_of(FORMATS, format) {
            let why = format!("must be one of {FORMATS}");
            report.add(|| FieldError::invalid(at.field("format").to_string(), &column["format"], &why));
        }
        // kube-apiserver's internal type still spells the path's name as v1beta1 did.
        let field = at.field("JSONPath");
        if text(column, "jsonPath").is_empty() {
            report.add(|| FieldError::required(field.to_string(), ""));
        } else {
            simple_path(&column["jsonPath"], &field, report);
        }
    }
}

/// Selectable fields are scalars of the schema, each named once. `may_exceed`: their number is not looked at.
pub(super) fn selectable(version: &Value, may_exceed: bool, path: &Path<'_>, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (i, field) in elements(version, "selectableFields") {
        let (element, given) = (path.index(i), &field["jsonPath"]);
        let at = element.field("jsonPath");
        let mut invalid = |why: &str| report.add(|| FieldError::invalid(at.to_string(), given, why));
        let text = text(field, "jsonPath");
        if text.is_empty() {
            report.add(|| FieldError::required(at.to_string(), ""));
            continue;
        }
        let found = match fieldpath::follow(text, &version["schema"]["openAPIV3Schema"], false) {
            Ok(found) => found,
            Err(why) => {
                invalid(&format!("is an invalid path: {why}"));
                continue;
            }
        };
        if found.root == "metadata" {
            invalid("must not point to fields in metadata");
        }
        if !matches!(super::structural::text(found.schema, "type"), "string" | "boolean" | "integer") {
            invalid(
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are \
                 allowed.",
            );
        }
        if !seen.insert(found.printed) {
            report.add(|| FieldError::duplicate(at.to_string(), given));
        }
    }
    if seen.len() > MAX_SELECTABLE && !may_exceed {
        report.add(|| FieldError::too_many(path.to_string(), seen.len(), MAX_SELECTABLE));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(check: impl Fn(&Path<'_>, &mut Report)) -> Vec<String> {
        let mut report = Report::default();
        check(&Path::root("s"), &mut report);
        report.into_list().iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    #[test]
    fn scale_looks_into_spec_and_status() {
        let scale = |scale: Value| found(|path, report| subresources(&json!({"scale": scale}), path, report));
        assert_eq!(
            scale(json!({"specReplicasPath": ".status.x", "statusReplicasPath": "x"})),
            [
                r#"s.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under .spec"#,
                r#"s.scale.statusReplicasPath: Invalid value: "x": must be a simple json path starting with ."#,
            ]
        );
        assert_eq!(
            scale(json!({"specReplicasPath": ".spec.a", "statusReplicasPath": ".status.a", "labelSelectorPath": ".x"})),
            [r#"s.scale.labelSelectorPath: Invalid value: ".x": should be a json path under either .spec or .status"#]
        );
        assert_eq!(
            scale(json!({})),
            ["s.scale.specReplicasPath: Required value", "s.scale.statusReplicasPath: Required value"]
        );
    }

    #[test]
    fn a_column_has_a_name_a_type_and_a_path() {
        assert_eq!(
            found(|path, report| columns(&json!([{"format": "x", "type": "y"}]), path, report)),
            [
                "s[0].name: Required value",
                r#"s[0].type: Invalid value: "y": must be one of boolean,date,integer,number,string"#,
                r#"s[0].format: Invalid value: "x": must be one of byte,date,date-time,double,float,int32,int64,password"#,
                "s[0].JSONPath: Required value",
            ]
        );
    }

    #[test]
    fn selectable_fields_are_scalars_named_once() {
        let paths = |paths: &[&str]| {
            let fields: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path})).collect();
            let properties = json!({"a": {"type": "string"}, "o": {"type": "object"},
                "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}});
            let version =
                json!({"selectableFields": fields, "schema": {"openAPIV3Schema": {"properties": properties}}});
            found(|path, report| selectable(&version, false, path, report))
        };
        assert_eq!(paths(&[".a", ".a"]), [r#"s[1].jsonPath: Duplicate value: ".a""#]);
        assert_eq!(
            paths(&["a"]),
            [r#"s[0].jsonPath: Invalid value: "a": is an invalid path: expected [ or . but got: a"#]
        );
        assert_eq!(
            paths(&[".b"]),
            [r#"s[0].jsonPath: Invalid value: ".b": is an invalid path: does not refer to a valid field"#]
        );
        assert_eq!(
            paths(&[".metadata.name"]),
            [r#"s[0].jsonPath: Invalid value: ".metadata.name": must not point to fields in metadata"#]
        );
        assert!(paths(&[".o"])[0].contains("must point to a field of type string, boolean or integer."));
        assert_eq!(paths(&[""]), ["s[0].jsonPath: Required value"]);
    }
}

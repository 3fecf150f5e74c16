//! The difference of two objects as people read it: YAML, unified, with colours where they are wanted. Pure.

use paddock_controllers::gateways::ObjectChange;
use serde_json::Value;
use similar::TextDiff;

use crate::exit::Failure;

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// The unified difference.
pub(crate) fn unified(change: &ObjectChange) -> Result<String, Failure> {
    let name = match change.namespace.as_str() {
        "" => format!("{} {}", change.kind, change.name),
        namespace => format!("{} {namespace}/{}", change.kind, change.name),
    };
    let (before, after) = (yaml(&change.before)?, yaml(&change.after)?);
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = diff.unified_diff();
    unified.context_radius(CONTEXT).header(&format!("{name} (live)"), &format!("{name} (planned)"));
    Ok(unified.to_string())
}

fn yaml(object: &Value) -> Result<String, Failure> {
    if object.is_null() {
        return Ok(String::new());
    }
    serde_saphyr::to_string(object).map_err(|error| Failure::undetermined(format!("cannot write YAML: {error}")))
}

/// The same in colours: what goes in red, what comes in green, places in cyan.
pub(crate) fn coloured(diff: &str) -> String {
    let mut text = String::with_capacity(diff.len() * 2);
    for line in diff.lines() {
        let colour = match line.as_bytes() {
            [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => "1",
            [b'-', ..] => "31",
            [b'+', ..] => "32",
            [b'@', ..] => "36",
            _ => "",
        };
        match colour {
            "" => text.push_str(line),
            colour => text.push_str(&format!("\x1b[{colour}m{line}\x1b[0m")),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use paddock_controllers::gateways::Action;
    use serde_json::json;

    use super::*;

    fn change(before: Value, after: Value) -> ObjectChange {
        let (kind, namespace, name) = ("ConfigMap".to_owned(), "n".to_owned(), "a".to_owned());
        ObjectChange { action: Action::Change, kind, namespace, name, before, after }
    }

    #[test]
    fn gw_w21_only_changed_lines_and_their_context_are_shown() {
        let with = |level: &str| json!({ "data": { "gateway.toml": format!("[a]\nlevel = \"{level}\"\nb = 1\n") }, "kind": "ConfigMap" });
        let text = unified(&change(with("info"), with("debug"))).unwrap();
        assert!(text.starts_with("--- ConfigMap n/a (live)\n+++ ConfigMap n/a (planned)\n@@ "), "{text}");
        assert!(text.contains("-    level = \"info\"\n") && text.contains("+    level = \"debug\"\n"), "{text}");
    }

    #[test]
    fn a_new_object_is_all_additions() {
        let text = unified(&change(Value::Null, json!({ "kind": "ConfigMap" }))).unwrap();
        assert!(text.ends_with("+kind: ConfigMap\n"), "{text}");
    }

    #[test]
    fn colours_follow_the_first_character() {
        assert_eq!(coloured("-a\n+b\n c\n"), "\x1b[31m-a\x1b[0m\n\x1b[32m+b\x1b[0m\n c\n");
    }
}

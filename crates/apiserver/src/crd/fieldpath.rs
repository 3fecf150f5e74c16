//! Paths into a schema, as `fieldPath` of CEL rules and `selectableFields` write them: `.spec.list['a.b']`. Pure.

use serde_json::Value;

/// A path that leads somewhere.
pub(super) struct FieldPath<'a> {
    /// As Kubernetes prints it: `spec.map[key].name`.
    pub(super) printed: String,
    /// The first field; nothing for the empty path.
    pub(super) root: String,
    /// The schema that it leads to.
    pub(super) schema: &'a Value,
}

/// Follows a path through fields and maps.
///
/// # Errors
/// kube-apiserver's text for what is wrong with it.
pub(super) fn follow<'a>(path: &str, schema: &'a Value, subscripts: bool) -> Result<FieldPath<'a>, String> {
    let mut found = FieldPath { printed: String::new(), root: String::new(), schema };
    let mut rest = path;
    while !rest.is_empty() {
        let name = match token(&mut rest) {
            "[" => {
                if !subscripts {
                    return Err("array notation is not allowed".to_owned());
                }
                let text = token(&mut rest);
                let quoted =
                    text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).filter(|_| text.len() > 1);
                let Some(quoted) = quoted else {
                    return Err(if text.is_empty() {
                        "unexpected end of JSON path".to_owned()
                    } else {
                        format!("expected single quoted string but got {text}")
                    });
                };
                let name = unescape(quoted).map_err(|why| format!("invalid string literal: {why}"))?;
                found.step(&name)?;
                match token(&mut rest) {
                    "]" => continue,
                    "" => return Err("unexpected end of JSON path".to_owned()),
                    other => return Err(format!("expected ] but got {other}")),
                }
            }
            "." => token(&mut rest),
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        if name.is_empty() {
            return Err("unexpected end of JSON path".to_owned());
        }
        found.step(name)?;
    }
    Ok(found)
}

impl FieldPath<'_> {
    fn step(&mut self, name: &str) -> Result<(), String> {
        let unknown = || "does not refer to a valid field".to_owned();
        if self.schema["properties"].as_object().is_some_and(|properties| !properties.is_empty()) {
            self.schema = self.schema["properties"].get(name).ok_or_else(unknown)?;
            if !self.printed.is_empty() {
                self.printed.push('.');
            }
            self.printed.push_str(name);
            if self.root.is_empty() {
                name.clone_into(&mut self.root);
            }
        } else if self.schema["additionalProperties"].is_object() {
            self.schema = &self.schema["additionalProperties"];
            self.printed.push_str(&format!("[{name}]"));
        } else {
            return Err(unknown());
        }
        Ok(())
    }
}

/// Takes the next token: a delimiter, a quoted text, or the text up to the next delimiter.
fn token<'a>(rest: &mut &'a str) -> &'a str {
    let text = *rest;
    let end = if text.starts_with('\'') {
        let mut escaped = false;
        let close = text.char_indices().skip(1).find(|&(_, c)| {
            let closes = c == '\'' && !escaped;
            escaped = c == '\\';
            closes
        });
        close.map_or(text.len(), |(at, _)| at + 1)
    } else {
        match text.find(['.', '[', ']']) {
            Some(0) => 1,
            Some(at) => at,
            None => text.len(),
        }
    };
    let (token, left) = text.split_at(end);
    *rest = left;
    token
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(directive) = chars.next() else {
            out.push('\\');
            break;
        };
        out.push(match directive {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\'' => '\'',
            '\\' => '\\',
            other => return Err(format!("invalid escape char \\{other}")),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_through_fields_and_maps() {
        let schema = json!({"properties": {"a": {"properties": {"b.c": {"type": "string"}}},
                                           "m": {"additionalProperties": {"type": "integer"}}}});
        for (path, expected) in [
            (".a['b.c']", Ok("a.b.c")),
            (".m.key", Ok("m[key]")),
            (".m['it\\'s']", Ok("m[it's]")),
            ("", Ok("")),
            (".", Err("unexpected end of JSON path")),
            ("a", Err("expected [ or . but got: a")),
            (".nope", Err("does not refer to a valid field")),
            (".a.b.c", Err("does not refer to a valid field")),
            (".a[b]", Err("expected single quoted string but got b")),
            (".a['b.c'", Err("unexpected end of JSON path")),
            (".a['\\x']", Err("invalid string literal: invalid escape char \\x")),
        ] {
            let found = follow(path, &schema, true).map(|found| found.printed);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{path}");
        }
    }

    #[test]
    fn subscripts_can_be_forbidden() {
        let error = follow(".a['b']", &json!({"properties": {"a": {}}}), false).err();
        assert_eq!(error.as_deref(), Some("array notation is not allowed"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(path in "[.\\[\\]'\\\\a-cé]{0,20}") {
            let _ = follow(&path, &json!({"properties": {"a": {"additionalProperties": {}}}}), true);
        }
    }
}

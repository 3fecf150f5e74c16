//! cel-go's functions of strings (version 2, as Kubernetes switches it on): positions count letters, not octets.

use super::{go, string_format};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Library, Overload};
use crate::types::Type;
use crate::value::{Arguments, Value};

pub(super) fn library() -> Library {
    let text = || Type::String;
    let texts = || Type::list(Type::String);
    Library {
        functions: vec![
            Function::new(
                "charAt",
                vec![Overload::member("string_char_at_int", vec![text(), Type::Int], text(), char_at)],
            ),
            Function::new(
                "indexOf",
                vec![
                    Overload::member("string_index_of_string", vec![text(), text()], Type::Int, index_of),
                    Overload::member(
                        "string_index_of_string_int",
                        vec![text(), text(), Type::Int],
                        Type::Int,
                        index_of,
                    ),
                ],
            ),
            Function::new(
                "lastIndexOf",
                vec![
                    Overload::member("string_last_index_of_string", vec![text(), text()], Type::Int, last_index_of),
                    Overload::member(
                        "string_last_index_of_string_int",
                        vec![text(), text(), Type::Int],
                        Type::Int,
                        last_index_of,
                    ),
                ],
            ),
            Function::new(
                "lowerAscii",
                vec![Overload::member("string_lower_ascii", vec![text()], text(), lower_ascii)],
            ),
            Function::new(
                "upperAscii",
                vec![Overload::member("string_upper_ascii", vec![text()], text(), upper_ascii)],
            ),
            Function::new("trim", vec![Overload::member("string_trim", vec![text()], text(), trim)]),
            Function::new(
                "replace",
                vec![
                    Overload::member("string_replace_string_string", vec![text(), text(), text()], text(), replace),
                    Overload::member(
                        "string_replace_string_string_int",
                        vec![text(), text(), text(), Type::Int],
                        text(),
                        replace,
                    ),
                ],
            ),
            Function::new(
                "split",
                vec![
                    Overload::member("string_split_string", vec![text(), text()], texts(), split),
                    Overload::member("string_split_string_int", vec![text(), text(), Type::Int], texts(), split),
                ],
            ),
            Function::new(
                "substring",
                vec![
                    Overload::member("string_substring_int", vec![text(), Type::Int], text(), substring),
                    Overload::member("string_substring_int_int", vec![text(), Type::Int, Type::Int], text(), substring),
                ],
            ),
            Function::new(
                "join",
                vec![
                    Overload::member("list_join", vec![texts()], text(), join),
                    Overload::member("list_join_string", vec![texts(), text()], text(), join),
                ],
            ),
            Function::new(
                "format",
                vec![Overload::member(
                    "string_format",
                    vec![text(), Type::list(Type::Dyn)],
                    text(),
                    string_format::format,
                )],
            ),
            Function::new("strings.quote", vec![Overload::global("strings_quote", vec![text()], text(), quote)]),
        ],
        ..Library::default()
    }
}

/// A list of texts.
pub(super) fn text_list<'a>(
    budget: &mut Budget,
    texts: impl Iterator<Item = impl AsRef<str>> + Clone,
) -> Result<Value<'a>, EvalError> {
    let (count, letters) =
        texts.clone().fold((0_usize, 0_usize), |(count, letters), text| (count + 1, letters + text.as_ref().len()));
    // Each shared text has two counters before its letters.
    budget.allocate(count.saturating_mul(size_of::<Value<'_>>() + 16).saturating_add(letters))?;
    Ok(Value::list(texts.map(|text| Value::from(text.as_ref().to_owned())).collect()))
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

/// The offset in octets of the letter at `index`; that of the end for the index after the last letter.
fn offset(text: &str, index: i64) -> Result<usize, EvalError> {
    let position = usize::try_from(index).map_err(|_| out_of_range(index))?;
    if text.is_ascii() {
        return if position <= text.len() { Ok(position) } else { Err(out_of_range(index)) };
    }
    text.char_indices()
        .map(|(offset, _)| offset)
        .chain(std::iter::once(text.len()))
        .nth(position)
        .ok_or_else(|| out_of_range(index))
}

fn char_at<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, index) = (args.text(0)?, args.int(1)?);
    let (_, rest) = text.split_at(offset(text, index)?);
    Ok(Value::from(rest.chars().next().map(String::from).unwrap_or_default()))
}

/// How many letters come before the offset.
fn position(text: &str, offset: usize) -> i64 {
    text.char_indices().take_while(|(at, _)| *at < offset).count() as i64
}

fn index_of<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, searched) = (args.text(0)?, args.text(1)?);
    let from = if args.len() > 2 { args.int(2)? } else { 0 };
    if searched.is_empty() {
        return Ok(Value::Int(from));
    }
    // As in cel-go, there is no position in an empty string, and none after the last letter.
    let start = offset(text, from)?;
    if start == text.len() {
        return Err(out_of_range(from));
    }
    let (_, rest) = text.split_at(start);
    Ok(Value::Int(rest.find(searched).map_or(-1, |found| position(text, start + found))))
}

fn last_index_of<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, searched) = (args.text(0)?, args.text(1)?);
    let length = text.chars().count() as i64;
    let explicit = args.len() > 2;
    if searched.is_empty() {
        return Ok(Value::Int(if explicit { args.int(2)? } else { length }));
    }
    let from = if explicit { args.int(2)? } else { length - 1 };
    if from < 0 || from >= length {
        return Err(out_of_range(from));
    }
    // The match may start at `from`, so it ends at most so many letters later.
    let end = from.saturating_add(searched.chars().count() as i64).min(length);
    let (searchable, _) = text.split_at(offset(text, end)?);
    Ok(Value::Int(searchable.rfind(searched).map_or(-1, |found| position(text, found))))
}

fn lower_ascii<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    budget.allocate(args.text(0)?.len())?;
    Ok(Value::from(args.text(0)?.to_ascii_lowercase()))
}

fn upper_ascii<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    budget.allocate(args.text(0)?.len())?;
    Ok(Value::from(args.text(0)?.to_ascii_uppercase()))
}

fn trim<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    budget.allocate(args.text(0)?.len())?;
    Ok(Value::from(args.text(0)?.trim().to_owned()))
}

fn replace<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, old, new) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let limit = if args.len() > 3 { args.int(3)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = text.matches(old).take(limit).count();
    budget.allocate(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(Value::from(text.replacen(old, new, count)))
}

fn split<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, separator) = (args.text(0)?, args.text(1)?);
    let limit = if args.len() > 2 { args.int(2)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if !separator.is_empty() {
        return text_list(budget, text.splitn(limit, separator));
    }
    // Into letters; the last part has all that the limit leaves.
    let letters = text.char_indices().map(|(at, letter)| (at, letter.len_utf8()));
    let last = limit.min(text.chars().count()).checked_sub(1);
    text_list(
        budget,
        letters.take(limit).enumerate().filter_map(move |(index, (at, length))| {
            let end = if Some(index) == last { text.len() } else { at + length };
            text.get(at..end)
        }),
    )
}

fn substring<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (text, start) = (args.text(0)?, args.int(1)?);
    if args.len() > 2 && start > args.int(2)? {
        let end = args.int(2)?;
        return Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = offset(text, start)?;
    let to = if args.len() > 2 { offset(text, args.int(2)?)? } else { text.len() };
    budget.allocate(to - from)?;
    Ok(Value::from(text.get(from..to).unwrap_or_default().to_owned()))
}

fn join<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let list = args.list(0)?;
    let separator = if args.len() > 1 { args.text(1)? } else { "" };
    let mut joined = String::new();
    for (index, element) in list.iter().enumerate() {
        let Value::String(text) = element? else { return Err(EvalError::no_such_overload()) };
        let separator = if index > 0 { separator } else { "" };
        budget.allocate(separator.len() + text.len())?;
        joined.push_str(separator);
        joined.push_str(&text);
    }
    Ok(Value::from(joined))
}

fn quote<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let text = args.text(0)?;
    budget.allocate(text.len().saturating_mul(2))?;
    let quoted = go::quoted(text, |letter, quoted| quoted.push(letter));
    Ok(Value::from(quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls a member function by its name with JSON arguments, receiver first; the result as JSON, or the error's text.
    fn call(name: &str, args: serde_json::Value) -> Result<serde_json::Value, String> {
        let values: Vec<Value<'_>> = args.as_array().unwrap().iter().map(Value::from).collect();
        let library = library();
        let function = library.functions.iter().find(|function| function.name == name).unwrap();
        let overload = function.overloads.iter().find(|overload| overload.args.len() == values.len()).unwrap();
        let result = (overload.call)(&mut Budget::default(), &values);
        result.map(|value| value.to_json().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn functions_count_letters() {
        use serde_json::json;
        for (name, args, result) in [
            ("charAt", json!(["tacocat", 3]), json!("o")),
            ("charAt", json!(["tacocat", 7]), json!("")),
            ("charAt", json!(["©αT", 1]), json!("α")),
            ("indexOf", json!(["tacocat", ""]), json!(0)),
            ("indexOf", json!(["tacocat", "ac"]), json!(1)),
            ("indexOf", json!(["tacocat", "none"]), json!(-1)),
            ("indexOf", json!(["tacocat", "", 3]), json!(3)),
            ("indexOf", json!(["tacocat", "a", 3]), json!(5)),
            ("indexOf", json!(["ta©o©αT", "©α"]), json!(4)),
            ("indexOf", json!(["ta©o©αT", "©", 3]), json!(4)),
            ("lastIndexOf", json!(["tacocat", ""]), json!(7)),
            ("lastIndexOf", json!(["tacocat", "at"]), json!(5)),
            ("lastIndexOf", json!(["tacocat", "none"]), json!(-1)),
            ("lastIndexOf", json!(["tacocat", "", 3]), json!(3)),
            ("lastIndexOf", json!(["tacocat", "a", 3]), json!(1)),
            ("lastIndexOf", json!(["tacocat", "a", 5]), json!(5)),
            ("lastIndexOf", json!(["ta©o©αT", "©"]), json!(4)),
            ("lastIndexOf", json!(["ta©o©αT", "©", 3]), json!(2)),
            ("substring", json!(["tacocat", 4]), json!("cat")),
            ("substring", json!(["tacocat", 7]), json!("")),
            ("substring", json!(["tacocat", 0, 4]), json!("taco")),
            ("substring", json!(["ta©o©αT", 2, 6]), json!("©o©α")),
            ("lowerAscii", json!(["TacoCÆt"]), json!("tacocÆt")),
            ("upperAscii", json!(["tacocæt"]), json!("TACOCæT")),
            ("trim", json!([" \u{85}\u{2000}\ttext\u{180e}\n "]), json!("text\u{180e}")),
            ("join", json!([["x", " ", "y"]]), json!("x y")),
            ("join", json!([["x", "y"], "-"]), json!("x-y")),
            ("join", json!([[], "-"]), json!("")),
            ("strings.quote", json!(["a \"b\"\n\\"]), json!("\"a \\\"b\\\"\\n\\\\\"")),
        ] {
            assert_eq!(call(name, args.clone()), Ok(result), "{name} {args}");
        }
    }

    #[test]
    fn replacements_and_splits_follow_go() {
        use serde_json::json;
        for (name, args, result) in [
            ("replace", json!(["12 days 12 hours", "{0}", "2"]), json!("12 days 12 hours")),
            ("replace", json!(["{0} days {0} hours", "{0}", "2"]), json!("2 days 2 hours")),
            ("replace", json!(["{0} days {0} hours", "{0}", "2", 1]), json!("2 days {0} hours")),
            ("replace", json!(["aa", "a", "b", 0]), json!("aa")),
            ("replace", json!(["aa", "a", "b", -1]), json!("bb")),
            ("replace", json!(["aé", "", "-"]), json!("-a-é-")),
            ("replace", json!(["ab", "", "-", 2]), json!("-a-b")),
            ("split", json!(["hello world", " "]), json!(["hello", "world"])),
            ("split", json!(["hello world", ""]), json!(["h", "e", "l", "l", "o", " ", "w", "o", "r", "l", "d"])),
            ("split", json!(["hello world events!", " ", 0]), json!([])),
            ("split", json!(["hello world events!", " ", 1]), json!(["hello world events!"])),
            ("split", json!(["hello world events!", " ", 2]), json!(["hello", "world events!"])),
            ("split", json!(["hello world", " ", -1]), json!(["hello", "world"])),
            ("split", json!(["hét", "", 2]), json!(["h", "ét"])),
            ("split", json!(["hé", "", 5]), json!(["h", "é"])),
            ("split", json!(["", ""]), json!([])),
            ("split", json!(["", ","]), json!([""])),
        ] {
            assert_eq!(call(name, args.clone()), Ok(result), "{name} {args}");
        }
    }

    #[test]
    fn positions_outside_are_errors() {
        use serde_json::json;
        for (name, args, error) in [
            ("charAt", json!(["tacocat", 8]), "index out of range: 8"),
            ("charAt", json!(["tacocat", -1]), "index out of range: -1"),
            ("indexOf", json!(["tacocat", "a", 30]), "index out of range: 30"),
            ("indexOf", json!(["tacocat", "a", 7]), "index out of range: 7"),
            ("indexOf", json!(["", "a"]), "index out of range: 0"),
            ("lastIndexOf", json!(["", "a"]), "index out of range: -1"),
            ("lastIndexOf", json!(["tacocat", "a", -1]), "index out of range: -1"),
            ("lastIndexOf", json!(["tacocat", "a", 7]), "index out of range: 7"),
            ("substring", json!(["tacocat", 40]), "index out of range: 40"),
            ("substring", json!(["tacocat", -1]), "index out of range: -1"),
            ("substring", json!(["tacocat", 1, 50]), "index out of range: 50"),
            ("substring", json!(["tacocat", 49, 1]), "invalid substring range. start: 49, end: 1"),
        ] {
            assert_eq!(call(name, args.clone()), Err(error.to_owned()), "{name} {args}");
        }
    }

    #[test]
    fn a_replacement_beyond_the_memory_is_refused() {
        let long = "a".repeat(100_000);
        let args = serde_json::json!([long, "a", long]);
        assert_eq!(call("replace", args), Err("operation cancelled: actual cost limit exceeded".to_owned()));
    }
}

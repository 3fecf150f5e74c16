//! What fields the messages have: `schemas/protobuf.txt.gz` (see `examples/generate_protobuf.rs`), held compressed in the
//! binary and read on first use.
//!
//! A line is `MESSAGE: NUMBER NAME TYPE, …`. `[]` before a type: repeated, `{}`: a map from text, `<`: a message whose fields
//! are the parent's in JSON. `?` after it: absent when empty or zero.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::LazyLock;

static PACKED: &[u8] = include_bytes!("../../schemas/protobuf.txt.gz");

/// All messages.
pub(super) static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(PACKED).read_to_string(&mut text);
    debug_assert!(read.is_ok(), "the generated table is damaged");
    Messages::parse(&text)
});

/// A message in [`MESSAGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Integer,
    Boolean,
    Double,
    Bytes,
    /// To the second.
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON in bytes.
    Raw,
    /// A list of texts in a message.
    Texts,
    Message(Id),
    /// A message or a list of it.
    OrArray(Id),
    /// A message or a boolean.
    OrBoolean(Id),
    /// A message or a list of texts.
    OrTexts(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Single,
    /// Absent when empty or zero: Go holds a value, which is always sent.
    OmitEmpty,
    Repeated,
    Map,
    /// Its fields are the parent's.
    Inline,
}

#[derive(Debug)]
pub(super) struct Field {
    number: u32,
    pub(super) name: Box<str>,
    pub(super) of: Type,
    pub(super) place: Place,
}

/// Messages by name and their fields.
pub(super) struct Messages {
    ids: HashMap<Box<str>, Id>,
    fields: Vec<Vec<Field>>,
}

impl Messages {
    fn parse(text: &str) -> Self {
        let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(':')).collect();
        let ids = lines.iter().enumerate().map(|(i, (name, _))| ((*name).into(), Id(i))).collect();
        let fields =
            lines.iter().map(|(_, fields)| fields.split(", ").filter_map(|f| field(f, &ids)).collect()).collect();
        Self { ids, fields }
    }

    /// The message of a definition in the OpenAPI document (`io.k8s.api.core.v1.Pod`).
    pub(super) fn of_definition(&self, name: &str) -> Option<Id> {
        self.ids.get(name.strip_prefix("io.k8s.")?).copied()
    }

    /// The field with a number; a later release's has none.
    pub(super) fn field(&self, message: Id, number: u32) -> Option<&Field> {
        self.fields.get(message.0)?.iter().find(|field| field.number == number)
    }
}

fn field(text: &str, ids: &HashMap<Box<str>, Id>) -> Option<Field> {
    let mut words = text.split_whitespace();
    let (number, name, of) = (words.next()?.parse().ok()?, words.next()?.into(), words.next()?);
    let (of, place) = if let Some(of) = of.strip_prefix("[]") {
        (of, Place::Repeated)
    } else if let Some(of) = of.strip_prefix("{}") {
        (of, Place::Map)
    } else if let Some(of) = of.strip_prefix('<') {
        (of, Place::Inline)
    } else if let Some(of) = of.strip_suffix('?') {
        (of, Place::OmitEmpty)
    } else {
        (of, Place::Single)
    };
    let id = |name: &str| ids.get(name).copied();
    let of = match of {
        "string" => Type::Text,
        "int" => Type::Integer,
        "bool" => Type::Boolean,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrString,
        "raw" => Type::Raw,
        "strings" => Type::Texts,
        of => match of.split_once(':') {
            None => Type::Message(id(of)?),
            Some(("OrArray", of)) => Type::OrArray(id(of)?),
            Some(("OrBool", of)) => Type::OrBoolean(id(of)?),
            Some(("OrStrings", of)) => Type::OrTexts(id(of)?),
            Some(_) => return None,
        },
    };
    Some(Field { number, name, of, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_table_is_understood() {
        let mut text = String::new();
        flate2::read::GzDecoder::new(PACKED).read_to_string(&mut text).unwrap();
        let messages = &*MESSAGES;
        for line in text.lines() {
            let (name, fields) = line.split_once(':').unwrap();
            let Id(at) = messages.ids[name];
            assert_eq!(
                messages.fields[at].len(),
                fields.split(", ").filter(|f| !f.trim().is_empty()).count(),
                "{name}"
            );
        }
    }
}

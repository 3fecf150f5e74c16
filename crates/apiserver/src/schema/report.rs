//! Paths of fields and the errors about them. Pure.
//!
//! A path is a chain on the stack and becomes text only in an error: schemas and objects come from strangers, and writing a
//! path out at every node would cost the square of a long key.

use std::fmt;

use crate::field::FieldError;

/// Most errors that one answer reports.
const MAX_ERRORS: usize = 1000;
/// Most bytes of paths and messages of all errors together.
const MAX_BYTES: usize = 1 << 20;

/// One step of a path.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// Where a path begins: what lies above is text already.
    Root(&'a str),
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

/// Where a value lies, printed as Kubernetes prints it: `spec.containers[0].env[key]`.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

impl<'a> Path<'a> {
    /// The beginning: an empty text, or the path of what holds everything below.
    pub(crate) const fn root(above: &'a str) -> Self {
        Self { parent: None, step: Step::Root(above) }
    }
    /// `.name`
    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }
    /// `[name]`: an entry of a map.
    pub(crate) fn key(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(name) }
    }
    /// `[3]`: an element of a list.
    pub(crate) fn index(&'a self, at: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(at) }
    }
    /// Nothing lies above and no step was made.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.step, Step::Root(""))
    }
    /// The path in an error: that of no field at all is Go's `<nil>`.
    pub(crate) fn or_nil(&self) -> String {
        if self.is_empty() { "<nil>".to_owned() } else { self.to_string() }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As deep as the value, whose reader bounds nesting.
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root(text) => f.write_str(text),
            Step::Field(name) if self.parent.is_none_or(Self::is_empty) => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Key(name) => write!(f, "[{name}]"),
            Step::Index(at) => write!(f, "[{at}]"),
        }
    }
}

/// What is left of the bounds on errors.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    errors: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { errors: MAX_ERRORS, bytes: MAX_BYTES }
    }
}

impl Room {
    /// Takes the error when there is room for it; it is not even made when there is none.
    pub(crate) fn take(&mut self, error: impl FnOnce() -> FieldError) -> Option<FieldError> {
        if self.errors == 0 || self.bytes == 0 {
            return None;
        }
        let error = error();
        self.errors -= 1;
        self.bytes = self.bytes.saturating_sub(error.field.len() + error.message.len());
        Some(error)
    }
}

/// Errors in the order that they were found, bounded in number and size: the first that do not fit are left out, and so are
/// all that follow.
#[derive(Default)]
pub(crate) struct Report {
    list: Vec<FieldError>,
    room: Room,
}

impl Report {
    /// Adds an error.
    pub(crate) fn add(&mut self, error: impl FnOnce() -> FieldError) {
        self.list.extend(self.room.take(error));
    }
    /// Adds errors of another report.
    pub(crate) fn extend(&mut self, errors: Vec<FieldError>) {
        for error in errors {
            self.add(|| error);
        }
    }
    /// No error was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// How many errors were found.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
    /// The errors.
    pub(crate) fn into_list(self) -> Vec<FieldError> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_kubernetes_prints_it() {
        let root = Path::root("");
        assert_eq!(root.or_nil(), "<nil>");
        let (spec, below) = (root.field("spec"), Path::root("spec.x"));
        let list = spec.field("list");
        let item = list.index(2);
        assert_eq!(item.key("a.b").field("c").to_string(), "spec.list[2][a.b].c");
        assert_eq!(below.field("y").to_string(), "spec.x.y");
    }

    #[test]
    fn errors_are_bounded_in_number_and_size() {
        let mut report = Report::default();
        for _ in 0..2000 {
            report.add(|| FieldError::required("a", ""));
        }
        assert_eq!(report.len(), MAX_ERRORS);
        let mut report = Report::default();
        for _ in 0..10 {
            report.add(|| FieldError::required("a".repeat(MAX_BYTES / 2), ""));
        }
        assert_eq!(report.len(), 2);
    }
}

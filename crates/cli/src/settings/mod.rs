//! Configuration is one typed table.
//!
//! | module | what it is for |
//! |---|---|
//! | [`table`] | the rows: every flag and environment variable of every command |
//! | [`value`] | the types that a row can have: how they are written and read |
//! | [`effective`] | flag > environment > default, and where each value came from |
//! | [`mod@reference`] | the reference page, written from the table |
//!
//! Pure but for [`Effective::resolve`], which is handed the environment.

pub(crate) mod effective;
pub(crate) mod reference;
pub(crate) mod table;
pub(crate) mod value;

pub(crate) use effective::Effective;
pub(crate) use value::{LogFormat, OptionalAddr};

use std::marker::PhantomData;

use value::Value;

/// One row of the table, without its type.
#[derive(Debug)]
pub(crate) struct Row {
    /// The long flag without dashes; empty for a row that only the environment sets.
    pub(crate) flag: &'static str,
    /// Environment variables, the first that is set wins.
    pub(crate) env: &'static [&'static str],
    /// What stands in for the value in help texts.
    pub(crate) value_name: &'static str,
    pub(crate) default: Default,
    /// One sentence, without a full stop.
    pub(crate) help: &'static str,
    /// The commands that have this row.
    pub(crate) commands: &'static [&'static str],
    pub(crate) type_name: &'static str,
    pub(crate) is_switch: bool,
    /// Whether a text is a value of this row's type; if not, what it should have been.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

impl Row {
    /// How a person calls this row: `--flag`, or the variable.
    pub(crate) fn title(&self) -> String {
        match (self.flag, self.env) {
            ("", [first, ..]) => (*first).to_owned(),
            (flag, _) => format!("--{flag}"),
        }
    }
}

/// What a row is when neither flag nor environment sets it.
#[derive(Debug)]
pub(crate) enum Default {
    /// This value.
    Is(&'static str),
    /// Nothing; the text says what that means.
    Absent(&'static str),
}

/// A row and the type of its value.
#[derive(Debug)]
pub(crate) struct Setting<T> {
    pub(crate) row: Row,
    of: PhantomData<fn() -> T>,
}

impl<T: Value> Setting<T> {
    pub(crate) const fn new(
        flag: &'static str,
        env: &'static [&'static str],
        value_name: &'static str,
        default: Default,
        help: &'static str,
        commands: &'static [&'static str],
    ) -> Self {
        let check = check::<T>;
        let row =
            Row { flag, env, value_name, default, help, commands, type_name: T::TYPE, is_switch: T::IS_SWITCH, check };
        Self { row, of: PhantomData }
    }
}

fn check<T: Value>(text: &str) -> Result<(), String> {
    T::read(text).map(drop)
}

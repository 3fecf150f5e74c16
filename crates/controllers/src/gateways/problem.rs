//! What is wrong with `platform-config`, in a form that a person can act on. Touches nothing.

use std::fmt;

/// A place in a text: line and column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The place of a byte offset in `text`; offsets behind the end are the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One thing that is wrong with the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The entry: the tenant's name, `#3` for the third entry when it has none, empty for the whole document.
    pub entry: String,
    /// The key within the entry, such as `gateway.serverDnsNames[1]`; for a TOML key the path within `gateway.config`
    /// follows after a colon.
    pub key: String,
    /// Where in the YAML document. Inside `gateway.config` too, unless its text is folded or escaped beyond following: then
    /// this is where the text starts, and the message says where in it.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.entry.is_empty() {
            write!(f, "entry {}: ", self.entry)?;
        }
        if !self.key.is_empty() {
            f.write_str(&self.key)?;
            if let Some(position) = self.position {
                write!(f, " ({position})")?;
            }
            f.write_str(": ")?;
        } else if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        assert_eq!(Position::of("a\nbüc", 5), Position { line: 2, column: 3 });
        assert_eq!(Position::of("", 9), Position { line: 1, column: 1 });
    }

    #[test]
    fn problem_reads_as_one_line() {
        let problem = Problem {
            entry: "tenant-a".into(),
            key: "gateway.image".into(),
            position: Some(Position { line: 3, column: 12 }),
            message: "bad".into(),
            hint: "do better".into(),
        };
        assert_eq!(problem.to_string(), "entry tenant-a: gateway.image (line 3, column 12): bad; do better");
    }
}

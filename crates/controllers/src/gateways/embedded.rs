//! From a place in a text to its place in the YAML document that holds the text as a scalar. Pure.
//!
//! The reader of YAML says where a scalar starts, not where each of its characters came from. So the scalar's source is
//! followed beside its value: as soon as the two disagree the answer is `None`, never a wrong place.

use super::problem::Position;

/// Where `at`, a place in `value`, lies in `document`; `value` is the scalar that starts at `start`: the first character of
/// its text or its quote. `None` for folded scalars and for whatever else cannot be followed.
pub(super) fn locate(document: &str, start: Position, value: &str, at: Position) -> Option<Position> {
    // Readers differ in whether blank lines at the start of a block belong to it.
    let blank = value.chars().take_while(|c| *c == '\n').count();
    let mut firsts = [start.line, start.line.saturating_sub(blank)].into_iter();
    firsts.find_map(|first| literal(document, first, value, at)).or_else(|| on_its_line(document, start, value, at))
}

/// A scalar in quotes or without, on one line.
fn on_its_line(document: &str, start: Position, value: &str, at: Position) -> Option<Position> {
    let line = document.lines().nth(start.line.checked_sub(1)?)?;
    let rest = after(line, start.column.checked_sub(1)?)?;
    match rest.chars().next()? {
        '"' => quoted(rest.get(1..)?, start, value, at, escaped),
        '\'' => quoted(rest.get(1..)?, start, value, at, doubled),
        _ if rest.starts_with(value) && !value.contains('\n') => {
            Some(Position { line: start.line, column: start.column + at.column.checked_sub(1)? })
        }
        _ => None,
    }
}

/// The line from its character number `column`, from 0, on.
fn after(line: &str, column: usize) -> Option<&str> {
    let byte = line.char_indices().map(|(byte, _)| byte).chain([line.len()]).nth(column)?;
    line.get(byte..)
}

/// Each line of a literal block is the value's line behind the same indentation. The block starts on line `first`.
fn literal(document: &str, first: usize, value: &str, at: Position) -> Option<Position> {
    let mut theirs = document.lines().skip(first.checked_sub(1)?);
    let mut indent = None;
    for ours in value.split('\n').take(at.line) {
        let line = theirs.next().unwrap_or_default();
        if ours.is_empty() && line.bytes().all(|b| b == b' ') {
            continue;
        }
        let before = line.strip_suffix(ours)?;
        if !before.bytes().all(|b| b == b' ') || *indent.get_or_insert(before.len()) != before.len() {
            return None;
        }
    }
    Some(Position { line: (first + at.line).checked_sub(1)?, column: indent? + at.column })
}

/// Follows a scalar in quotes as long as it stays on one line. `next` reads one character of the value and says how many
/// characters of the source it took.
fn quoted(
    source: &str,
    start: Position,
    value: &str,
    at: Position,
    next: fn(&str) -> Option<(char, usize)>,
) -> Option<Position> {
    let mut source = source;
    let mut here = Position { line: start.line, column: start.column + 1 };
    let mut reached = Position { line: 1, column: 1 };
    for wanted in value.chars() {
        if reached == at {
            return Some(here);
        }
        let (found, taken) = next(source)?;
        if found != wanted {
            return None;
        }
        source = after(source, taken)?;
        here.column += taken;
        reached = match found {
            '\n' => Position { line: reached.line + 1, column: 1 },
            _ => Position { column: reached.column + 1, ..reached },
        };
    }
    (reached == at).then_some(here)
}

/// A character between single quotes.
fn doubled(source: &str) -> Option<(char, usize)> {
    match source.chars().next()? {
        '\'' => source.starts_with("''").then_some(('\'', 2)),
        other => Some((other, 1)),
    }
}

/// A character between double quotes.
fn escaped(source: &str) -> Option<(char, usize)> {
    let mut characters = source.chars();
    match characters.next()? {
        '\\' => {}
        other => return Some((other, 1)),
    }
    let hexadecimal = |digits: usize| {
        let code = source.get(2..2 + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        code.and_then(char::from_u32).map(|character| (character, 2 + digits))
    };
    let character = match characters.next()? {
        'n' => '\n',
        't' | '\t' => '\t',
        'r' => '\r',
        '0' => '\0',
        'x' => return hexadecimal(2),
        'u' => return hexadecimal(4),
        'U' => return hexadecimal(8),
        same @ ('"' | '\\' | '/' | ' ') => same,
        _ => return None,
    };
    Some((character, 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(document: &str, start: (usize, usize), value: &str, at: (usize, usize)) -> Option<(usize, usize)> {
        let position = |(line, column)| Position { line, column };
        locate(document, position(start), value, position(at)).map(|found| (found.line, found.column))
    }

    #[test]
    fn literal_blocks_are_followed_by_their_indentation() {
        let document = "- config: |\n    a = 1\n\n      b = 2\n";
        assert_eq!(place(document, (2, 5), "a = 1\n\n  b = 2\n", (3, 3)), Some((4, 7)));
    }

    #[test]
    fn blank_lines_before_a_block_count() {
        for start in [2, 4] {
            assert_eq!(place("- |\n\n\n  x = 1\n", (start, 3), "\n\nx = 1\n", (3, 5)), Some((4, 7)), "{start}");
        }
    }

    #[test]
    fn quotes_are_followed_through_their_escapes() {
        assert_eq!(place("- \"a\\n\\u00fc = \\\"x\\\"\"", (1, 3), "a\nü = \"x\"", (2, 5)), Some((1, 16)));
        assert_eq!(place("- 'a = ''x'' b'", (1, 3), "a = 'x' b", (1, 9)), Some((1, 14)));
    }

    #[test]
    fn plain_scalars_are_followed_on_their_line() {
        assert_eq!(place("- a = 1", (1, 3), "a = 1", (1, 5)), Some((1, 7)));
    }

    #[test]
    fn what_cannot_be_followed_has_no_place() {
        for (document, value) in [
            ("- >\n  a\n  b\n", "a b\n"),
            ("- \n  a\n   b\n", "a b\n"),
            ("- \"a\n  b\"", "a b"),
            ("- |\n  x\n", "y\n"),
            ("", "a"),
        ] {
            assert_eq!(place(document, (1, 3), value, (1, 3)), None, "{document:?}");
        }
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(
            document in "[-|>\"'&!\\\\ \\nüxu0-9]{0,40}", value in "[\\nüx ]{0,20}", places in any::<[u8; 4]>(),
        ) {
            let [a, b, c, d] = places.map(|place| usize::from(place % 12));
            place(&document, (a, b), &value, (c, d));
        }
    }
}

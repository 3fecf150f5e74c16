//! Words that the language keeps for itself. Pure.

/// What cannot be a name of a variable or function.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a word of this form is refused as a name.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether a word is reserved or has a meaning of its own: `true`, `false`, `null`, `in`.
pub(crate) fn is_keyword(word: &str) -> bool {
    matches!(word, "true" | "false" | "null" | "in") || is_reserved(word)
}

/// Whether an expression can use this as the name of a variable.
pub fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c == '_' || c.is_ascii_alphabetic();
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) && !is_keyword(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_and_digits_and_no_word_of_the_language() {
        let names = ["a", "_a1", "", "1a", "a-b", "é", "in", "null", "loop"].map(is_identifier);
        assert_eq!(names, [true, true, false, false, false, false, false, false, false]);
    }
}

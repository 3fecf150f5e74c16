//! Regular expressions in Go's syntax (RE2), made into the `regex` crate's: linear time, bounded size. Pure.

use regex::{Regex, RegexBuilder};

/// How large a compiled pattern may be, in bytes: nesting of counted repetitions multiplies.
const MAX_COMPILED: usize = 1 << 20;

/// Compiles a pattern. Matching takes linear time.
///
/// # Errors
/// When it is no regular expression, or one too large.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&translate(pattern)).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build()
}

/// Go's syntax in this library's: `\d`, `\w`, `\s` and `\b` know ASCII only, `[`, `&&`, `--` and `~~` mean themselves in a
/// class, `\Q…\E` quotes, and `{` that starts no count is a character.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = after;
        match c {
            '\\' => rest = escape(after, class, &mut out),
            '[' if !class => {
                class = true;
                out.push('[');
                // A `]` right after the bracket is a member.
                for lead in ['^', ']'] {
                    if let Some(left) = rest.strip_prefix(lead) {
                        out.push_str(if lead == ']' { "\\]" } else { "^" });
                        rest = left;
                    }
                }
            }
            '[' => match rest.strip_prefix(':').and_then(|name| name.split_once(":]")) {
                Some((name, left)) if name.chars().all(|c| c == '^' || c.is_ascii_lowercase()) => {
                    out.push_str("[:");
                    out.push_str(name);
                    out.push_str(":]");
                    rest = left;
                }
                _ => out.push_str("\\["),
            },
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            // A second dash is a bound of the range, and not the sign of a difference.
            '-' if class && out.ends_with('-') && !out.ends_with("\\-") => out.push_str("\\-"),
            '{' if !class && !is_count(after) => out.push_str("\\{"),
            _ => out.push(c),
        }
    }
    out
}

/// What stands for the escape whose text follows the backslash; the text left after it.
fn escape<'a>(after: &'a str, class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    let perl = match c {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => "\\t\\n\\x0c\\r ",
        'b' | 'B' if !class => {
            out.push_str(if c == 'b' { "(?-u:\\b)" } else { "(?:\\B)" });
            return rest;
        }
        'Q' if !class => {
            let (quoted, left) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(quoted));
            return left;
        }
        // Any single character.
        'C' if !class => {
            out.push_str("(?s:.)");
            return rest;
        }
        // Word boundaries here, plain characters there.
        '<' | '>' => {
            out.push(c);
            return rest;
        }
        _ => {
            out.push('\\');
            out.push(c);
            return rest;
        }
    };
    match (c.is_ascii_lowercase(), class) {
        (true, true) => out.push_str(perl),
        (true, false) => out.extend(["[", perl, "]"]),
        (false, _) => out.extend(["[^", perl, "]"]),
    }
    rest
}

/// `3}`, `3,}` or `3,5}`: a count of repetitions.
fn is_count(text: &str) -> bool {
    let Some((inner, _)) = text.split_once('}') else { return false };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match inner.split_once(',') {
        None => !inner.is_empty() && digits(inner),
        Some((least, most)) => !least.is_empty() && digits(least) && digits(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_know_ascii_only_as_in_go() {
        for (pattern, text, fits) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١", false),
            (r"^\w$", "é", false),
            (r"^\W$", "é", true),
            (r"^[\w.]+$", "a.b", true),
            (r"^[^\s]+$", "a\u{a0}b", true),
            (r"^[\D]$", "x", true),
            (r"a\b", "aé", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn signs_of_this_librarys_classes_are_characters() {
        for (pattern, text) in [
            ("^[a[b]$", "["),
            ("^[a&&b]$", "&"),
            ("^[a~~b]+$", "~"),
            ("^[!--]$", "-"),
            ("^[]a]$", "]"),
            ("^[^]a]$", "x"),
            ("^[[:alpha:]]$", "x"),
            (r"^\Qa.b\E$", "a.b"),
            ("^a{,2}$", "a{,2}"),
            ("^{}$", "{}"),
            ("^a{2}$", "aa"),
            (r"^\<$", "<"),
        ] {
            assert!(compile(pattern).unwrap().is_match(text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["(", "[a", "*", "a{2,1}", "(?P<n", "\\"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile("((((a{100}){100}){100}){100}){100}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "[\\\\\\[\\]{}()^$a-c&~0-9,:Qdwsb-]{0,20}") {
            let _ = compile(&text);
        }
    }
}

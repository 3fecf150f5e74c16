//! The text syntax of label selectors: a lexer and a parser that accept, refuse and word errors as `labels.Parse` does.

use std::collections::BTreeSet;

use super::label::{Operator, Requirement, SelectorError, aggregate, key_error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// An identifier or a word operator: which of them depends on the place.
    Word(&'a str),
    /// One of `= == != ! < > ( ) ,`.
    Symbol(&'static str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_symbol(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

/// The next token and what follows it. A NUL byte ends the text, as it does in the original.
fn lex(text: &str) -> (Token<'_>, &str) {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol)) {
        return (Token::Symbol(symbol), &text[symbol.len()..]);
    }
    // The bytes looked for are ASCII, so the text is cut between characters.
    let end = text.bytes().position(|b| is_space(b) || is_symbol(b) || b == 0).unwrap_or(text.len());
    if end == 0 { (Token::End, "") } else { (Token::Word(&text[..end]), &text[end..]) }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        lex(self.rest).0
    }

    fn next(&mut self) -> Token<'a> {
        let (token, rest) = lex(self.rest);
        self.rest = rest;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let mut token = self.next();
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.next();
        }
        let Token::Word(key) = token else { return expected(token, ", expected: identifier") };
        // The original checks the key twice, here without a path, which prints as `<nil>`.
        if let Some(error) = key_error(key, "<nil>") {
            return Err(aggregate(&[error]));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?.into_iter().map(str::to_owned).collect(),
            _ => vec![self.value()?.to_owned()],
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let token = self.next();
        Ok(match token {
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Symbol("=") => Operator::Equals,
            Token::Symbol("==") => Operator::DoubleEquals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return expected(other, ", expected: in, notin, =, ==, !=, gt, lt"),
        })
    }

    /// `(a,b)`; an empty place between commas is an empty value.
    fn values(&mut self) -> Result<BTreeSet<&'a str>, SelectorError> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return expected(open, " expected: '('");
        }
        let first = self.peek();
        match first {
            Token::Word(_) | Token::Symbol(",") => {}
            Token::Symbol(")") => {
                self.next();
                return Ok(BTreeSet::new());
            }
            other => return expected(other, ", expected: ',', ')' or identifier"),
        }
        let mut values = BTreeSet::new();
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.insert(value);
                    match self.peek() {
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => break,
                        other => return expected(other, ", expected: ',' or ')'"),
                    }
                }
                Token::Symbol(",") => {
                    if values.is_empty() {
                        values.insert("");
                    }
                    match self.peek() {
                        Token::Symbol(")") => {
                            values.insert("");
                            break;
                        }
                        Token::Symbol(",") => {
                            self.next();
                            values.insert("");
                        }
                        _ => {}
                    }
                }
                other => return expected(other, ", expected: ',', or identifier"),
            }
        }
        // The loop ended in front of `)`.
        self.next();
        Ok(values)
    }

    fn value(&mut self) -> Result<&'a str, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok("");
        }
        match self.next() {
            Token::Word(value) => Ok(value),
            other => expected(other, ", expected: identifier"),
        }
    }
}

fn expected<T>(found: Token<'_>, what: &str) -> Result<T, SelectorError> {
    Err(SelectorError(format!("found '{}'{what}", found.text())))
}

/// The requirements in the order of the text.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { rest: text };
    let mut requirements = Vec::new();
    match parser.peek() {
        Token::End => return Ok(requirements),
        Token::Word(_) | Token::Symbol("!") => {}
        other => return expected(other, ", expected: !, identifier, or 'end of string'"),
    }
    loop {
        let requirement = parser.requirement();
        requirements.push(requirement.map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => match parser.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => return expected(other, ", expected: identifier after ','"),
            },
            other => return expected(other, ", expected: ',' or 'end of string'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::selector::LabelSelector;

    fn error(text: &str) -> String {
        LabelSelector::parse(text).unwrap_err().to_string()
    }

    fn printed(text: &str) -> String {
        LabelSelector::parse(text).unwrap().to_string()
    }

    #[test]
    fn a_missing_operator_lists_all() {
        assert_eq!(error("x y"), "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt");
    }

    #[test]
    fn a_set_needs_parentheses() {
        assert_eq!(error("x in y"), "unable to parse requirement: found 'y' expected: '('");
    }

    #[test]
    fn a_second_value_needs_a_comma() {
        assert_eq!(error("x in (y z)"), "unable to parse requirement: found 'z', expected: ',' or ')'");
    }

    #[test]
    fn an_empty_set_is_an_error() {
        assert_eq!(
            error("x in ()"),
            "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
        );
    }

    #[test]
    fn a_second_equals_sign_is_an_error() {
        assert_eq!(error("x=y=z"), "found '=', expected: ',' or 'end of string'");
    }

    #[test]
    fn nothing_after_a_comma_is_an_error() {
        assert_eq!(error("x,"), "found '', expected: identifier after ','");
    }

    #[test]
    fn a_leading_comma_is_an_error() {
        assert_eq!(error(",x"), "found ',', expected: !, identifier, or 'end of string'");
    }

    #[test]
    fn a_bound_must_be_a_number() {
        assert_eq!(
            error("x<1.5"),
            "unable to parse requirement: values[0]: Invalid value: \"1.5\": for 'Gt', 'Lt' operators, the value must be an integer"
        );
    }

    #[test]
    fn a_bad_key_has_no_path() {
        assert!(
            error("x^y=1")
                .starts_with("unable to parse requirement: <nil>: Invalid value: \"x^y\": name part must consist of")
        );
    }

    #[test]
    fn a_bad_value_has_the_path_of_its_key() {
        assert!(
            error("x=-")
                .starts_with("unable to parse requirement: values[0][x]: Invalid value: \"-\": a valid label must be")
        );
    }

    #[test]
    fn a_negated_key_takes_no_operator() {
        assert_eq!(error("!x in (y)"), "found 'in', expected: ',' or 'end of string'");
    }

    #[test]
    fn word_operators_are_identifiers_where_a_key_or_value_stands() {
        assert_eq!(printed("in in (notin,in)"), "in in (in,notin)");
    }

    #[test]
    fn empty_places_of_a_set_are_one_empty_value() {
        assert_eq!(printed("x in (,a,,b,)"), "x in (,a,b)");
    }

    #[test]
    fn a_missing_value_is_the_empty_value() {
        assert_eq!(printed("x=,y!="), "x=,y!=");
    }

    #[test]
    fn requirements_are_ordered_by_key() {
        assert_eq!(printed(" c , !b,a==1"), "a==1,!b,c");
    }
}

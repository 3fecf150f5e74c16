//! Source → tokens. Pure.

use crate::error::Issue;

/// A token: what it is, where it starts (code points), and its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) offset: u32,
    pub(super) text: &'s str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    /// Operators, brackets, and the words `in`, `true`, `false`, `null`.
    Sign,
    End,
}

/// Operators and brackets, longer ones first.
const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%",
];

/// Words that are no names.
const WORDS: [&str; 4] = ["in", "true", "false", "null"];

/// All tokens of a source, the end included.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Issue> {
    let mut lexer = Lexer { rest: source, offset: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space();
        let token = lexer.token()?;
        tokens.push(token);
        if token.kind == Kind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'s> {
    rest: &'s str,
    offset: u32,
}

impl<'s> Lexer<'s> {
    fn skip_space(&mut self) {
        loop {
            let space = self.rest.len() - self.rest.trim_start_matches(['\t', ' ', '\r', '\n', '\u{c}']).len();
            let comment = if self.rest.starts_with("//") { self.rest.find('\n').unwrap_or(self.rest.len()) } else { 0 };
            if space + comment == 0 {
                return;
            }
            self.take(Kind::End, space.max(comment));
        }
    }

    /// Cuts off the next `bytes` as a token.
    fn take(&mut self, kind: Kind, bytes: usize) -> Token<'s> {
        let (text, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        let token = Token { kind, offset: self.offset, text };
        self.offset += text.chars().count() as u32;
        self.rest = rest;
        token
    }

    fn token(&mut self) -> Result<Token<'s>, Issue> {
        let Some(first) = self.rest.chars().next() else { return Ok(self.take(Kind::End, 0)) };
        if let Some((kind, length)) = text_literal(self.rest) {
            let length = length.ok_or_else(|| self.unrecognised(self.rest))?;
            return Ok(self.take(kind, length));
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = length_of(self.rest, |letter| letter.is_ascii_alphanumeric() || letter == b'_');
            let kind = if WORDS.contains(&&self.rest[..length]) { Kind::Sign } else { Kind::Ident };
            return Ok(self.take(kind, length));
        }
        if let Some((kind, length)) = number(self.rest) {
            return Ok(self.take(kind, length));
        }
        match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            Some(sign) => Ok(self.take(Kind::Sign, sign.len())),
            None => Err(self.unrecognised(first.encode_utf8(&mut [0; 4]))),
        }
    }

    fn unrecognised(&self, text: &str) -> Issue {
        let text: String = text.chars().take(64).collect();
        let text = text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        Issue { message: format!("Syntax error: token recognition error at: '{text}'"), offset: Some(self.offset) }
    }
}

/// How many octets at the start satisfy the test (ASCII only, so that the end is a boundary).
fn length_of(text: &str, test: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !test(byte)).unwrap_or(text.len())
}

/// The number at the start.
fn number(text: &str) -> Option<(Kind, usize)> {
    let digits = |text: &str| length_of(text, |byte| byte.is_ascii_digit());
    let unsigned = |length: usize| match text.as_bytes().get(length) {
        Some(b'u' | b'U') => Some((Kind::Uint, length + 1)),
        _ => Some((Kind::Int, length)),
    };
    if let Some(hex) = text.strip_prefix("0x") {
        let length = length_of(hex, |byte| byte.is_ascii_hexdigit());
        if length > 0 {
            return unsigned(length + 2);
        }
    }
    let whole = digits(text);
    let fraction = match text[whole..].strip_prefix('.').map(digits) {
        None | Some(0) => 0,
        Some(length) => length + 1,
    };
    let exponent = match text[whole + fraction..].strip_prefix(['e', 'E']) {
        None => 0,
        Some(after) => {
            let sign = usize::from(after.starts_with(['+', '-']));
            match digits(&after[sign..]) {
                0 => 0,
                length => 1 + sign + length,
            }
        }
    };
    match (whole, fraction, exponent) {
        (0, 0, _) => None,
        (_, 0, 0) => unsigned(whole),
        _ => Some((Kind::Double, whole + fraction + exponent)),
    }
}

/// The string or bytes literal at the start: its kind and length; no length when it does not end. None when there is none.
fn text_literal(text: &str) -> Option<(Kind, Option<usize>)> {
    let prefix = length_of(text, |byte| matches!(byte, b'b' | b'B' | b'r' | b'R'));
    let (bytes, raw) = match text[..prefix].to_ascii_lowercase().as_str() {
        "" => (false, false),
        "r" => (false, true),
        "b" => (true, false),
        "br" => (true, true),
        _ => return None,
    };
    let body = &text[prefix..];
    let Some(quote @ (b'"' | b'\'')) = body.bytes().next() else { return None };
    let triple = body.len() >= 3 && body.bytes().take(3).all(|byte| byte == quote);
    let kind = if bytes { Kind::Bytes } else { Kind::String };
    let end = end_of_text(body.as_bytes(), quote, triple, raw);
    Some((kind, end.map(|end| prefix + end)))
}

/// Where a quoted text ends, after its quotes.
fn end_of_text(body: &[u8], quote: u8, triple: bool, raw: bool) -> Option<usize> {
    let width = if triple { 3 } else { 1 };
    let mut at = width;
    loop {
        match *body.get(at)? {
            b'\\' if !raw => at += 2,
            b'\n' | b'\r' if !triple => return None,
            byte if byte == quote
                && body.get(at..at + width).is_some_and(|end| end.iter().all(|&byte| byte == quote)) =>
            {
                return Some(at + width);
            }
            _ => at += 1,
        }
    }
}

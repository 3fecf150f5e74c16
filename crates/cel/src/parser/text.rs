//! Quoted text → what it stands for. Pure.

/// The content of a string literal; None when an escape is wrong.
pub(super) fn string(literal: &str) -> Option<String> {
    let (body, raw) = unquoted(literal)?;
    let body = newlines(body);
    if raw || !body.contains('\\') {
        return Some(body.into_owned());
    }
    let mut text = String::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => text.push(char::from_u32(escape(&mut rest)?.code())?),
            _ => text.push(letter),
        }
    }
    Some(text)
}

/// The content of a bytes literal (with its `b`); None when an escape is wrong.
pub(super) fn bytes(literal: &str) -> Option<Vec<u8>> {
    let (body, raw) = unquoted(literal.strip_prefix(['b', 'B'])?)?;
    let body = newlines(body);
    if raw {
        return Some(body.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => match escape(&mut rest)? {
                Escaped::Octet(octet) => bytes.push(octet),
                Escaped::CodePoint(_) => return None,
            },
            _ => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(bytes)
}

/// The text between the quotes, and whether it is raw.
fn unquoted(literal: &str) -> Option<(&str, bool)> {
    let body = literal.strip_prefix(['r', 'R']);
    let (body, raw) = (body.unwrap_or(literal), body.is_some());
    for quotes in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(text) = body.strip_prefix(quotes).and_then(|rest| rest.strip_suffix(quotes)) {
            return Some((text, raw));
        }
    }
    None
}

/// Line ends of any system are `\n`.
fn newlines(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

enum Escaped {
    Octet(u8),
    CodePoint(u32),
}

impl Escaped {
    fn code(&self) -> u32 {
        match self {
            Self::Octet(octet) => u32::from(*octet),
            Self::CodePoint(code) => *code,
        }
    }
}

/// What follows a backslash.
fn escape(rest: &mut std::str::Chars<'_>) -> Option<Escaped> {
    let letter = rest.next()?;
    let simple = match letter {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        '\\' | '\'' | '"' | '`' | '?' => letter as u8,
        'x' | 'X' => return digits(rest, 2, 16).map(|code| Escaped::Octet(code as u8)),
        'u' => return digits(rest, 4, 16).map(Escaped::CodePoint),
        'U' => return digits(rest, 8, 16).map(Escaped::CodePoint),
        '0'..='3' => {
            let low = digits(rest, 2, 8)?;
            return Some(Escaped::Octet((letter.to_digit(8)? * 64 + low) as u8));
        }
        _ => return None,
    };
    Some(Escaped::Octet(simple))
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut code: u32 = 0;
    for _ in 0..count {
        code = code.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?)?;
    }
    Some(code)
}

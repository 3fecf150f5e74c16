//! Source → syntax tree. A hand-written lexer and precedence climbing; macros are expanded on the way.
//!
//! Foreign text: its length, the nesting of brackets and the depth of the tree are limited, and the tree never gets deeper
//! than the limit, not even for a moment.

mod build;
mod lexer;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use build::Builder;
use lexer::{Kind, Token};

use crate::ast::{Call, Expr, ExprKind, List, Literal, MapEntry, Select, Struct, StructField};
use crate::error::Issue;
use crate::macros::{Expander, Macro};
use crate::operators;
use crate::words::is_reserved;

/// How many code points a source may have; cel-go's limit.
const MAX_SOURCE: usize = 100_000;
/// How deep expressions may be nested; cel-go's limit.
pub(crate) const MAX_DEPTH: u16 = 250;

/// A parsed source: the tree and where each node is (code points), by node number.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) root: Expr,
    pub(crate) offsets: Vec<u32>,
}

/// Parses a source.
pub(crate) fn parse(source: &str, macros: &[Macro]) -> Result<Parsed, Issue> {
    let size = source.chars().take(MAX_SOURCE + 1).count();
    if size > MAX_SOURCE {
        let size = source.chars().count();
        let message = format!("expression code point size exceeds limit: size: {size}, limit {MAX_SOURCE}");
        return Err(Issue { message, offset: None });
    }
    let tokens = lexer::tokens(source)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, macros, builder: Builder::default() };
    let root = parser.expression()?;
    let next = parser.peek();
    if next.kind != Kind::End {
        return Err(unexpected("extraneous", next, "<EOF>"));
    }
    if parser.builder.too_deep {
        return Err(too_deep());
    }
    Ok(Parsed { root, offsets: parser.builder.offsets })
}

fn too_deep() -> Issue {
    Issue { message: format!("expression recursion limit exceeded: {MAX_DEPTH}"), offset: None }
}

/// ANTLR's words for a token that does not fit.
fn unexpected(how: &str, token: Token<'_>, expected: &str) -> Issue {
    let text = if token.kind == Kind::End { "<EOF>" } else { token.text };
    Issue { message: format!("Syntax error: {how} input '{text}' expecting {expected}"), offset: Some(token.offset) }
}

/// What can begin an expression, in ANTLR's words.
const OPERAND: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

struct Parser<'s, 't> {
    tokens: &'t [Token<'s>],
    at: usize,
    depth: u16,
    macros: &'t [Macro],
    builder: Builder,
}

impl<'s> Parser<'s, '_> {
    fn peek(&self) -> Token<'s> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Token<'s> {
        let end = Token { kind: Kind::End, offset: 0, text: "" };
        self.tokens.get(self.at + ahead).or(self.tokens.last()).copied().unwrap_or(end)
    }

    fn next(&mut self) -> Token<'s> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Sign && token.text == sign
    }

    /// Takes the sign when it comes next.
    fn take(&mut self, sign: &str) -> Option<Token<'s>> {
        self.is(sign).then(|| self.next())
    }

    fn expect(&mut self, sign: &str) -> Result<Token<'s>, Issue> {
        self.take(sign).ok_or_else(|| unexpected("mismatched", self.peek(), &format!("'{sign}'")))
    }

    fn node(&mut self, offset: u32, kind: ExprKind) -> Expr {
        self.builder.node(offset, kind)
    }

    fn call(&mut self, at: Token<'_>, function: &str, args: Vec<Expr>) -> Expr {
        self.node(at.offset, ExprKind::Call(Box::new(Call { function: function.into(), target: None, args })))
    }

    /// `or ('?' or ':' expression)?`
    fn expression(&mut self) -> Result<Expr, Issue> {
        if self.depth >= MAX_DEPTH || self.builder.too_deep {
            return Err(too_deep());
        }
        self.depth += 1;
        let mut result = self.operators(operators::TIGHTNESS_OR)?;
        if self.is("?") {
            result = self.ternary(result)?;
        }
        self.depth -= 1;
        Ok(result)
    }

    fn ternary(&mut self, condition: Expr) -> Result<Expr, Issue> {
        let question = self.expect("?")?;
        let yes = self.operators(operators::TIGHTNESS_OR)?;
        self.expect(":")?;
        let no = self.expression()?;
        Ok(self.call(question, operators::CONDITIONAL, vec![condition, yes, no]))
    }

    /// Binary operators, left to right, that bind at least as tight as `tightness`.
    fn operators(&mut self, tightness: u8) -> Result<Expr, Issue> {
        let mut left = self.unary()?;
        while let Some((function, binds)) = self.binary_operator().filter(|(_, binds)| *binds >= tightness) {
            left = match function {
                operators::AND | operators::OR => self.chain(left, function, binds)?,
                _ => self.binary(left, function, binds)?,
            };
            if self.builder.too_deep {
                return Err(too_deep());
            }
        }
        Ok(left)
    }

    fn binary_operator(&self) -> Option<(&'static str, u8)> {
        let token = self.peek();
        if token.kind == Kind::Sign { operators::binary(token.text) } else { None }
    }

    fn binary(&mut self, left: Expr, function: &str, binds: u8) -> Result<Expr, Issue> {
        let sign = self.next();
        let right = self.operators(binds + 1)?;
        Ok(self.call(sign, function, vec![left, right]))
    }

    /// A chain of `&&` or `||`. The tree is balanced, so that long chains are not deep.
    fn chain(&mut self, first: Expr, function: &str, binds: u8) -> Result<Expr, Issue> {
        let mut terms = vec![first];
        let mut signs = Vec::new();
        while self.binary_operator().is_some_and(|(next, _)| next == function) {
            signs.push(self.next());
            terms.push(self.operators(binds + 1)?);
        }
        Ok(self.balanced(function, terms, &signs))
    }

    fn balanced(&mut self, function: &str, mut terms: Vec<Expr>, signs: &[Token<'_>]) -> Expr {
        let middle = signs.len() / 2;
        match (signs.get(middle), terms.pop()) {
            (None, last) => last.unwrap_or_else(|| self.node(0, ExprKind::Literal(Literal::Null))),
            (Some(&sign), last) => {
                terms.extend(last);
                let right = terms.split_off(middle + 1);
                let left = self.balanced(function, terms, &signs[..middle]);
                let right = self.balanced(function, right, &signs[middle + 1..]);
                self.call(sign, function, vec![left, right])
            }
        }
    }

    /// `member`, `'!'+ member`, `'-'+ member`; a minus before a number belongs to it.
    fn unary(&mut self) -> Result<Expr, Issue> {
        let negation = self.negation();
        let mut operand = self.primary()?;
        while self.is(".") || self.is("[") {
            operand = self.member(operand)?;
            if self.builder.too_deep {
                return Err(too_deep());
            }
        }
        Ok(match negation {
            Some((sign, function)) => self.call(sign, function, vec![operand]),
            None => operand,
        })
    }

    /// The signs before an operand: an odd number of `!` or of `-`.
    fn negation(&mut self) -> Option<(Token<'s>, &'static str)> {
        for (sign, function) in [("!", operators::NOT), ("-", operators::NEGATE)] {
            let Some(first) = self.take(sign) else { continue };
            let mut count = 1_usize;
            while self.take(sign).is_some() {
                count += 1;
            }
            if sign == "-" && matches!(self.peek().kind, Kind::Int | Kind::Double) {
                count -= 1;
                self.at -= 1;
            }
            return (count % 2 == 1).then_some((first, function));
        }
        None
    }

    /// What is selected from an operand.
    fn member(&mut self, operand: Expr) -> Result<Expr, Issue> {
        let token = self.next();
        if token.text == "." {
            return self.selected(operand, token);
        }
        let function = if self.take("?").is_some() { operators::OPTIONAL_INDEX } else { operators::INDEX };
        let index = self.expression()?;
        self.expect("]")?;
        Ok(self.call(token, function, vec![operand, index]))
    }

    fn selected(&mut self, operand: Expr, dot: Token<'s>) -> Result<Expr, Issue> {
        let optional = self.take("?").is_some();
        let name = self.peek();
        if name.kind != Kind::Ident {
            return Err(unexpected(
                if name.kind == Kind::End { "mismatched" } else { "no viable alternative at" },
                name,
                "IDENTIFIER",
            ));
        }
        self.next();
        if optional {
            let field = self.node(name.offset, ExprKind::Literal(Literal::String(name.text.into())));
            return Ok(self.call(dot, operators::OPTIONAL_SELECT, vec![operand, field]));
        }
        if let Some(open) = self.take("(") {
            let args = self.arguments()?;
            return self.macro_or_call(open, name.text, Some(operand), args);
        }
        let select = Select { operand, field: name.text.into(), test_only: false };
        Ok(self.node(dot.offset, ExprKind::Select(Box::new(select))))
    }

    /// What comes after `(`.
    fn arguments(&mut self) -> Result<Vec<Expr>, Issue> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if self.take(")").is_some() {
                return Ok(args);
            }
            self.take(",").ok_or_else(|| unexpected("mismatched", self.peek(), "')'"))?;
        }
    }

    fn macro_or_call(
        &mut self,
        open: Token<'s>,
        name: &str,
        target: Option<Expr>,
        args: Vec<Expr>,
    ) -> Result<Expr, Issue> {
        match self.macros.iter().find(|known| known.applies(name, target.as_ref(), args.len())) {
            Some(known) => {
                (known.expand)(&mut Expander { builder: &mut self.builder, offset: open.offset }, target, args)
            }
            None => {
                let call = Call { function: name.into(), target, args };
                Ok(self.node(open.offset, ExprKind::Call(Box::new(call))))
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Issue> {
        let token = self.next();
        match (token.kind, token.text) {
            (Kind::Sign, "(") => self.nested(),
            (Kind::Sign, "[") => self.list(token),
            (Kind::Sign, "{") => self.map(token),
            (Kind::Sign, ".") if self.peek().kind == Kind::Ident => self.name(true),
            (Kind::Sign, "-") if matches!(self.peek().kind, Kind::Int | Kind::Double) => self.number(token, true),
            (Kind::Ident, _) => {
                self.at -= 1;
                self.name(false)
            }
            (Kind::Int | Kind::Uint | Kind::Double, _) => {
                self.at -= 1;
                self.number(token, false)
            }
            _ => self.constant(token),
        }
    }

    fn nested(&mut self) -> Result<Expr, Issue> {
        let inner = self.expression()?;
        self.expect(")")?;
        Ok(inner)
    }

    fn constant(&mut self, token: Token<'s>) -> Result<Expr, Issue> {
        let literal = constant(token)?;
        Ok(self.node(token.offset, ExprKind::Literal(literal)))
    }

    fn number(&mut self, at: Token<'s>, negative: bool) -> Result<Expr, Issue> {
        let token = self.next();
        let error = |what: &str| Issue { message: format!("invalid {what} literal"), offset: Some(at.offset) };
        let sign = if negative { "-" } else { "" };
        let parse = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
            None => format!("{sign}{text}").parse().ok(),
        };
        let literal = match token.kind {
            Kind::Int => Literal::Int(parse(token.text).and_then(|n| n.try_into().ok()).ok_or_else(|| error("int"))?),
            Kind::Uint => {
                let digits = token.text.trim_end_matches(['u', 'U']);
                Literal::Uint(parse(digits).and_then(|number| number.try_into().ok()).ok_or_else(|| error("uint"))?)
            }
            _ => {
                let number: Option<f64> = format!("{sign}{}", token.text).parse().ok();
                Literal::Double(number.filter(|number| number.is_finite()).ok_or_else(|| error("double"))?)
            }
        };
        Ok(self.node(at.offset, ExprKind::Literal(literal)))
    }

    /// A name, a call, or the type name of a message.
    fn name(&mut self, rooted: bool) -> Result<Expr, Issue> {
        let name = self.next();
        if let Some(length) = self.message_name() {
            return self.message(name, rooted, length);
        }
        if is_reserved(name.text) {
            let message = format!("reserved identifier: {}", name.text);
            return Err(Issue { message, offset: Some(name.offset) });
        }
        let full = if rooted { format!(".{}", name.text) } else { name.text.to_owned() };
        if let Some(open) = self.take("(") {
            let args = self.arguments()?;
            return self.macro_or_call(open, &full, None, args);
        }
        Ok(self.node(name.offset, ExprKind::Ident(full.into())))
    }

    /// How many tokens of `.name` follow before a `{`; None when what follows is no message.
    fn message_name(&self) -> Option<usize> {
        let mut ahead = 0;
        loop {
            let token = self.peek_at(ahead);
            match (token.kind, token.text) {
                (Kind::Sign, "{") => return Some(ahead),
                (Kind::Sign, ".") if self.peek_at(ahead + 1).kind == Kind::Ident => ahead += 2,
                _ => return None,
            }
        }
    }

    fn message(&mut self, first: Token<'s>, rooted: bool, tokens: usize) -> Result<Expr, Issue> {
        let mut type_name = if rooted { format!(".{}", first.text) } else { first.text.to_owned() };
        for _ in 0..tokens {
            type_name.push_str(self.next().text);
        }
        let open = self.expect("{")?;
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let name = self.next();
            if name.kind != Kind::Ident {
                return Err(unexpected("mismatched", name, "IDENTIFIER"));
            }
            let colon = self.expect(":")?;
            let id = self.builder.id(colon.offset);
            let value = self.expression()?;
            fields.push(StructField { id, name: name.text.into(), value, optional });
            self.separator("}")?;
        }
        let object = Struct { type_name: type_name.into(), fields };
        Ok(self.node(open.offset, ExprKind::Struct(Box::new(object))))
    }

    /// A comma, or the closing bracket next.
    fn separator(&mut self, close: &str) -> Result<(), Issue> {
        if self.take(",").is_some() || self.is(close) {
            return Ok(());
        }
        Err(unexpected("mismatched", self.peek(), &format!("{{'{close}', ','}}")))
    }

    fn list(&mut self, open: Token<'s>) -> Result<Expr, Issue> {
        let mut list = List { elements: Vec::new(), optional: Vec::new() };
        while self.take("]").is_none() {
            if self.take("?").is_some() {
                list.optional.push(list.elements.len());
            }
            list.elements.push(self.expression()?);
            self.separator("]")?;
        }
        Ok(self.node(open.offset, ExprKind::List(list)))
    }

    fn map(&mut self, open: Token<'s>) -> Result<Expr, Issue> {
        let mut entries = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let key = self.expression()?;
            let colon = self.expect(":")?;
            let id = self.builder.id(colon.offset);
            let value = self.expression()?;
            entries.push(MapEntry { id, key, value, optional });
            self.separator("}")?;
        }
        Ok(self.node(open.offset, ExprKind::Map(entries)))
    }
}

/// Constants that are not numbers.
fn constant(token: Token<'_>) -> Result<Literal, Issue> {
    let invalid = |what: &str| Issue { message: format!("invalid {what} literal"), offset: Some(token.offset) };
    Ok(match (token.kind, token.text) {
        (Kind::String, literal) => Literal::String(text::string(literal).ok_or_else(|| invalid("string"))?.into()),
        (Kind::Bytes, literal) => Literal::Bytes(text::bytes(literal).ok_or_else(|| invalid("bytes"))?.into()),
        (Kind::Sign, "true") => Literal::Bool(true),
        (Kind::Sign, "false") => Literal::Bool(false),
        (Kind::Sign, "null") => Literal::Null,
        _ => return Err(unexpected("mismatched", token, OPERAND)),
    })
}

//! The names of operators as functions.

pub(crate) const CONDITIONAL: &str = "_?_:_";
pub(crate) const AND: &str = "_&&_";
pub(crate) const OR: &str = "_||_";
pub(crate) const NOT: &str = "!_";
pub(crate) const NEGATE: &str = "-_";
pub(crate) const EQUALS: &str = "_==_";
pub(crate) const NOT_EQUALS: &str = "_!=_";
pub(crate) const LESS: &str = "_<_";
pub(crate) const LESS_EQUALS: &str = "_<=_";
pub(crate) const GREATER: &str = "_>_";
pub(crate) const GREATER_EQUALS: &str = "_>=_";
pub(crate) const ADD: &str = "_+_";
pub(crate) const SUBTRACT: &str = "_-_";
pub(crate) const MULTIPLY: &str = "_*_";
pub(crate) const DIVIDE: &str = "_/_";
pub(crate) const MODULO: &str = "_%_";
pub(crate) const IN: &str = "@in";
pub(crate) const INDEX: &str = "_[_]";
pub(crate) const OPTIONAL_INDEX: &str = "_[?_]";
pub(crate) const OPTIONAL_SELECT: &str = "_?._";
pub(crate) const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
pub(crate) const MAP_INSERT: &str = "cel.@mapInsert";

/// How tight `||` binds: less than all others.
pub(crate) const TIGHTNESS_OR: u8 = 1;

/// The function of a binary operator, and how tight it binds.
pub(crate) fn binary(sign: &str) -> Option<(&'static str, u8)> {
    Some(match sign {
        "||" => (OR, TIGHTNESS_OR),
        "&&" => (AND, 2),
        "<" => (LESS, 3),
        "<=" => (LESS_EQUALS, 3),
        ">" => (GREATER, 3),
        ">=" => (GREATER_EQUALS, 3),
        "==" => (EQUALS, 3),
        "!=" => (NOT_EQUALS, 3),
        "in" => (IN, 3),
        "+" => (ADD, 4),
        "-" => (SUBTRACT, 4),
        "*" => (MULTIPLY, 5),
        "/" => (DIVIDE, 5),
        "%" => (MODULO, 5),
        _ => return None,
    })
}

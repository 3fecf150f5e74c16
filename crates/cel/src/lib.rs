//! The Common Expression Language as Kubernetes 1.36 speaks it.
//!
//! It parses, checks types against declared variables, estimates what an expression can cost, and runs it within a
//! [`Budget`]. It knows nothing of any product and no other crate of this workspace.
//!
//! ```
//! use paddock_cel::{Budget, Env, Type, Value, types::ObjectType};
//!
//! let ty = Type::object(ObjectType::new("Widget", [("a".to_owned(), Type::Int), ("b".to_owned(), Type::Int)]));
//! let rule = Env::builder().variable("self", ty.clone()).build().compile("self.a < self.b")?;
//! assert_eq!(*rule.result_type(), Type::Bool);
//!
//! let json = serde_json::json!({"a": 1, "b": 2});
//! let holds = rule.evaluate(&[("self", Value::from_json(&json, &ty)?)], &mut Budget::default())?;
//! assert!(matches!(holds, Value::Bool(true)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`ast`] | the syntax tree, and what the checker found out about it |
//! | `lexer`, `parser`, [`macros`] | source → tree; depth and length are limited |
//! | [`types`] | types; object types that Kubernetes schemas declare |
//! | `checker` | tree → types and overloads; cel-go's messages |
//! | [`value`] | values, borrowed from JSON |
//! | [`go_regex`] | regular expressions as Go reads them |
//! | [`function`], `standard`, `pattern` | functions: how they are declared; those of the language |
//! | [`libraries`] | Kubernetes' and cel-go's extension libraries |
//! | `plan`, `evaluate` | checked tree → a form with all names resolved; running it |
//! | [`cost`] | what an expression can cost, and what a call did cost |
//! | [`mod@env`], [`program`] | what consumers hold |

pub mod ast;
mod budget;
mod checker;
pub mod cost;
pub mod env;
mod error;
mod escape;
mod evaluate;
pub mod function;
pub mod go_regex;
pub mod libraries;
pub mod macros;
mod operators;
mod parser;
mod pattern;
mod plan;
pub mod program;
mod standard;
pub mod types;
pub mod value;
mod words;

pub use budget::Budget;
pub use env::Env;
pub use error::{CompileError, EvalError, Issue};
pub use escape::{escape_property, unescape_property};
pub use program::{Program, Variables};
pub use types::Type;
pub use value::Value;
pub use words::is_identifier;

//! Label and field selectors: what `labelSelector=` and `fieldSelector=` mean, and `LabelSelector` objects. Pure.
//!
//! Syntax, validation and wording follow `k8s.io/apimachinery/pkg/labels` and `pkg/fields`.

mod field;
mod label;
mod label_syntax;

pub use self::field::FieldSelector;
pub use self::label::{LabelSelector, Requirement, SelectorError};

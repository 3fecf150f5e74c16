//! What expressions are compiled against: variables, types, functions, macros.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::error::CompileError;
use crate::function::{Functions, Library};
use crate::libraries;
use crate::macros::Macro;
use crate::program::Program;
use crate::standard;
use crate::types::{ObjectType, Type};

/// What expressions are compiled against. Immutable; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Env(Arc<Declarations>);

/// What an [`Env`] declares.
#[derive(Clone, Debug)]
pub(crate) struct Declarations {
    pub(crate) language: Arc<Language>,
    pub(crate) variables: HashMap<String, Type>,
    pub(crate) objects: Vec<Arc<ObjectType>>,
    pub(crate) dynamic: Vec<String>,
}

/// Functions, macros and type names: the same for most environments, so shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Language {
    pub(crate) functions: Functions,
    pub(crate) macros: Vec<Macro>,
    pub(crate) types: Vec<Type>,
}

/// What Kubernetes gives every expression; built once.
static KUBERNETES: LazyLock<Arc<Language>> = LazyLock::new(|| {
    let mut language = Language::default();
    language.add(standard::library());
    libraries::kubernetes().into_iter().for_each(|library| language.add(library));
    Arc::new(language)
});

impl Language {
    fn add(&mut self, library: Library) {
        library.functions.into_iter().for_each(|function| self.functions.add(function));
        self.macros.extend(library.macros);
        self.types.extend(library.types);
    }
}

impl Declarations {
    /// The type that a name stands for.
    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        let basic = match name {
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "null_type" => Type::Null,
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "type" => Type::type_of(Type::Dyn),
            "optional_type" => Type::optional(Type::Dyn),
            "google.protobuf.Timestamp" => Type::Timestamp,
            "google.protobuf.Duration" => Type::Duration,
            _ => return self.declared_type(name),
        };
        Some(basic)
    }

    fn declared_type(&self, name: &str) -> Option<Type> {
        if let Some(object) = self.objects.iter().find(|object| object.name() == name) {
            return Some(Type::Object(Arc::clone(object)));
        }
        let below = |parent: &String| {
            name.strip_prefix(parent.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if self.dynamic.iter().any(below) {
            return Some(Type::object(ObjectType::any(name)));
        }
        self.language.types.iter().find(|ty| ty.name() == name).cloned()
    }
}

/// Builds an [`Env`].
#[derive(Clone, Debug)]
pub struct EnvBuilder(Declarations);

impl Env {
    /// An environment with the language, its macros and all of Kubernetes' libraries, and no variables.
    pub fn builder() -> EnvBuilder {
        EnvBuilder(Declarations {
            language: Arc::clone(&KUBERNETES),
            variables: HashMap::new(),
            objects: Vec::new(),
            dynamic: Vec::new(),
        })
    }

    /// An environment like this one, with more in it.
    pub fn extend(&self) -> EnvBuilder {
        EnvBuilder((*self.0).clone())
    }

    /// Parses and checks an expression.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        Program::compile(&self.0, source)
    }
}

impl EnvBuilder {
    /// Declares a variable. Its object types can be constructed by name only when [`EnvBuilder::object`] declares them.
    pub fn variable(mut self, name: impl Into<String>, ty: Type) -> Self {
        self.0.variables.insert(name.into(), ty);
        self
    }

    /// Lets expressions construct objects of this type: `JSONPatch{op: "add", …}`.
    pub fn object(mut self, ty: Arc<ObjectType>) -> Self {
        self.0.objects.push(ty);
        self
    }

    /// Lets expressions construct objects named `name` and `name.anything.deeper`, with any fields, as mutating policies do:
    /// `Object{spec: Object.spec{replicas: 3}}`.
    pub fn dynamic_object(mut self, name: impl Into<String>) -> Self {
        self.0.dynamic.push(name.into());
        self
    }

    /// Adds functions and macros.
    pub fn library(mut self, library: Library) -> Self {
        Arc::make_mut(&mut self.0.language).add(library);
        self
    }

    /// The environment.
    pub fn build(self) -> Env {
        Env(Arc::new(self.0))
    }
}

//! What expressions are compiled against: variables, types, functions, macros.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::error::CompileError;
use crate::function::{Functions, Library};
use crate::libraries;
use crate::macros::Macro;
use crate::program::Program;
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

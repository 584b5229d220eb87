//! Parameters of rules.

use super::form::{Form, Of, Plain};

/// A declared parameter.
#[derive(Clone, Debug)]
pub struct Param<F: Form = Plain> {
    /// Its type.
    pub ty: ParamType,
    /// Its value where none is given.
    pub default: Option<Of<F, ParamValue>>,
    /// For people.
    pub doc: String,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// Any text.
    Str,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A path inside the project.
    Path,
    /// The name of an action, `RULE:NAME`.
    Node,
    /// A list of texts.
    Strs,
    /// A list of paths.
    Paths,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamValue {
    /// A text, path or node name.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// A list of texts.
    List(Vec<String>),
}

impl ParamType {
    /// The type as rule files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Str => "Str",
            Self::Int => "Int",
            Self::Bool => "Bool",
            Self::Path => "Path",
            Self::Node => "Node",
            Self::Strs => "Strs",
            Self::Paths => "Paths",
        }
    }

    /// Whether a value is of this type.
    pub const fn admits(self, value: &ParamValue) -> bool {
        matches!(
            (self, value),
            (Self::Str | Self::Path | Self::Node, ParamValue::Text(_))
                | (Self::Int, ParamValue::Int(_))
                | (Self::Bool, ParamValue::Bool(_))
                | (Self::Strs | Self::Paths, ParamValue::List(_))
        )
    }

    /// Whether its values are lists.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Strs | Self::Paths)
    }
}

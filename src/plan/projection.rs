//! Projections: the part of its inputs that a built-in kind depends on.

use std::collections::HashSet;
use std::path::Path;

use super::error::PlanError;
use crate::graph::Action;
use crate::store::Artifact;

/// Implemented by built-in kinds: reduces the inputs of an action to what the action looks at, so that no other change of
/// an input changes its key.
pub trait Projection: Sync {
    /// The fields of this action's key that its kind takes from the inputs.
    fn project(&self, action: &Action, inputs: &dyn Inputs) -> Result<Projected, PlanError>;

    /// What the action requires and this machine or project does not have, whatever its inputs are.
    fn missing_requirement(&self, action: &Action) -> Option<String>;
}

/// The inputs of an action that are outputs of other nodes.
pub trait Inputs {
    /// The content of an input that is a file.
    fn read(&self, input: &str) -> Result<Vec<u8>, PlanError>;

    /// The file at a path below an input that is a directory; `None` if there is none or the directory was not made.
    fn file_in(&self, input: &str, path: &Path) -> Result<Option<Artifact>, PlanError>;
}

/// The result of a projection.
#[derive(Debug, Default)]
pub struct Projected {
    /// Key fields by name.
    pub fields: Vec<(String, String)>,
    /// Inputs that these fields replace: their content does not enter the key by itself.
    pub inputs: HashSet<String>,
}

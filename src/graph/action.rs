//! Actions: rules with their parameters bound.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Bindings, BoundRule, BuildId, NodeId, OutputRef, SourceName};
use crate::spec::model::{self, HostRef};
use crate::spec::root::Root;

/// A rule with its parameters bound.
#[derive(Debug)]
pub struct Action {
    /// The rule.
    pub rule: Arc<BoundRule>,
    /// The build whose values it has; `None` where builds share it, or it belongs to none.
    pub build: Option<BuildId>,
    /// Values of placeholders, parameters included.
    pub bindings: Bindings,
    /// Inputs, sorted by name.
    pub inputs: Vec<(Arc<str>, Input)>,
    /// The directory below `out/` where its outputs appear.
    pub export: Option<PathBuf>,
    /// Host programs it runs.
    pub tools: Vec<Tool>,
    /// Directories in which those are looked for first.
    pub tool_path: Arc<[PathBuf]>,
    /// Files and directories of the host that it reads.
    pub host: Vec<HostRef>,
    /// The root that its programs are in.
    pub root: Option<Root>,
    /// The machine whose programs it runs, as qemu-user names it; `None` where the processor runs them.
    pub machine: Option<&'static str>,
}

/// A host program that an action runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub program: String,
    /// Whether the action works without it.
    pub optional: bool,
}

/// An input with its references resolved.
#[derive(Debug, Clone)]
pub enum Input {
    /// A source tree.
    Source {
        /// Its name in the spec.
        name: SourceName,
        /// The node that unpacks it, if one does.
        made_by: Option<NodeId>,
    },
    /// A file or directory of the project.
    File(PathBuf),
    /// A key that signs modules, by name; `None`: none does.
    ModuleKey(Option<Arc<str>>),
    /// An output of another node.
    Output(OutputRef),
    /// A tree of images that other nodes make, mounted over each other, the lowest first.
    Layers(Vec<OutputRef>),
    /// One file: the bytes of files, then lines.
    Concat {
        /// Files of the project.
        files: Vec<PathBuf>,
        /// Lines, without their newline.
        lines: Vec<String>,
    },
}

impl Action {
    /// One of its inputs.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|(input, _)| **input == *name).map(|(_, input)| input)
    }

    /// The output of another node that an input is; `None` where it is something else.
    pub fn output_read(&self, input: &str) -> Option<&OutputRef> {
        match self.input(input)? {
            Input::Output(output) => Some(output),
            _ => None,
        }
    }

    /// Whether its steps work without an input that was not made.
    pub fn does_without(&self, input: &str) -> bool {
        let declared = self.rule.decl.inputs.get(input);
        matches!(declared, Some(model::Input::Output(reference)) if reference.optional)
    }

    /// Whether its steps make an output, rather than kiln as a report on the run.
    pub fn makes(&self, output: &str) -> bool {
        self.rule.decl.outputs.get(output).is_none_or(|declared| declared.shape.is_made())
    }
}

//! Inputs and outputs of rules.

use super::form::{Form, Of, Plain};
use crate::spec::template::Template;

/// The placeholder that may stand for a rule in a reference: each board names the rule of its user space.
pub const ROOTFS: &str = "board.rootfs";

/// A reference to an output of another rule's node: the node with the same values on the axes both have.
#[derive(Clone, Debug)]
pub struct OutputSelector<F: Form = Plain> {
    /// The rule: by its name, as [`ROOTFS`], or as a `{param}` of type `Node`, which is a whole node name.
    pub rule: Of<F, Template>,
    /// The output's name.
    pub output: Of<F, Template>,
    /// Whether a run may do without it: what was not made is not there then.
    pub optional: bool,
}

/// An input.
#[derive(Clone, Debug)]
pub enum Input<F: Form = Plain> {
    /// `Source("{source}")`: a source tree, mounted read-only.
    Source(Of<F, Template>),
    /// `File("path or {param}")`: a file or directory of the project.
    File(Of<F, Template>),
    /// `Output(rule: "config", output: "config", optional: false)`.
    Output(OutputSelector<F>),
    /// `ModuleKey("name")`: a signing key with its certificate, in memory; nothing for the empty name.
    ModuleKey(Of<F, Template>),
    /// `Root("name")`: all files of a root; what a run writes there, it alone sees.
    Root(Of<F, Template>),
    /// `Concat(files: "{list of paths}", lines: "{list}")`: one file, the files' bytes and then the lines.
    Concat {
        /// Files of the project.
        files: Option<Of<F, Template>>,
        /// Lines after them.
        lines: Option<Of<F, Template>>,
    },
}

/// An output, relative to `{out}`.
#[derive(Clone, Debug)]
pub struct Output<F: Form = Plain> {
    /// What it is.
    pub shape: OutputShape<F>,
    /// Whether it may be missing.
    pub optional: bool,
    /// Its name under `out/`. Default: the last part of the path (for a tree: the output's name).
    pub name: Option<Of<F, Template>>,
    /// Whether it appears where the rule's outputs do; otherwise it is for other nodes alone. Default: yes.
    pub export: bool,
}

/// The shape of an output.
#[derive(Clone, Debug)]
pub enum OutputShape<F: Form = Plain> {
    /// `File("path")`
    File(Of<F, Template>),
    /// `Tree("path")`: a directory and all in it.
    Tree(Of<F, Template>),
    /// `Glob("**/*.ko")`: a tree of the files that match.
    Glob(Of<F, Template>),
    /// A file in which kiln reports on the run. The steps do not make it: no other rule can take
    /// it for an input, and two runs are the same whatever it says. There is one of a run that failed, too.
    Report(RunReport, Of<F, Template>),
}

/// A report on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunReport {
    /// `Log("build.log")`: all that its steps printed.
    Log,
    /// `Messages("messages.json")`: the warnings and errors of compilers and of kbuild in it.
    Messages,
    /// `Metadata("metadata.json")`: all that is needed to do it again.
    Metadata,
}

impl<F: Form> OutputShape<F> {
    /// Where it is below the output directory, or the pattern of what it is.
    pub const fn path(&self) -> &Of<F, Template> {
        let (Self::File(path) | Self::Tree(path) | Self::Glob(path) | Self::Report(_, path)) = self;
        path
    }

    /// Whether it is something that the steps make.
    pub const fn is_made(&self) -> bool {
        !matches!(self, Self::Report(..))
    }
}

//! What a run of an action is given.

use super::cancel::Cancel;
use super::kind::Kinds;
use super::resources::JobServer;
use super::sandbox::Sandbox;
use crate::graph::{Action, NodeId, OutputRef};
use crate::plan::{BuildContext, KeyInputs, Outputs};
use crate::remote::{Meter, Remotes, Traffic};
use crate::store::Artifact;

/// What all runs share.
pub(super) struct RunContext<'a> {
    pub build: &'a BuildContext<'a>,
    pub sandbox: Sandbox,
    pub kinds: &'a dyn Kinds,
    pub jobserver: JobServer,
    pub cancel: &'a Cancel,
    /// Counts downloads from servers that are no remotes.
    pub meter: Meter,
    /// Whether every run starts with an empty output directory.
    pub clean: bool,
    /// Whether runs leave nothing behind: no exported outputs, no output directory to continue in.
    pub ephemeral: bool,
}

impl<'a> RunContext<'a> {
    /// For runs that continue where they may, and leave what they made.
    pub(super) fn new(
        build: &'a BuildContext<'a>,
        kinds: &'a dyn Kinds,
        jobserver: JobServer,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            build,
            sandbox: Sandbox::new(),
            kinds,
            jobserver,
            cancel,
            meter: Meter::default(),
            clean: false,
            ephemeral: false,
        }
    }

    /// All downloads so far.
    pub(super) fn traffic(&self) -> Traffic {
        let remotes = self.build.remotes.map(Remotes::traffic).unwrap_or_default();
        remotes.with(self.meter.traffic())
    }
}

/// An action to run.
pub(super) struct Task<'a> {
    pub name: &'a str,
    pub action: &'a Action,
    pub key_inputs: &'a KeyInputs,
    /// The outputs of the nodes that the action reads from.
    pub outputs_of: &'a dyn Fn(NodeId) -> Outputs,
}

/// Another node's output; `None` if it was not made.
pub(super) fn artifact_of(
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    OutputRef { node, output }: &OutputRef,
) -> Option<Artifact> {
    let outputs = outputs_of(*node);
    outputs.iter().find(|(name, _)| **name == **output).map(|(_, artifact)| *artifact)
}

//! A view of a project: its graph, build context and plan at one time.

use std::collections::HashMap;

use super::claims::claim_all;
use super::error::SessionError;
use super::project::Project;
use super::targets::{Forced, select};
use crate::exec::sandbox::Sandbox;
use crate::exec::trace::Tracer;
use crate::graph::{Graph, NodeId, Selection};
use crate::kinds::AllKinds;
use crate::plan::{BuildContext, Estimate, Plan, Verdict, estimate, plan};
use crate::remote::Remotes;
use crate::report::{Status, collect_status};

/// The graph, build context and plan of a project. Expansion points whose values are known are expanded.
pub struct View<'a> {
    /// The graph.
    pub graph: Graph,
    /// The build context.
    pub context: BuildContext<'a>,
    /// The nodes that were asked for.
    pub selection: Selection,
    /// The decisions of these nodes and of those they depend on.
    pub plan: Plan,
}

/// The graph and the build context of a project, before anything is planned. The graph is expanded while the records of
/// the context are read.
pub fn prepare<'a>(
    project: &'a Project,
    kinds: &'a AllKinds<'a>,
    remotes: Option<&'a Remotes>,
) -> Result<(Graph, BuildContext<'a>), SessionError> {
    let (graph, context) = rayon::join(
        || project.graph(),
        || BuildContext::new(&project.spec, &project.store, kinds, Tracer::probe(&Sandbox::new())),
    );
    let mut context = context?;
    context.module_keys = project.secrets().module_keys(&project.spec);
    context.remotes = remotes;
    Ok((graph?, context))
}

impl<'a> View<'a> {
    /// Plans targets, without running anything.
    pub fn plan(
        project: &'a Project,
        kinds: &'a AllKinds<'a>,
        remotes: Option<&'a Remotes>,
        targets: &[String],
        forced: Forced<'_>,
    ) -> Result<Self, SessionError> {
        let (mut graph, mut context) = prepare(project, kinds, remotes)?;
        let selection = select(targets, &graph)?;
        context.forced = forced.names(&graph, &context)?;
        let plan = plan(&context, &mut graph, &selection)?;
        context.save();
        Ok(Self { graph, context, selection, plan })
    }

    /// The graph, with those expansion points expanded whose values are known.
    pub fn expanded_graph(project: &'a Project, kinds: &'a AllKinds<'a>) -> Result<Graph, SessionError> {
        let (mut graph, context) = prepare(project, kinds, None)?;
        let everything = select(&[], &graph)?;
        // Without a plan, the graph is still right as far as it is expanded.
        let _ = plan(&context, &mut graph, &everything);
        Ok(graph)
    }

    /// The expected duration of the plan on `jobs` cores.
    pub fn estimate(&self, jobs: usize) -> Result<Estimate, SessionError> {
        let durations = self.context.store.durations(self.context.project())?;
        Ok(estimate(&self.graph, &self.plan, jobs, |name| durations.get(name).copied()))
    }

    /// Claims everything that the plan relies on, fresh results included. `false`: a part of it was removed meanwhile.
    pub fn claim(&self) -> Result<bool, SessionError> {
        claim_all(&self.context, &self.graph, &self.plan)
    }

    /// Whether a node was asked for, and is not only a dependency.
    pub fn is_selected(&self, id: NodeId) -> bool {
        self.selection.wants(&self.graph, id)
    }

    /// The planned actions that have a result in the local cache.
    pub fn local_results(&self) -> impl Iterator<Item = NodeId> {
        let is_local = |id| matches!(self.plan.verdict(id), Verdict::Fresh(_) | Verdict::Cached(..));
        let nodes = self.plan.nodes().iter().copied();
        nodes.filter(move |&id| self.graph.node(id).action().is_some() && is_local(id))
    }

    /// Where the planned builds and boots stand.
    pub fn status(&self) -> Result<Status, SessionError> {
        Ok(collect_status(&self.context, &self.graph, &self.plan)?)
    }

    /// The number of bytes that a restore would fetch, for each node that a remote has.
    pub fn bytes_to_restore(&self, remotes: &Remotes) -> Result<HashMap<NodeId, u64>, SessionError> {
        let mut bytes = HashMap::new();
        for id in self.plan.restored(&self.graph, &self.selection) {
            if let Verdict::Remote(_, hit) = self.plan.verdict(id) {
                bytes.insert(id, remotes.lacking(self.context.store, hit)?);
            }
        }
        Ok(bytes)
    }

    /// The number of known results that a remote does not get because they were built by continuing and not verified.
    pub fn held_back(&self, remotes: &Remotes) -> Result<usize, SessionError> {
        if remotes.written().all(|(_, remote)| remote.continued) {
            return Ok(0);
        }
        let unverified = self.context.store.unverified()?;
        let keys = self.plan.nodes().iter().filter_map(|&id| self.plan.strong_key(id));
        Ok(keys.filter(|key| unverified.contains_key(key)).count())
    }

    /// What nodes require and do not find, each once.
    pub fn missing_requirements(&self) -> Vec<&str> {
        let mut missing: Vec<&str> = self.plan.missing_requirements().map(|(_, missing)| missing).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

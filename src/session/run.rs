//! The run loop of a build or a restore: plan, claim, execute, and plan again if a blob was lost on the way.

use std::collections::HashMap;
use std::time::Instant;

use super::claims::claim_plan;
use super::error::SessionError;
use super::project::Project;
use super::targets::{Forced, select};
use super::view::prepare;
use crate::exec::event::{Event, Summary};
use crate::exec::{Cancel, ExecutionResult, Goal, Options, execute};
use crate::graph::{Graph, NodeId};
use crate::kinds::AllKinds;
use crate::kinds::lava_job::Labs;
use crate::plan::{estimate, plan};
use crate::remote::Remotes;
use crate::store::Outcome;

/// A build or a restore of a project.
pub struct BuildSession<'a> {
    /// The project.
    pub project: &'a Project,
    /// Its remotes.
    pub remotes: &'a Remotes,
    /// Its labs.
    pub labs: &'a Labs<'a>,
    /// The targets; none for all.
    pub targets: &'a [String],
    /// The nodes that run even if they are up to date.
    pub forced: Forced<'a>,
    /// How the plan is executed.
    pub options: Options,
}

/// Receives what happens during a run.
pub trait Observer {
    /// An event.
    fn event(&mut self, event: &Event);

    /// A warning about remotes.
    fn warning(&mut self, warning: &str);
}

/// The end of a build or a restore.
pub struct BuildReport {
    /// The graph, expanded.
    pub graph: Graph,
    /// The outcome of each wanted node, with its message.
    pub nodes: Vec<(NodeId, Outcome, Option<String>)>,
    /// The figures of all rounds.
    pub summary: Summary,
    /// Whether a new plan is needed to finish, and none was made.
    pub needs_new_plan: bool,
}

impl BuildSession<'_> {
    /// Plans and executes until nothing is left to do.
    pub fn run(&self, cancel: &Cancel, observer: &mut dyn Observer) -> Result<BuildReport, SessionError> {
        let began = Instant::now();
        let Self { project, remotes, labs, options, .. } = *self;
        let kinds = AllKinds::with_labs(&project.spec, labs);
        let look = || prepare(project, &kinds, Some(remotes));
        let (graph, context) = look()?;
        let selection = select(self.targets, &graph)?;
        let mut forced = self.forced.names(&graph, &context)?;
        // Each round learns of at least one more node that has to run, or of one more remote that does not have a result.
        let last_round = graph.len() * (1 + remotes.len()) + 1;
        let mut prepared = Some((graph, context));
        let mut summary = Summary::default();
        for round in 0..=last_round {
            // Expansion points are closed again in a new graph: their values may have changed.
            let (mut graph, mut context) = prepared.take().map_or_else(look, Ok)?;
            context.forced.clone_from(&forced);
            let plan = plan(&context, &mut graph, &selection)?;
            context.save();
            if round < last_round && !claim_plan(&context, &graph, &plan)? {
                continue;
            }
            // A plan that runs nothing takes no time, so the recorded durations are not read.
            let durations =
                if plan.is_fresh() { HashMap::new() } else { project.store.durations(context.project())? };
            let estimate = estimate(&graph, &plan, options.jobs, |name| durations.get(name).copied());
            let mut emit = |event: &Event| observer.event(event);
            let ended = execute(
                &context, &mut graph, &plan, &selection, &estimate, options, &kinds, &mut emit, cancel,
            )?;
            context.save();
            remotes.warnings().iter().for_each(|warning| observer.warning(warning));
            summary = total(&summary, &ended.summary, round);
            if ended.plan_again && !cancel.is_cancelled() && round < last_round {
                // A node that was skipped is still forced.
                for (id, outcome, _) in &ended.nodes {
                    if *outcome != Outcome::Skipped {
                        forced.remove(&**graph.name(*id));
                    }
                }
                continue;
            }
            summary.duration = began.elapsed();
            observer.event(&Event::Ended(summary.clone()));
            let ExecutionResult { nodes, plan_again: needs_new_plan, .. } = ended;
            // The process is about to end. Freeing the plan of 100,000 nodes piece by piece takes noticeable time.
            std::mem::forget((plan, context));
            return Ok(BuildReport { graph, nodes, summary, needs_new_plan });
        }
        Err(SessionError::environment("blobs are lost from the cache faster than they are made")
            .help("look after the disk that holds it"))
    }
}

impl BuildReport {
    /// Whether boots were left out though nothing failed, as no lab could take them.
    pub fn has_boots_without_lab(&self, goal: Goal) -> bool {
        goal == Goal::Build && self.summary.skipped > 0 && self.summary.failed == 0
    }
}

/// The figures of several rounds: work adds up, the state is that of the last round.
fn total(before: &Summary, last: &Summary, round: usize) -> Summary {
    if round == 0 {
        return last.clone();
    }
    Summary {
        ran: before.ran + last.ran,
        unchanged: before.unchanged + last.unchanged,
        restored: before.restored + last.restored,
        ..last.clone()
    }
}

//! The scheduler: executes a plan on one thread, with a worker thread for each piece of work.
//!
//! | file | contents |
//! | --- | --- |
//! | `state.rs` | the states of a node, and all transitions between them |
//! | `work.rs` | what workers do, and the messages that they send |
//! | `queue.rs` | the order in which ready nodes start |
//! | `core.rs` | the scheduler's data |
//! | `options.rs` | how a plan is executed |
//! | `workload.rs` | the scheduler as a workload of the run loop |
//! | `decide.rs`, `remote_lookup.rs` | decisions; those that ask remotes |
//! | `start.rs` | starting work |
//! | `record.rs` | recording what a run made |
//! | `restore_outputs.rs`, `restore.rs` | putting cached outputs in place; recording that |

mod core;
mod decide;
mod options;
mod queue;
mod record;
mod remote_lookup;
mod restore;
mod restore_outputs;
mod start;
mod state;
mod work;
mod workload;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

pub use self::options::{ExecutionResult, Goal, Options};

use self::core::Scheduler;
use self::queue::ReadyQueue;
use self::remote_lookup::RemoteLookups;
use self::work::State;
use super::cancel::Cancel;
use super::context::RunContext;
use super::error::ExecError;
use super::event::{Event, Summary};
use super::kind::Kinds;
use super::resources::ResourcePool;
use super::run_loop::run_to_end;
use super::transfer_progress::TransferProgress;
use crate::graph::{Graph, Selection};
use crate::plan::{BuildContext, Estimate, Plan};
use crate::store::Outcome;

/// Executes a plan.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and there is one caller")]
pub fn execute(
    build: &BuildContext<'_>,
    graph: &mut Graph,
    plan: &Plan,
    selection: &Selection,
    estimate: &Estimate,
    options: Options,
    kinds: &dyn Kinds,
    emit: &mut dyn FnMut(&Event),
    cancel: &Cancel,
) -> Result<ExecutionResult, ExecError> {
    let began = Instant::now();
    let resources = ResourcePool::of_project(&build.spec.project, options.jobs)?;
    let context = RunContext {
        clean: options.clean,
        ..RunContext::new(build, kinds, resources.jobserver().clone(), cancel)
    };
    let to_restore = match options.goal {
        Goal::Build => HashSet::new(),
        Goal::Restore => plan.restored(graph, selection),
    };
    let mut scheduler = Scheduler {
        context: &context,
        build,
        graph,
        selection,
        options,
        emit,
        resources,
        estimate,
        wanted: plan.nodes().to_vec(),
        to_restore,
        states: Vec::new(),
        queue: ReadyQueue::default(),
        lookups: RemoteLookups::default(),
        active: HashMap::new(),
        messages: HashMap::new(),
        lacking: Vec::new(),
        transfers: TransferProgress::default(),
        summary: Summary::default(),
        stopping: false,
        plan_again: false,
    };
    scheduler.begin(plan);
    run_to_end(&mut scheduler)?;
    let mut result = end(scheduler);
    result.summary.duration = began.elapsed();
    Ok(result)
}

/// Sums up a run that is over. Nodes that have not ended are skipped.
fn end(mut scheduler: Scheduler<'_, '_>) -> ExecutionResult {
    if let Some(event) = scheduler.transfers.last(scheduler.context.traffic()) {
        (scheduler.emit)(&event);
    }
    let mut nodes = Vec::with_capacity(scheduler.wanted.len());
    for &id in &scheduler.wanted {
        let outcome = match &scheduler.states[id.index()] {
            State::Done(known) => known.outcome,
            State::Failed(outcome) => *outcome,
            State::Unwanted | State::Waiting | State::LookingUp | State::Ready(_) | State::Active(_) => {
                scheduler.summary.skipped += 1;
                Outcome::Skipped
            }
        };
        nodes.push((id, outcome, scheduler.messages.remove(&id)));
    }
    ExecutionResult { summary: scheduler.summary, nodes, plan_again: scheduler.plan_again }
}

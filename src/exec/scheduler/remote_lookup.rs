//! Decisions that need answers from remotes, each on a thread of its own: the scheduler goes on meanwhile.

use std::collections::VecDeque;

use super::super::run_loop::Workers;
use super::super::worker::catch_panic;
use super::work::Message;
use crate::graph::NodeId;
use crate::plan::{BuildContext, DetachedDecision, PlanError};

/// How many look-ups run at the same time.
const MAX_CONCURRENT: usize = 8;

/// Look-ups that wait for a thread, and the number of those that run.
#[derive(Default)]
pub(super) struct RemoteLookups {
    waiting: VecDeque<(NodeId, DetachedDecision)>,
    running: usize,
}

impl RemoteLookups {
    pub(super) fn push(&mut self, id: NodeId, lookup: DetachedDecision) {
        self.waiting.push_back((id, lookup));
    }

    /// Whether an answer is to come.
    pub(super) const fn is_active(&self) -> bool {
        self.running > 0
    }

    /// Notes that an answer has come.
    pub(super) const fn ended(&mut self) {
        self.running -= 1;
    }

    /// Starts waiting look-ups.
    pub(super) fn start<'env>(
        &mut self,
        build: &'env BuildContext<'env>,
        workers: &Workers<'_, 'env, Message>,
    ) {
        while self.running < MAX_CONCURRENT
            && let Some((id, lookup)) = self.waiting.pop_front()
        {
            self.running += 1;
            workers.spawn(move || {
                let decided = catch_panic(|| lookup.decide(build)).unwrap_or_else(|bug| {
                    Err(PlanError::Unusable { node: lookup.name().to_owned(), message: bug.to_string() })
                });
                Message::Decided(id, Box::new(decided))
            });
        }
    }
}

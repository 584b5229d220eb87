//! Decisions for which remotes are asked: they take as long as those take, and hold nothing else up.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::thread::Scope;

use super::schedule::{Message, caught};
use crate::graph::NodeId;
use crate::plan::{Apart, PlanError, World};

/// How many nodes are asked for at once.
const AT_ONCE: usize = 8;

/// Nodes that are to be decided, and how many of them are being asked for.
#[derive(Default)]
pub(super) struct Questions {
    waiting: VecDeque<(NodeId, Apart)>,
    asking: usize,
}

impl Questions {
    /// One more.
    pub(super) fn push(&mut self, id: NodeId, question: Apart) {
        self.waiting.push_back((id, question));
    }

    /// Whether an answer is to come, or could be.
    pub(super) fn is_asking(&self) -> bool {
        self.asking > 0
    }

    /// One answer has come.
    pub(super) fn answered(&mut self) {
        self.asking -= 1;
    }

    /// Asks, each on a thread of its own.
    pub(super) fn ask<'scope, 'env>(
        &mut self,
        world: &'env World<'env>,
        scope: &'scope Scope<'scope, 'env>,
        sender: &Sender<Message>,
    ) {
        while self.asking < AT_ONCE
            && let Some((id, question)) = self.waiting.pop_front()
        {
            self.asking += 1;
            let sender = sender.clone();
            scope.spawn(move || {
                let decided = caught(|| question.decide(world)).unwrap_or_else(|bug| {
                    Err(PlanError::Unusable { node: question.name().to_owned(), message: bug.to_string() })
                });
                let _ = sender.send(Message::Asked(id, Box::new(decided)));
            });
        }
    }
}

//! The progress of a plan or a run: which nodes have results, as decisions about other nodes see it.

use super::key_inputs::Dependencies;
use super::verdict::{ActionResult, Verdict};
use crate::graph::{Graph, NodeId};
use crate::store::Outcome;

/// The states of nodes so far: in a plan, or in a run.
pub trait Progress {
    /// The state of a node.
    fn state(&self, id: NodeId) -> State<'_>;
}

/// The state of a node, as the nodes that depend on it see it.
#[derive(Debug)]
pub enum State<'a> {
    /// It has a result.
    Done(&'a ActionResult),
    /// It has not run yet.
    Pending,
    /// It will not have a result.
    Failed,
}

/// Dependencies in a graph.
pub(super) struct InGraph<'a, P> {
    pub graph: &'a Graph,
    pub progress: &'a P,
}

impl<P: Progress> Dependencies for InGraph<'_, P> {
    fn result(&self, id: NodeId) -> Option<&ActionResult> {
        match self.progress.state(id) {
            State::Done(result) => Some(result),
            State::Pending | State::Failed => None,
        }
    }

    fn name(&self, id: NodeId) -> &str {
        self.graph.name(id)
    }
}

/// The verdict of a node whose inputs are not known yet; `None` if they are. A failed dependency takes precedence over
/// pending ones.
pub(super) fn waits(dependencies: impl Iterator<Item = NodeId>, progress: &impl Progress) -> Option<Verdict> {
    let mut pending = Vec::new();
    for dependency in dependencies {
        match progress.state(dependency) {
            State::Done(result) if result.outcome == Outcome::Pass => {}
            State::Done(_) | State::Failed => return Some(Verdict::Blocked(dependency)),
            State::Pending => pending.push(dependency),
        }
    }
    pending.sort_unstable();
    (!pending.is_empty()).then_some(Verdict::Unknown(pending))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Progress of a few nodes: `None` is pending.
    struct Given(Vec<Option<Result<ActionResult, ()>>>);

    impl Progress for Given {
        fn state(&self, id: NodeId) -> State<'_> {
            match &self.0[id.index()] {
                None => State::Pending,
                Some(Ok(result)) => State::Done(result),
                Some(Err(())) => State::Failed,
            }
        }
    }

    #[test]
    fn a_node_waits_for_all_dependencies_unless_one_has_failed() {
        let passed = || Some(Ok(ActionResult::empty()));
        let failed = || Some(Ok(ActionResult { outcome: Outcome::Fail, ..ActionResult::empty() }));
        let cases: [(Vec<_>, &str, &[u32]); 6] = [
            (vec![], "ready", &[]),
            (vec![passed(), passed()], "ready", &[]),
            (vec![None, passed(), None], "unknown", &[0, 2]),
            (vec![None, failed()], "blocked", &[1]),
            (vec![None, Some(Err(()))], "blocked", &[1]),
            (vec![failed(), None], "blocked", &[0]),
        ];
        for (states, word, nodes) in cases {
            let dependencies = (0..u32::try_from(states.len()).unwrap()).rev().map(NodeId::for_test);
            let verdict = waits(dependencies, &Given(states));
            let (found, on) = match &verdict {
                None => ("ready", Vec::new()),
                Some(Verdict::Blocked(on)) => ("blocked", vec![*on]),
                Some(Verdict::Unknown(on)) => ("unknown", on.clone()),
                Some(other) => panic!("{other:?}"),
            };
            let nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId::for_test).collect();
            assert_eq!((found, on), (word, nodes));
        }
    }
}

//! Questions about the graph's shape.

use std::collections::{BTreeSet, HashMap, VecDeque};

use petgraph::Direction;

use super::{Graph, NodeId};

impl Graph {
    /// All nodes that the given ones need, themselves included, those depended on first.
    pub fn closure(&self, roots: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
        self.reach(roots, Direction::Incoming)
    }

    /// The nodes that the given ones need, themselves included, those depended on first; without those that are known
    /// already, and what these need.
    pub fn closure_until(
        &self,
        roots: impl IntoIterator<Item = NodeId>,
        known: impl Fn(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let mut found = BTreeSet::new();
        let mut stack: Vec<NodeId> = roots.into_iter().collect();
        while let Some(id) = stack.pop() {
            if !known(id) && found.insert(id) {
                stack.extend(self.deps(id));
            }
        }
        found.into_iter().collect()
    }

    /// All nodes that the given ones reach, themselves included, those depended on first.
    pub fn reached(&self, roots: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
        self.reach(roots, Direction::Outgoing)
    }

    /// A shortest path along which `from` needs `to`, both included.
    pub fn path(&self, from: NodeId, to: NodeId) -> Option<Vec<NodeId>> {
        let mut came_from = HashMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            if id == to {
                let mut path = vec![to];
                let mut at = to;
                while at != from {
                    at = came_from[&at];
                    path.push(at);
                }
                path.reverse();
                return Some(path);
            }
            for dep in self.deps(id) {
                came_from.entry(dep).or_insert_with(|| {
                    queue.push_back(dep);
                    id
                });
            }
        }
        None
    }

    fn reach(&self, roots: impl IntoIterator<Item = NodeId>, direction: Direction) -> Vec<NodeId> {
        let mut seen = vec![false; self.len()];
        let mut stack: Vec<NodeId> = roots.into_iter().collect();
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut seen[id.index()], true) {
                stack.extend(self.neighbours(id, direction).filter(|next| !seen[next.index()]));
            }
        }
        self.ids().filter(|id| seen[id.index()]).collect()
    }
}

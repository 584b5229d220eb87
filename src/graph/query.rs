//! Questions about the graph's shape.

use petgraph::algo::astar;
use petgraph::graph::NodeIndex;
use petgraph::visit::{Dfs, IntoNeighbors, NodeFiltered, Reversed, VisitMap, Visitable};

use super::{Graph, NodeId};

impl Graph {
    /// The nodes that the given ones need, themselves included, dependencies first.
    pub fn closure(&self, roots: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
        reachable(Reversed(&self.nodes), roots)
    }

    /// As [`closure`](Self::closure), without nodes that are `known` and without what only those need.
    pub fn closure_until(
        &self,
        roots: impl IntoIterator<Item = NodeId>,
        known: impl Fn(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let open = NodeFiltered::from_fn(Reversed(&self.nodes), |node: NodeIndex| !known(node.into()));
        reachable(&open, roots.into_iter().filter(|&root| !known(root)))
    }

    /// The nodes that need one of the given ones, themselves included, dependencies first.
    pub fn reached(&self, roots: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
        reachable(&self.nodes, roots)
    }

    /// A shortest path along which `from` needs `to`, both included.
    pub fn path(&self, from: NodeId, to: NodeId) -> Option<Vec<NodeId>> {
        let is_end = |node| node == to.petgraph();
        let (_, path) = astar(Reversed(&self.nodes), from.petgraph(), is_end, |_| 1_u32, |_| 0)?;
        Some(path.into_iter().map(NodeId::from).collect())
    }
}

fn reachable<G>(graph: G, roots: impl IntoIterator<Item = NodeId>) -> Vec<NodeId>
where
    G: IntoNeighbors<NodeId = NodeIndex> + Visitable<NodeId = NodeIndex>,
    G::Map: VisitMap<NodeIndex>,
{
    let mut found = Vec::new();
    let mut walk = Dfs::empty(graph);
    for root in roots {
        walk.move_to(root.petgraph());
        while let Some(node) = walk.next(graph) {
            found.push(NodeId::from(node));
        }
    }
    found.sort_unstable();
    found
}

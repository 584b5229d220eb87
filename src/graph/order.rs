//! The order of nodes: each after those it reads, and otherwise as declared.

use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::VecDeque;

/// A graph of indices. Edges point from a dependency to what reads it.
pub(super) type Dependencies = DiGraph<(), ()>;

/// The nodes in an order in which each comes after its dependencies, and otherwise keeps its place. The order is that of
/// Kahn's algorithm with a queue; petgraph's `toposort` would follow one dependency to its end first.
///
/// # Errors
/// The nodes of a cycle, the first repeated at the end.
pub(super) fn order(graph: &Dependencies) -> Result<Vec<usize>, Vec<usize>> {
    let degree = |node| graph.edges_directed(node, Direction::Incoming).count();
    let mut waits_for: Vec<usize> = graph.node_indices().map(degree).collect();
    let mut ready: VecDeque<NodeIndex> =
        graph.node_indices().filter(|node| waits_for[node.index()] == 0).collect();
    let mut order = Vec::with_capacity(graph.node_count());
    while let Some(node) = ready.pop_front() {
        order.push(node.index());
        let mut readers: Vec<_> = graph.neighbors_directed(node, Direction::Outgoing).collect();
        // petgraph returns the newest edge first.
        readers.reverse();
        for reader in readers {
            waits_for[reader.index()] -= 1;
            if waits_for[reader.index()] == 0 {
                ready.push_back(reader);
            }
        }
    }
    if order.len() == graph.node_count() { Ok(order) } else { Err(cycle(graph)) }
}

/// A cycle, against the direction of the edges: each node reads the next.
fn cycle(graph: &Dependencies) -> Vec<usize> {
    let is_cycle = |nodes: &Vec<NodeIndex>| nodes.len() > 1 || graph.contains_edge(nodes[0], nodes[0]);
    let tangle =
        tarjan_scc(graph).into_iter().filter(is_cycle).min_by_key(|nodes| nodes.iter().min().copied());
    let tangle = tangle.expect("a graph that can't be ordered has a cycle");
    let mut walked: Vec<NodeIndex> = Vec::new();
    let mut at = *tangle.iter().min().expect("a component has a node");
    while !walked.contains(&at) {
        walked.push(at);
        let mut dependencies = graph.neighbors_directed(at, Direction::Incoming);
        at = dependencies
            .find(|dependency| tangle.contains(dependency))
            .expect("each has one in its component");
    }
    let start = walked.iter().position(|&node| node == at).expect("the walk came back to it");
    walked[start..].iter().chain([&at]).map(|node| node.index()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph with this many nodes, and edges from dependencies to what reads them.
    fn graph(count: usize, edges: &[(u32, u32)]) -> Dependencies {
        let mut graph = Dependencies::new();
        for _ in 0..count {
            graph.add_node(());
        }
        graph.extend_with_edges(edges);
        graph
    }

    #[test]
    fn dependencies_come_first_and_the_rest_keeps_its_place() {
        for (count, edges, expected) in [
            (0, &[][..], Vec::new()),
            (3, &[], vec![0, 1, 2]),
            (3, &[(2, 0)], vec![1, 2, 0]),
            (4, &[(0, 3), (0, 1), (3, 2), (1, 2)], vec![0, 3, 1, 2]),
            // Two outputs of one node are read by another.
            (2, &[(1, 0), (1, 0)], vec![1, 0]),
        ] {
            assert_eq!(order(&graph(count, edges)), Ok(expected), "{edges:?}");
        }
    }

    #[test]
    fn a_cycle_is_named_in_the_order_in_which_its_nodes_read_each_other() {
        for (count, edges, expected) in [
            (1, &[(0, 0)][..], vec![0, 0]),
            (3, &[(0, 1), (1, 2), (2, 1)], vec![1, 2, 1]),
            (4, &[(1, 0), (2, 1), (3, 2), (0, 3)], vec![0, 1, 2, 3, 0]),
        ] {
            assert_eq!(order(&graph(count, edges)), Err(expected), "{edges:?}");
        }
    }
}

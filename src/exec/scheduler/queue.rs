//! The nodes that are ready to start, in the order in which they start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem::take;
use std::time::Duration;

/// Ready nodes by priority, and those among them whose action another process is running.
pub(super) struct ReadyQueue<I> {
    ready: BinaryHeap<Entry<I>>,
    locked: Vec<Entry<I>>,
}

/// A ready node. The greatest entry starts first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry<I> {
    /// Nodes that need no core of this machine start first: nothing else waits for them.
    is_remote: bool,
    /// The expected time from the start of this node to the end of the last one that depends on it. The node with the
    /// longest starts first.
    critical_path: Duration,
    /// The order of the graph decides between equals.
    id: Reverse<I>,
}

impl<I: Ord + Copy> Entry<I> {
    pub(super) const fn new(id: I, is_remote: bool, critical_path: Duration) -> Self {
        Self { is_remote, critical_path, id: Reverse(id) }
    }

    pub(super) const fn id(&self) -> I {
        self.id.0
    }
}

impl<I: Ord> Default for ReadyQueue<I> {
    fn default() -> Self {
        Self { ready: BinaryHeap::new(), locked: Vec::new() }
    }
}

impl<I: Ord> ReadyQueue<I> {
    pub(super) fn push(&mut self, entry: Entry<I>) {
        self.ready.push(entry);
    }

    pub(super) fn pop(&mut self) -> Option<Entry<I>> {
        self.ready.pop()
    }

    /// Sets a node aside: another process holds the lock of its action.
    pub(super) fn set_aside(&mut self, entry: Entry<I>) {
        self.locked.push(entry);
    }

    /// Makes the nodes that were set aside ready again, so that their locks are tried.
    pub(super) fn retry_locked(&mut self) {
        self.ready.extend(take(&mut self.locked));
    }

    /// Whether any node waits for another process.
    pub(super) fn has_locked(&self) -> bool {
        !self.locked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_nodes_start_first_then_the_longest_path_then_the_order_of_the_graph() {
        let mut queue = ReadyQueue::default();
        for (id, is_remote, seconds) in [(1, false, 5), (2, false, 9), (3, true, 1), (4, false, 9)] {
            queue.push(Entry::new(id, is_remote, Duration::from_secs(seconds)));
        }
        let order: Vec<i32> = std::iter::from_fn(|| queue.pop()).map(|entry| entry.id()).collect();
        assert_eq!(order, [3, 2, 4, 1]);
    }

    #[test]
    fn a_node_that_was_set_aside_is_ready_when_it_is_tried_again() {
        let mut queue = ReadyQueue::default();
        queue.set_aside(Entry::new(1, false, Duration::ZERO));
        assert!(queue.has_locked());
        assert_eq!(queue.pop(), None);
        queue.retry_locked();
        assert!(!queue.has_locked());
        assert_eq!(queue.pop().map(|entry| entry.id()), Some(1));
    }
}

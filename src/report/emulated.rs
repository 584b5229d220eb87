//! Notes on the cost of running a root's programs under qemu-user.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::style::Style;
use crate::graph::Graph;
use crate::plan::Plan;
use crate::spec::model::RootMode;

/// The CPU time of a kernel build in each mode, as a multiple of that of a cross compiler: for the same objects of an arm64
/// kernel under QEMU 7.2 (`make bench-roots`, docs/roots.md).
const EMULATED: &str = "13";
const MIXED: &str = "10";
const HYBRID: &str = "1.3";

/// One line for each emulated machine and mode of the actions that will run, with the faster alternative.
pub(super) fn cost(graph: &Graph, plan: &Plan, style: Style) -> String {
    let mut counts: BTreeMap<_, (usize, &RootMode)> = BTreeMap::new();
    for &id in plan.nodes().iter().filter(|&&id| plan.verdict(id).may_run()) {
        let Some(action) = graph.node(id).action() else { continue };
        if let (Some(machine), Some(root)) = (action.machine, &action.root) {
            counts.entry((machine, root.mode.name())).or_insert((0, &root.mode)).0 += 1;
        }
    }
    let mut out = String::new();
    for ((machine, name), (count, mode)) in counts {
        let nodes = if count == 1 { "1 node has".to_owned() } else { format!("{count} nodes have") };
        let (times, less) = match mode {
            RootMode::Emulated => (
                EMULATED,
                format!(
                    "; `mode: Mixed` takes {MIXED} times as much, `mode: Hybrid(..)` {HYBRID} times (docs/roots.md)"
                ),
            ),
            RootMode::Mixed => {
                (MIXED, format!("; `mode: Hybrid(..)` takes {HYBRID} times as much (docs/roots.md)"))
            }
            RootMode::Hybrid(_) => (HYBRID, String::new()),
        };
        let _ = writeln!(
            out,
            "{} {nodes} programs of {machine} run by qemu-user, in mode {name}: about {times} times the CPU time of a cross \
             compiler{less}",
            style.warn("note:")
        );
    }
    out
}

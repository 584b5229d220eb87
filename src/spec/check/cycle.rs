//! Cycles, each named whole.

use std::collections::HashMap;

use crate::spec::diagnostic::{Diagnostic, Span};

/// An edge to a node, and where the spec draws it.
pub(super) type Edge<'a> = (&'a str, Span);

enum Seen {
    /// On the path being followed, at that depth.
    Open(usize),
    Done,
}

/// The cycles of a graph: at least one of each tangle. Not recursive, for chains of 100,000 actions.
pub(super) fn cycles<'a>(
    nodes: impl IntoIterator<Item = &'a str>,
    edges: impl Fn(&'a str) -> Vec<Edge<'a>>,
) -> Vec<Vec<Edge<'a>>> {
    let mut seen: HashMap<&str, Seen> = HashMap::new();
    let mut found = Vec::new();
    for root in nodes {
        if seen.contains_key(root) {
            continue;
        }
        seen.insert(root, Seen::Open(0));
        // The edges not followed yet of each node on the path, and the edge followed last.
        let mut path = vec![(root, edges(root).into_iter(), None)];
        while let Some((_, rest, followed)) = path.last_mut() {
            let Some(edge) = rest.next() else {
                if let Some((node, ..)) = path.pop() {
                    seen.insert(node, Seen::Done);
                }
                continue;
            };
            *followed = Some(edge);
            match seen.get(edge.0) {
                None => {
                    seen.insert(edge.0, Seen::Open(path.len()));
                    path.push((edge.0, edges(edge.0).into_iter(), None));
                }
                Some(Seen::Open(depth)) => {
                    found.push(path[*depth..].iter().filter_map(|(_, _, followed)| *followed).collect());
                }
                Some(Seen::Done) => {}
            }
        }
    }
    found
}

/// "rules need each other: `a -> b -> a`", with a label for each edge.
pub(super) fn describe(code: &'static str, what: &str, cycle: &[Edge<'_>]) -> Diagnostic {
    // More labels than this are noise.
    const LABELS: usize = 8;
    let last = cycle.last().map(|(node, _)| *node);
    let names: Vec<_> = last.into_iter().chain(cycle.iter().map(|(node, _)| *node)).collect();
    let mut diagnostic = Diagnostic::error(code, format!("{what}: {}", names.join(" -> ")));
    for (pair, (_, span)) in names.windows(2).zip(cycle).take(LABELS) {
        diagnostic = diagnostic.label(*span, format!("`{}` needs `{}`", pair[0], pair[1]));
    }
    diagnostic.help("take out one of these")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::diagnostic::FileId;

    #[test]
    fn whole_cycles_are_found_and_diamonds_are_not() {
        let span = Span { file: FileId(0), start: 0, end: 0 };
        let edges = |node| match node {
            "a" => vec![("b", span), ("c", span)],
            "b" | "c" => vec![("d", span)],
            "d" => vec![("e", span)],
            "e" => vec![("d", span)],
            "f" => vec![("f", span)],
            _ => vec![],
        };
        let found = cycles(["a", "f"], edges);
        let names: Vec<Vec<_>> =
            found.iter().map(|cycle| cycle.iter().map(|(node, _)| *node).collect()).collect();
        assert_eq!(names, [vec!["e", "d"], vec!["f"]]);
        assert_eq!(describe("x-cycle", "things", &found[0]).message, "things: d -> e -> d");
    }
}

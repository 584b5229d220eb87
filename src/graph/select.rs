//! Targets: the nodes that a command line names.
//!
//! A target is a node's whole name, a glob over names, `RULE:` for all nodes of a rule, or a build's identity
//! (`source/arch/defconfig/toolchain`) for all nodes of that build.

use std::collections::BTreeSet;

use globset::{Glob, GlobMatcher};

use super::{Graph, NodeId, NodeKind};

/// The nodes that are wanted, including those that an expansion adds later.
#[derive(Debug, Default)]
pub struct Selection {
    /// If empty, all nodes are wanted.
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    /// Matches whole names.
    matcher: GlobMatcher,
    /// The prefix of every name that matches.
    prefix: String,
}

/// A target that selects nothing.
#[derive(Debug, thiserror::Error)]
pub enum UnknownTarget {
    /// No node has this name.
    #[error("no node is named {target:?}")]
    NoMatch {
        /// As typed.
        target: String,
        /// Similar names.
        similar: Vec<String>,
    },
    /// A glob that can't be parsed.
    #[error("{target:?} is not a glob: {reason}")]
    BadGlob {
        /// As typed.
        target: String,
        /// Why.
        reason: String,
    },
}

impl Selection {
    /// Parses targets, and checks that each selects a node of this graph.
    ///
    /// # Errors
    /// One error for each target that selects nothing.
    pub fn parse(targets: &[String], graph: &Graph) -> Result<Self, Vec<UnknownTarget>> {
        let mut selection = Self::default();
        let mut unknown = Vec::new();
        for text in targets {
            match Target::parse(text) {
                Ok(target) if graph.ids().any(|id| target.wants(graph, id)) => selection.targets.push(target),
                Ok(_) => unknown
                    .push(UnknownTarget::NoMatch { target: text.clone(), similar: similar(text, graph) }),
                Err(error) => unknown.push(error),
            }
        }
        if unknown.is_empty() { Ok(selection) } else { Err(unknown) }
    }

    /// Whether a node is wanted. An expansion point is wanted if a node that it may become is.
    pub fn wants(&self, graph: &Graph, id: NodeId) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|target| target.wants(graph, id))
    }

    /// Whether a name is wanted. The node need not be in the graph.
    pub fn wants_name(&self, name: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|target| target.matcher.is_match(name))
    }

    /// The wanted nodes with all that they need, dependencies first.
    pub fn nodes(&self, graph: &Graph) -> Vec<NodeId> {
        if self.targets.is_empty() {
            return graph.ids().collect();
        }
        graph.closure(graph.ids().filter(|&id| self.wants(graph, id)))
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, UnknownTarget> {
        let pattern = if text.ends_with(':') {
            format!("{text}*")
        } else if text.contains(':') {
            text.to_owned()
        } else {
            format!("*:{{{text},{text}/*}}")
        };
        let glob = Glob::new(&pattern).map_err(|error| UnknownTarget::BadGlob {
            target: text.to_owned(),
            reason: error.kind().to_string(),
        })?;
        let prefix = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default().to_owned();
        Ok(Self { matcher: glob.compile_matcher(), prefix })
    }

    fn wants(&self, graph: &Graph, id: NodeId) -> bool {
        let node = graph.node(id);
        if self.matcher.is_match(&*node.name) {
            return true;
        }
        match &node.kind {
            NodeKind::Expansion(_) if graph.expansion(id).is_none() => {
                let stem = node.name.trim_end_matches('*');
                self.prefix.starts_with(stem) || (!self.prefix.is_empty() && stem.starts_with(&self.prefix))
            }
            _ => false,
        }
    }
}

/// Up to three similar targets: nodes, all nodes of a rule, or builds.
fn similar(target: &str, graph: &Graph) -> Vec<String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for id in graph.ids() {
        let name = graph.name(id);
        known.insert(name.to_string());
        known.insert(format!("{}:", name.rule()));
        known.insert(name.instance().trim_end_matches("/*").to_owned());
    }
    // A glob is compared by its literal prefix.
    let literal = target.trim_end_matches('*');
    let mut scored: Vec<(f64, &String)> = known
        .iter()
        .map(|name| (strsim::jaro_winkler(literal, name), name))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

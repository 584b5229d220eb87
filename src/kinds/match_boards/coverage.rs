//! Match coverage: boards that no build matches, and builds that match no board, as far as a plan knows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rayon::prelude::*;

use super::{BOARDS, CONFIG, named};
use crate::graph::{Graph, NodeId};
use crate::kernel::config::KConfig;
use crate::kernel::predicate::Predicate;
use crate::plan::{BuildContext, InputName, Plan};
use crate::spec::model::Kind;
use crate::store::{Artifact, Outcome};

/// The unmatched boards and builds of a plan.
#[derive(Debug, Default)]
pub struct MatchCoverage {
    /// Boards that no build can boot; `None` unless all matches are known.
    pub boards: Option<Vec<UnmatchedBoard>>,
    /// Builds that no board can boot.
    pub builds: Vec<String>,
    /// The number of builds whose match is not known yet.
    pub open: usize,
}

/// A board that no build can boot.
#[derive(Debug, PartialEq, Eq)]
pub struct UnmatchedBoard {
    /// The board.
    pub board: String,
    /// The build that fails the fewest terms of the board's predicate, with the failing terms.
    pub nearest: Option<(String, String)>,
}

/// A build with a known match.
struct Build<'a> {
    name: &'a str,
    boards: Vec<String>,
    config: Option<(NodeId, Artifact)>,
}

/// The unmatched boards and builds of a plan. `None` where the project has no boards or the graph has no matches.
///
/// Only cached results are known; unreadable ones count as unknown, so this never fails.
pub fn match_coverage(context: &BuildContext<'_>, graph: &Graph, plan: &Plan) -> Option<MatchCoverage> {
    let is_match =
        |id: &NodeId| graph.node(*id).action().is_some_and(|action| action.rule.decl.kind == Kind::Match);
    let matches: Vec<NodeId> = graph.ids().filter(is_match).collect();
    if matches.is_empty() || context.spec.project.boards.is_empty() {
        return None;
    }
    let mut lists = HashMap::new();
    let (mut builds, mut open) = (Vec::new(), BTreeSet::new());
    for &id in &matches {
        match known_match(context, graph, plan, id, &mut lists) {
            Some(build) => builds.push(build),
            None => drop(open.insert(graph.name(id).instance())),
        }
    }
    let mut unmatched: BTreeMap<&str, &Predicate> = named(context.spec).collect();
    // A project may have several match rules; a build that any of them matches is matched.
    let mut matched: BTreeMap<&str, bool> = BTreeMap::new();
    for build in &builds {
        *matched.entry(build.name).or_default() |= !build.boards.is_empty();
        for board in &build.boards {
            unmatched.remove(board.as_str());
        }
    }
    let builds_without_board =
        matched.into_iter().filter(|(build, matched)| !matched && !open.contains(build));
    Some(MatchCoverage {
        boards: open.is_empty().then(|| unmatched_boards(context, &builds, &unmatched)),
        builds: builds_without_board.map(|(build, _)| build.to_owned()).collect(),
        open: open.len(),
    })
}

/// A known match. `lists` caches the boards by artifact, as many builds match the same boards.
fn known_match<'a>(
    context: &BuildContext<'_>,
    graph: &'a Graph,
    plan: &Plan,
    id: NodeId,
    lists: &mut HashMap<Artifact, Vec<String>>,
) -> Option<Build<'a>> {
    let (name, action) = (graph.name(id), graph.node(id).action()?);
    let list = output(plan, id, BOARDS)?;
    let boards = match lists.get(&list) {
        Some(boards) => boards.clone(),
        None => {
            let bytes = context
                .artifacts()
                .read(Some(&list), InputName { from: id, input: BOARDS, node: name })
                .ok()?;
            lists.entry(list).or_insert(serde_json::from_slice(&bytes).ok()?).clone()
        }
    };
    let config = action
        .output_read(CONFIG)
        .and_then(|config| Some((config.node, output(plan, config.node, &config.output)?)));
    Some(Build { name: name.instance(), boards, config })
}

/// A known output.
fn output(plan: &Plan, id: NodeId, output: &str) -> Option<Artifact> {
    let known = plan.decision(id)?.verdict.known().filter(|known| known.outcome == Outcome::Pass)?;
    known.outputs.iter().find(|(name, _)| name == output).map(|(_, artifact)| *artifact)
}

/// The unmatched boards with their nearest builds. Reads `.config`s only if there are any.
fn unmatched_boards(
    context: &BuildContext<'_>,
    builds: &[Build<'_>],
    boards: &BTreeMap<&str, &Predicate>,
) -> Vec<UnmatchedBoard> {
    if boards.is_empty() {
        return Vec::new();
    }
    let symbols: BTreeSet<&str> = boards.values().flat_map(|requires| requires.symbols()).collect();
    // The first build stands for all with an equal configuration.
    let mut seen = HashSet::new();
    let first = |build: &&Build<'_>| build.config.is_some_and(|(_, config)| seen.insert(config));
    let distinct: Vec<&Build<'_>> = builds.iter().filter(first).collect();
    let read = |build: &&Build<'_>| {
        let (node, config) = build.config?;
        let bytes = context
            .artifacts()
            .read(Some(&config), InputName { from: node, input: CONFIG, node: build.name })
            .ok()?;
        let (config, _) = KConfig::parse(&bytes);
        Some(config.projection(symbols.iter().copied()))
    };
    let values: Vec<_> = distinct.par_iter().map(read).collect();
    let known: Vec<_> =
        distinct.iter().zip(values).filter_map(|(build, values)| Some((build.name, values?))).collect();
    let nearest = |requires: &Predicate| {
        let (build, values) = known.iter().min_by_key(|(_, values)| requires.lacking(values))?;
        Some(((*build).to_owned(), requires.failing(values)?))
    };
    boards
        .iter()
        .map(|(board, requires)| UnmatchedBoard { board: (*board).to_owned(), nearest: nearest(requires) })
        .collect()
}

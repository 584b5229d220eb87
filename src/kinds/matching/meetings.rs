//! Boards and builds that never meet, as far as a plan knows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rayon::prelude::*;

use super::{BOARDS, CONFIG, named};
use crate::graph::{Graph, Input, NodeId};
use crate::kernel::config::KConfig;
use crate::kernel::predicate::Predicate;
use crate::plan::{Plan, World};
use crate::spec::model::Kind;
use crate::store::{Artifact, Outcome};

/// Who meets nobody.
#[derive(Debug, Default)]
pub struct Meetings {
    /// Boards that no build can boot; `None` where not all builds are known.
    pub boards: Option<Vec<Lonely>>,
    /// Builds that no board can boot.
    pub builds: Vec<String>,
    /// How many builds are not known yet: they may meet any board.
    pub open: usize,
}

/// A board that no build can boot.
#[derive(Debug, PartialEq, Eq)]
pub struct Lonely {
    /// The board.
    pub board: String,
    /// The build of which the least would have to be otherwise, with what of the board's predicate fails there.
    pub nearest: Option<(String, String)>,
}

/// A build of which the match is known.
struct Build<'a> {
    name: &'a str,
    boards: Vec<String>,
    config: Option<(NodeId, Artifact)>,
}

/// Looks for boards and builds that never meet. `None` where the project has no boards, or the graph no matches: then
/// nobody is meant to meet.
///
/// Only what is in the cache counts as known, and what can't be read there is not known: nothing of this fails.
pub fn meetings(world: &World<'_>, graph: &Graph, plan: &Plan) -> Option<Meetings> {
    let is_match =
        |id: &NodeId| graph.node(*id).action().is_some_and(|action| action.rule.rule.kind == Kind::Match);
    let matches: Vec<NodeId> = graph.ids().filter(is_match).collect();
    if matches.is_empty() || world.spec.project.boards.is_empty() {
        return None;
    }
    let mut lists = HashMap::new();
    let (mut builds, mut open) = (Vec::new(), BTreeSet::new());
    for &id in &matches {
        match look(world, graph, plan, id, &mut lists) {
            Some(build) => builds.push(build),
            None => drop(open.insert(build_of(graph.name(id)))),
        }
    }
    let mut boards: BTreeMap<&str, &Predicate> = named(world.spec).collect();
    // A project may match builds by more rules than one: any of them will do.
    let mut met: BTreeMap<&str, bool> = BTreeMap::new();
    for build in &builds {
        *met.entry(build.name).or_default() |= !build.boards.is_empty();
        for board in &build.boards {
            boards.remove(board.as_str());
        }
    }
    let unmet = met.into_iter().filter(|(build, met)| !met && !open.contains(build));
    Some(Meetings {
        boards: open.is_empty().then(|| lonely(world, &builds, &boards)),
        builds: unmet.map(|(build, _)| build.to_owned()).collect(),
        open: open.len(),
    })
}

/// `linux-6.1/x86_64/tiny-pc/gcc`, of a node's name.
fn build_of(node: &str) -> &str {
    node.split_once(':').map_or(node, |(_, build)| build)
}

/// What a match came to. Many builds come to the same list of boards, which is read once.
fn look<'a>(
    world: &World<'_>,
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
            let bytes = world.read_artifact(Some(&list), id, BOARDS, name).ok()?;
            lists.entry(list).or_insert(serde_json::from_slice(&bytes).ok()?).clone()
        }
    };
    let config = action.inputs.iter().find_map(|(input, declared)| match declared {
        Input::Output { node, output: wanted } if &**input == CONFIG => {
            Some((*node, output(plan, *node, wanted)?))
        }
        _ => None,
    });
    Some(Build { name: build_of(name), boards, config })
}

/// An output that is known.
fn output(plan: &Plan, id: NodeId, output: &str) -> Option<Artifact> {
    let known = plan.decision(id)?.verdict.known().filter(|known| known.outcome == Outcome::Pass)?;
    known.outputs.iter().find(|(name, _)| name == output).map(|(_, artifact)| *artifact)
}

/// Of these boards, which no build can boot, the nearest builds. Only for them are `.config`s read.
fn lonely(world: &World<'_>, builds: &[Build<'_>], boards: &BTreeMap<&str, &Predicate>) -> Vec<Lonely> {
    if boards.is_empty() {
        return Vec::new();
    }
    let symbols: BTreeSet<&str> = boards.values().flat_map(|requires| requires.symbols()).collect();
    // Of equal configurations the first build is named.
    let mut seen = HashSet::new();
    let first = |build: &&Build<'_>| build.config.is_some_and(|(_, config)| seen.insert(config));
    let distinct: Vec<&Build<'_>> = builds.iter().filter(first).collect();
    let read = |build: &&Build<'_>| {
        let (node, config) = build.config?;
        let bytes = world.read_artifact(Some(&config), node, CONFIG, build.name).ok()?;
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
        .map(|(board, requires)| Lonely { board: (*board).to_owned(), nearest: nearest(requires) })
        .collect()
}

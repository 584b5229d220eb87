//! Affected: which nodes a change of a source touches, down to the boards. Told from what is recorded, before the
//! change is applied: neither the tree nor the new state of it is looked at.
//!
//! A node is touched where the change reaches an entry of its last path set. What is in doubt counts as touched; where
//! a change does not say enough, the listings that were recorded with the run tell what stood there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use roaring::RoaringBitmap;
use serde::Serialize;

use super::decide::counts;
use super::reach::{Reach, Touch};
use super::verdict::Known;
use super::world::{PlanError, World};
use crate::digest::Digest;
use crate::graph::{Action, Graph, Input, NodeId, NodeKind};
use crate::source::patch::{self, Link, Touched};
use crate::source::{EntryKind, Kind, Listing, Provenance, split};
use crate::store::{NodeState, Outcome, Store, StoredReads};

/// How many paths a node names that reach it; the rest are counted.
const NAMED: usize = 10;

/// What a change does to each node of the graph.
#[derive(Debug)]
pub struct Affected {
    /// The nodes, those depended on first. Expansion points that have become their nodes are among them: what they
    /// become may change.
    pub nodes: Vec<(NodeId, Effect)>,
    /// Whether the change is of files that the source had when it was last recorded: not one of those that it takes to
    /// be there is known. `None` where nothing is recorded, or the change takes none to be there.
    pub fits: Option<bool>,
}

/// What a change does to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It runs: the change reaches what it read.
    Touched {
        /// Each path that reaches it, with the entry that it reaches; the plainest first.
        because: Vec<Because>,
        /// How many more paths there are.
        more: usize,
    },
    /// It runs if the outputs of what it depends on come out different.
    MayFollow {
        /// A node that it depends on, which is touched, or may follow itself.
        through: NodeId,
    },
    /// What is recorded can't tell.
    Unknown(Unknown),
    /// Nothing of it is reached.
    Untouched,
}

/// Why nothing can be told of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// There is no record of it.
    NeverRan,
    /// Its last run did not come to an outcome that counts, so it runs anyway.
    LastRun(Outcome),
    /// It depends on a node of which nothing can be told.
    Needs(NodeId),
}

impl Effect {
    /// The effect in one word, or two.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Touched { .. } => "touched",
            Self::MayFollow { .. } => "may-follow",
            Self::Unknown(_) => "unknown",
            Self::Untouched => "untouched",
        }
    }
}

/// A path that changes, and what of the node's reads it reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Because {
    /// What counted.
    #[serde(rename = "because")]
    pub by: By,
    /// The path that changes.
    pub path: String,
    /// What happens to it.
    pub change: Happens,
    /// The file that was read, or the directory that was looked into.
    pub entry: String,
}

/// What of a node's reads a change reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A file that it read.
    File,
    /// A file of the name of one that it searched for.
    Namesake,
    /// A name in a directory in which it looked.
    Name,
    /// Something below a directory that counts whole.
    Tree,
    /// A symbolic link.
    Link,
    /// All of the tree: what it read is not known.
    Whole,
    /// The tree itself, which the node makes.
    Source,
}

/// What happens to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happens {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content.
    Content,
    /// Whether it is executable.
    Mode,
    /// More than one of these.
    Replaced,
    /// Any of these.
    Unknown,
}

impl From<patch::Touch> for Happens {
    fn from(touch: patch::Touch) -> Self {
        match touch {
            patch::Touch::Added => Self::Added,
            patch::Touch::Removed => Self::Removed,
            patch::Touch::Content => Self::Content,
            patch::Touch::Mode => Self::Mode,
            patch::Touch::Replaced => Self::Replaced,
            patch::Touch::Unknown => Self::Unknown,
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, path, change, entry } = self;
        let happens = match change {
            Happens::Added => "is new",
            Happens::Removed => "is gone",
            Happens::Content => "changes",
            Happens::Mode => "changes its mode",
            Happens::Replaced => "is replaced",
            Happens::Unknown => "may have changed",
        };
        write!(f, "{path} {happens}")?;
        let dir = if entry.is_empty() { "the tree's root" } else { entry };
        match by {
            By::File if entry == path => Ok(()),
            By::File => write!(f, ", and {entry} was read"),
            By::Namesake => write!(f, ", and {entry} was searched for"),
            By::Name => write!(f, ", and {dir} was looked into"),
            By::Tree if entry.is_empty() => write!(f, ", and all of the tree counts"),
            By::Tree => write!(f, ", and all of {entry} counts"),
            By::Link => write!(f, ", and is or may be a symbolic link"),
            By::Whole => write!(f, ", and all of the tree counts: what was read is not known"),
            By::Source => write!(f, ", so the tree is another"),
        }
    }
}

/// Tells which nodes a change of a source touches. Expansion points are expanded as their nodes last were.
pub fn affected(
    world: &World<'_>,
    graph: &mut Graph,
    source: &str,
    change: &[Touched],
) -> Result<Affected, PlanError> {
    expand_as_recorded(world, graph)?;
    let reach = Reach::new(world.store.entries()?.into());
    let mut reached = Reached {
        store: world.store,
        change,
        gone: gone(change),
        kept: kept(change),
        reach: &reach,
        hits: Hits::of(&reach, change),
        then: Then::new(world.store),
        path_sets: HashMap::new(),
        resolved: HashMap::new(),
    };
    let mut effects: Vec<Effect> = Vec::with_capacity(graph.len());
    let mut newest: Option<(&NodeState, &str)> = None;
    for id in graph.ids() {
        let effect = match &graph.node(id).kind {
            NodeKind::Source(made) if *made.source == *source => reached.all(By::Source),
            NodeKind::Source(_) => Effect::Untouched,
            NodeKind::Expansion(expansion) if graph.expansion(id).is_some() => {
                match effects[expansion.from.node.index()] {
                    // It has become its nodes; whether it becomes others hangs on the list alone.
                    Effect::Touched { .. } | Effect::MayFollow { .. } => {
                        Effect::MayFollow { through: expansion.from.node }
                    }
                    _ => Effect::Untouched,
                }
            }
            NodeKind::Expansion(_) => follows(graph, id, &effects),
            NodeKind::Action(action) => match world.previous.get(&**graph.name(id)) {
                None => Effect::Unknown(Unknown::NeverRan),
                Some(state) => {
                    let inputs = inputs(action, source);
                    if let Some(input) = inputs.first()
                        && newest.is_none_or(|(newest, _)| newest.run < state.run)
                    {
                        newest = Some((state, input));
                    }
                    let least = world.least_provenance(&action.rule.decl);
                    match (reached.node(state, &inputs, least)?, follows(graph, id, &effects)) {
                        (touched @ Effect::Touched { .. }, _) => touched,
                        (_, follows @ Effect::MayFollow { .. }) => follows,
                        _ if !counts(action, state.outcome) => {
                            Effect::Unknown(Unknown::LastRun(state.outcome))
                        }
                        (_, follows) => follows,
                    }
                }
            },
        };
        effects.push(effect);
    }
    let tree = newest.and_then(|(state, input)| {
        state.record()?.trees.into_iter().find(|(name, _)| name == input).map(|(_, digest)| digest)
    });
    let fits = tree.and_then(|tree| reached.fits(&tree));
    Ok(Affected { nodes: graph.ids().zip(effects).collect(), fits })
}

/// Expands what the last runs say of boards. Where an output is not known any more, the point stays.
fn expand_as_recorded(world: &World<'_>, graph: &mut Graph) -> Result<(), PlanError> {
    for id in graph.ids() {
        let NodeKind::Expansion(expansion) = &graph.node(id).kind else { continue };
        let from = expansion.from.node;
        let Some(state) = world.previous.get(&**graph.name(from)) else { continue };
        let Some(record) = state.record().filter(|_| state.outcome == Outcome::Pass) else { continue };
        let known = Known { outcome: state.outcome, outputs: record.outputs.into(), run: Some(state.run) };
        match world.expansion_values(&known, from, &expansion.from.output, graph.name(id)) {
            Ok(boards) => {
                graph.expand(id, &boards)?;
            }
            Err(PlanError::Store(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(())
}

/// The inputs of an action that are this source.
fn inputs<'a>(action: &'a Action, source: &str) -> Vec<&'a str> {
    let is = |input: &Input| matches!(input, Input::Source { name, .. } if **name == *source);
    action.inputs.iter().filter(|(_, input)| is(input)).map(|(name, _)| &**name).collect()
}

/// What a node's dependencies do to it. Of a source's node nothing follows: what is read of the tree tells that.
fn follows(graph: &Graph, id: NodeId, effects: &[Effect]) -> Effect {
    let mut deps: Vec<NodeId> = graph.deps(id).collect();
    deps.sort_unstable();
    deps.retain(|&dep| !matches!(graph.node(dep).kind, NodeKind::Source(_)));
    let first = |wanted: fn(&Effect) -> bool| deps.iter().copied().find(|dep| wanted(&effects[dep.index()]));
    let touched = first(|effect| matches!(effect, Effect::Touched { .. }));
    if let Some(through) = touched.or_else(|| first(|effect| matches!(effect, Effect::MayFollow { .. }))) {
        return Effect::MayFollow { through };
    }
    match first(|effect| matches!(effect, Effect::Unknown(_))) {
        Some(needs) => Effect::Unknown(Unknown::Needs(needs)),
        None => Effect::Untouched,
    }
}

/// What may not be there any more.
fn gone(change: &[Touched]) -> HashSet<&[u8]> {
    use patch::Touch::{Added, Content, Mode, Removed, Replaced, Unknown};
    let may_go = |touched: &&Touched| match touched.how {
        Removed | Unknown => true,
        Added | Content | Mode | Replaced => false,
    };
    change.iter().filter(may_go).map(|touched| &*touched.path).collect()
}

/// The directories that are there afterwards, as something comes to be below them.
fn kept(change: &[Touched]) -> HashSet<&[u8]> {
    let mut kept = HashSet::new();
    for touched in change.iter().filter(|touched| touched.how == patch::Touch::Added) {
        let mut dir = split(&touched.path).0;
        while !dir.is_empty() && kept.insert(dir) {
            dir = split(dir).0;
        }
    }
    kept
}

/// The entries, of whatever path set, that a change reaches.
struct Hits {
    /// Those it reaches in every tree.
    certain: RoaringBitmap,
    /// For each of these the change that says it best.
    because: HashMap<u32, (By, usize)>,
    /// Those that it reaches in some trees.
    doubtful: RoaringBitmap,
    doubts: Vec<Doubt>,
}

/// An entry that a change reaches if the tree was like that.
struct Doubt {
    entry: u32,
    change: usize,
    what: InDoubt,
}

/// What the listing of then has to say.
enum InDoubt {
    /// Whether the path is a symbolic link.
    Link,
    /// Whether this directory comes or goes with the path.
    Dir(Vec<u8>),
}

impl Hits {
    fn of(reach: &Reach, change: &[Touched]) -> Self {
        let mut hits = Self {
            certain: RoaringBitmap::new(),
            because: HashMap::new(),
            doubtful: RoaringBitmap::new(),
            doubts: Vec::new(),
        };
        for (index, touched) in change.iter().enumerate() {
            hits.add(reach, index, touched);
        }
        hits
    }

    fn add(&mut self, reach: &Reach, index: usize, touched: &Touched) {
        use patch::Touch::{Added, Content, Mode, Removed, Replaced, Unknown};
        let path = &*touched.path;
        let link = touched.link == Link::Yes;
        let (comes_or_goes, named) = match touched.how {
            Added | Removed | Unknown => (true, true),
            Replaced => (false, true),
            Mode => (false, true),
            Content => (false, link),
        };
        let touch = Touch {
            path,
            content: true,
            name: named,
            added: matches!(touched.how, Added | Removed | Replaced | Unknown),
            link,
        };
        for id in reach.touched(touch) {
            self.certainly(reach, index, path, id);
        }
        let below = reach.below(path);
        let is_dir = !below.is_empty() || reach.find(EntryKind::Names, path).is_some();
        for id in
            below.into_iter().chain(reach.find(EntryKind::Names, path).filter(|_| touched.how != Content))
        {
            self.certainly(reach, index, path, id);
        }
        if is_dir && touched.how == Unknown {
            // A directory of which nothing is said: any name may be new in it.
            for id in reach.all_searched() {
                self.certainly(reach, index, path, id);
            }
        }
        let mut doubt = |entry: Option<u32>, what: InDoubt| {
            if let Some(entry) = entry {
                self.doubtful.insert(entry);
                self.doubts.push(Doubt { entry, change: index, what });
            }
        };
        let (mut dir, _) = split(path);
        if touched.link == Link::Unknown || touched.link == Link::No && touched.how == Unknown {
            doubt(reach.find(EntryKind::Links, b""), InDoubt::Link);
            doubt(reach.find(EntryKind::Names, dir), InDoubt::Link);
        }
        // Directories come and go with what is in them, and nothing says so.
        while comes_or_goes && !dir.is_empty() {
            let above = split(dir).0;
            doubt(reach.find(EntryKind::Names, above), InDoubt::Dir(dir.to_vec()));
            dir = above;
        }
    }

    fn certainly(&mut self, reach: &Reach, change: usize, path: &[u8], id: u32) {
        let Some((kind, entry)) = reach.entry(id) else { return };
        self.certain.insert(id);
        let by = by(kind, entry, path);
        let because = self.because.entry(id).or_insert((by, change));
        *because = (*because).min((by, change));
    }
}

/// What counts of an entry that a change at `path` reaches.
fn by(kind: EntryKind, entry: &[u8], path: &[u8]) -> By {
    let holds = |outer: &[u8], inner: &[u8]| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    match kind {
        EntryKind::Searched if !holds(entry, path) && !holds(path, entry) => By::Namesake,
        EntryKind::File | EntryKind::Searched => By::File,
        EntryKind::Names => By::Name,
        EntryKind::Tree => By::Tree,
        EntryKind::Links => By::Link,
    }
}

/// Which of a path set's entries a change reaches.
#[derive(Clone, Default)]
struct InSet {
    whole: bool,
    certain: Vec<u32>,
    /// Only looked at where nothing is certain.
    doubts: Vec<usize>,
}

/// What one change reaches, and what was found out on the way: each path set is read once, and let go.
struct Reached<'a> {
    store: &'a Store,
    change: &'a [Touched],
    gone: HashSet<&'a [u8]>,
    kept: HashSet<&'a [u8]>,
    reach: &'a Reach,
    hits: Hits,
    then: Then<'a>,
    path_sets: HashMap<Digest, (Provenance, BTreeMap<String, InSet>)>,
    /// By tree and doubt.
    resolved: HashMap<(Digest, usize), bool>,
}

impl Reached<'_> {
    /// What is reached of a node's last run. Its dependencies are left out.
    fn node(&mut self, state: &NodeState, inputs: &[&str], least: Provenance) -> Result<Effect, PlanError> {
        if inputs.is_empty() || self.change.is_empty() {
            return Ok(Effect::Untouched);
        }
        let Some(path_set) = state.path_set else { return Ok(self.all(By::Whole)) };
        self.read(&path_set)?;
        let (provenance, known) = &self.path_sets[&path_set];
        // It does not count for a run here, so any change has the node run.
        if *provenance < least {
            return Ok(self.all(By::Whole));
        }
        let mut found = InSet::default();
        for &input in inputs {
            // An input that the rule has got since is read by the next run, whatever is in it.
            let Some(in_set) = known.get(input) else { return Ok(self.all(By::Whole)) };
            if in_set.whole {
                return Ok(self.all(By::Whole));
            }
            found.certain.extend(&in_set.certain);
        }
        let mut because: Vec<(By, usize, u32)> = found
            .certain
            .iter()
            .filter_map(|id| self.hits.because.get(id).map(|&(by, change)| (by, change, *id)))
            .collect();
        if because.is_empty() {
            let doubts: Vec<(&str, Vec<usize>)> =
                inputs.iter().map(|&input| (input, known[input].doubts.clone())).collect();
            because = self.of_doubts(state, &doubts);
        }
        because.sort_unstable();
        // What a path reaches most plainly says enough of it.
        let mut told = HashSet::new();
        because.retain(|&(_, change, _)| told.insert(change));
        let more = because.len().saturating_sub(NAMED);
        because.truncate(NAMED);
        let because: Vec<Because> = because.into_iter().filter_map(|reached| self.because(reached)).collect();
        Ok(if because.is_empty() { Effect::Untouched } else { Effect::Touched { because, more } })
    }

    /// Every change there is.
    fn all(&self, by: By) -> Effect {
        let because: Vec<Because> = self.change.iter().take(NAMED).map(|one| because(by, one, b"")).collect();
        let more = self.change.len() - because.len();
        if because.is_empty() { Effect::Untouched } else { Effect::Touched { because, more } }
    }

    fn because(&self, (by, change, entry): (By, usize, u32)) -> Option<Because> {
        let (_, entry) = self.reach.entry(entry)?;
        Some(because(by, &self.change[change], entry))
    }

    /// Looks at a path set, once. One that is not known any more has no inputs: that is as good as all of them, whole.
    fn read(&mut self, digest: &Digest) -> Result<(), PlanError> {
        if self.path_sets.contains_key(digest) {
            return Ok(());
        }
        let mut by_input = BTreeMap::new();
        let mut provenance = Provenance::Whole;
        if let Some(set) = self.store.path_set(digest)? {
            provenance = set.provenance;
            for (input, reads) in set.inputs {
                let in_set = match reads {
                    StoredReads::Whole => InSet { whole: true, ..InSet::default() },
                    // Named since the entries were read, or lost: not known.
                    StoredReads::Only(ids) if ids.max().is_some_and(|id| self.reach.entry(id).is_none()) => {
                        InSet { whole: true, ..InSet::default() }
                    }
                    StoredReads::Only(ids) => {
                        let certain: Vec<u32> = (&ids & &self.hits.certain).iter().collect();
                        let doubts = if certain.is_empty() && !ids.is_disjoint(&self.hits.doubtful) {
                            let all = self.hits.doubts.iter().enumerate();
                            all.filter(|(_, doubt)| ids.contains(doubt.entry)).map(|(at, _)| at).collect()
                        } else {
                            Vec::new()
                        };
                        InSet { whole: false, certain, doubts }
                    }
                };
                by_input.insert(input, in_set);
            }
        }
        self.path_sets.insert(*digest, (provenance, by_input));
        Ok(())
    }

    /// What of the doubtful is reached, in the trees of that run.
    fn of_doubts(&mut self, state: &NodeState, doubts: &[(&str, Vec<usize>)]) -> Vec<(By, usize, u32)> {
        if doubts.iter().all(|(_, doubts)| doubts.is_empty()) {
            return Vec::new();
        }
        let record = state.record();
        let mut because = Vec::new();
        for (input, doubts) in doubts {
            let trees = record.as_ref().map(|record| &record.trees);
            let tree = trees.and_then(|trees| trees.iter().find(|(name, _)| name == input));
            for &at in doubts {
                let holds = match tree {
                    Some((_, tree)) => self.holds(tree, at),
                    None => true,
                };
                if holds {
                    let Doubt { entry, change, ref what } = self.hits.doubts[at];
                    let kind = self.reach.entry(entry).map(|(kind, _)| kind);
                    let by = match (kind, what) {
                        (Some(EntryKind::Links), _) => By::Link,
                        _ => By::Name,
                    };
                    because.push((by, change, entry));
                }
            }
        }
        because
    }

    /// Whether that doubt holds in a tree.
    fn holds(&mut self, tree: &Digest, at: usize) -> bool {
        if let Some(&known) = self.resolved.get(&(*tree, at)) {
            return known;
        }
        let Doubt { change, ref what, .. } = self.hits.doubts[at];
        let touched = &self.change[change];
        let comes = matches!(touched.how, patch::Touch::Added | patch::Touch::Unknown);
        let goes = matches!(touched.how, patch::Touch::Removed | patch::Touch::Unknown);
        let holds = match what {
            InDoubt::Link => match self.then.at(tree, &touched.path) {
                Was::Link | Was::NotKnown => true,
                Was::Nothing | Was::Dir(_) => comes && touched.link == Link::Unknown,
                Was::Other => false,
            },
            InDoubt::Dir(dir) => match self.then.at(tree, dir) {
                Was::Dir(_) if self.kept.contains(&dir[..]) => false,
                Was::Dir(listing) => goes && !self.then.survives(&listing, dir, &self.gone),
                Was::Nothing => comes,
                Was::Link | Was::Other | Was::NotKnown => true,
            },
        };
        self.resolved.insert((*tree, at), holds);
        holds
    }

    /// Whether any of the files that the change takes to be there is in a tree. Of one that it says nothing of, the first
    /// directory is looked for: it may be new.
    fn fits(&mut self, tree: &Digest) -> Option<bool> {
        use patch::Touch::{Added, Unknown};
        let mut fits = None;
        for touched in self.change.iter().filter(|one| one.how != Added) {
            let path = match touched.how {
                Unknown => touched.path.split(|&byte| byte == b'/').next().unwrap_or_default(),
                _ => &touched.path,
            };
            match self.then.at(tree, path) {
                Was::Nothing => fits = fits.or(Some(false)),
                Was::NotKnown => {}
                Was::Link | Was::Dir(_) | Was::Other => return Some(true),
            }
        }
        fits
    }
}

fn because(by: By, touched: &Touched, entry: &[u8]) -> Because {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Because { by, path: text(&touched.path), change: touched.how.into(), entry: text(entry) }
}

/// The trees of then, as far as their listings are kept.
struct Then<'a> {
    store: &'a Store,
    listings: HashMap<Digest, Option<Listing>>,
}

/// What was at a path.
enum Was {
    Nothing,
    Link,
    /// With the digest of its listing.
    Dir(Digest),
    Other,
    NotKnown,
}

impl<'a> Then<'a> {
    fn new(store: &'a Store) -> Self {
        Self { store, listings: HashMap::new() }
    }

    fn listing(&mut self, digest: &Digest) -> Option<&Listing> {
        let store = self.store;
        // One that can't be read is not known.
        self.listings.entry(*digest).or_insert_with(|| store.listing(digest).ok().flatten()).as_ref()
    }

    fn at(&mut self, tree: &Digest, path: &[u8]) -> Was {
        let mut dir = *tree;
        let mut names = path.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            let Some(listing) = self.listing(&dir) else { return Was::NotKnown };
            match (listing.get(name), names.peek()) {
                (Some(Kind::Dir { digest }), Some(_)) => dir = digest,
                (Some(Kind::Dir { digest }), None) => return Was::Dir(digest),
                (Some(Kind::Symlink { .. }), None) => return Was::Link,
                (Some(_), None) => return Was::Other,
                (Some(_) | None, _) => return Was::Nothing,
            }
        }
        Was::Nothing
    }

    /// Whether anything is left in a directory once these paths are gone.
    fn survives(&mut self, listing: &Digest, dir: &[u8], gone: &HashSet<&[u8]>) -> bool {
        let Some(listing) = self.listing(listing).cloned() else { return false };
        listing.entries().any(|entry| {
            let path = [dir, b"/", entry.name].concat();
            match entry.kind {
                Kind::Dir { digest } => self.survives(&digest, &path, gone),
                _ => !gone.contains(&path[..]),
            }
        })
    }
}

//! Choosing what goes: units in the order of their last use, and what each of them gives.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rusqlite::Connection;

use super::claims::Claimed;
use super::gc::{Collected, Limits, Manner, Needs, Sort};
use super::inventory::{BlobFile, Inventory};
use super::objects::Objects;
use super::rows::{Newest, Rows, trees_of_nodes};
use super::times;
use crate::digest::Digest;

/// For so long a blob that nothing names is left alone while there is room: `kiln verify` puts such ones to be looked at.
const GRACE: Duration = Duration::from_hours(24);

/// Something that goes as a whole.
#[derive(Clone, Debug)]
struct Unit {
    what: What,
    /// Milliseconds since 1970.
    used: i64,
    /// Whether it stays whatever the bounds are.
    stays: bool,
}

/// A place in the rows, or in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Result(usize),
    Log(usize),
    Kept(usize),
    Source(usize),
    Damaged(usize),
    Unreachable(usize),
}

impl What {
    /// What it is.
    pub const fn sort(self) -> Sort {
        match self {
            Self::Result(_) => Sort::Result,
            Self::Log(_) => Sort::Log,
            Self::Kept(_) => Sort::Kept,
            Self::Source(_) => Sort::Source,
            Self::Damaged(_) => Sort::Damaged,
            Self::Unreachable(_) => Sort::Unreachable,
        }
    }
}

/// What has been chosen.
#[derive(Default)]
pub(super) struct Chosen {
    pub gone: Vec<What>,
    /// Files to unlink: what only the chosen ones needed, and those of the chosen that nothing named.
    pub blobs: Vec<BlobFile>,
    /// What has a time in the future, and the time it gets.
    pub from_the_future: Vec<(What, i64)>,
    /// The newest rows that were looked at.
    pub newest: Newest,
}

/// What is to go.
pub(super) struct Wanted {
    before: u64,
    /// How many bytes.
    room: u64,
    /// What was last used before that, whatever room there is.
    until: Option<i64>,
    /// Unnamed blobs that were put before that.
    unnamed_until: i64,
}

impl Wanted {
    pub fn new(limits: &Limits, manner: Manner, total: u64, free: u64) -> Self {
        let now = times::now();
        let slack = |bound: u64| if manner.in_passing { bound / 10 } else { 0 };
        let above = limits.size.map_or(0, |size| match total.saturating_sub(size) {
            0 => 0,
            above => above.saturating_add(slack(size)),
        });
        let lacking = limits.free.map_or(0, |wanted| match wanted.saturating_sub(free) {
            0 => 0,
            lacking => lacking.saturating_add(slack(wanted)),
        });
        Self {
            before: total,
            room: above.max(lacking),
            until: limits.age.map(|age| now.saturating_sub(times::length(age))),
            unnamed_until: now.saturating_sub(times::length(GRACE)),
        }
    }
}

/// All that may go, while it is being chosen.
pub(super) struct Choice<'a> {
    inventory: &'a Inventory,
    rows: &'a Rows,
    objects: Objects<'a>,
    /// By result and by log, as in the rows.
    results: Vec<Vec<u32>>,
    logs: Vec<Option<u32>>,
    units: Vec<Unit>,
    from_the_future: Vec<(What, i64)>,
}

impl<'a> Choice<'a> {
    /// All that there is, each with who needs it.
    pub fn new(
        index: &'a Connection,
        inventory: &'a Inventory,
        rows: &'a Rows,
        claimed: &Claimed,
        needs: &Needs<'_>,
        kept_needs: &[Digest],
    ) -> rusqlite::Result<Self> {
        let mut objects = Objects::new(index, &inventory.blobs);
        let mut results = Vec::with_capacity(rows.results.len());
        for result in &rows.results {
            let mut parts = Vec::with_capacity(result.outputs.len() + 1);
            for (_, artifact) in &result.outputs {
                parts.extend(objects.artifact(artifact)?);
            }
            parts.extend(result.log.and_then(|log| objects.blob(&log)));
            results.push(parts);
        }
        let logs: Vec<Option<u32>> = rows.runs.iter().map(|run| objects.blob(&run.log?)).collect();
        results.iter().flatten().chain(logs.iter().flatten()).for_each(|&id| objects.need(id));
        // Listings of the trees that things were made from are kept for as long as these are the latest of a node: an
        // explanation, and going on in a kept directory, need them.
        let trees = trees_of_nodes(index, needs.trees_of)?;
        for digest in trees.iter().chain(kept_needs) {
            if let Some(id) = objects.tree(digest)? {
                objects.list(id);
            }
        }
        for digest in claimed.iter() {
            if let Some(id) = objects.any(digest)? {
                objects.need(id);
            }
        }
        let mut choice =
            Self { inventory, rows, objects, results, logs, units: Vec::new(), from_the_future: Vec::new() };
        choice.units = choice.all_units(&|digest| claimed.contains(digest) || needs.digests.contains(digest));
        choice.date_again();
        Ok(choice)
    }

    fn all_units(&self, stays: &dyn Fn(&Digest) -> bool) -> Vec<Unit> {
        let (rows, inventory) = (self.rows, self.inventory);
        let unit = |what, used, stays| Unit { what, used, stays };
        let mut units = Vec::new();
        for (at, result) in rows.results.iter().enumerate() {
            units.push(unit(What::Result(at), result.used, stays(&result.strong_key)));
        }
        for (at, run) in rows.runs.iter().enumerate().filter(|(_, run)| run.log.is_some()) {
            units.push(unit(What::Log(at), run.started, false));
        }
        for (at, kept) in inventory.kept.iter().enumerate() {
            units.push(unit(What::Kept(at), times::of(kept.used), false));
        }
        for (at, source) in inventory.sources.iter().enumerate() {
            units.push(unit(What::Source(at), source.used, stays(&source.name)));
        }
        for (at, thing) in inventory.things().enumerate() {
            units.push(unit(What::Damaged(at), thing.put, false));
        }
        for (at, blob) in inventory.blobs.iter().enumerate() {
            if !self.objects.is_needed(number(at)) {
                units.push(unit(What::Unreachable(at), blob.put, false));
            }
        }
        units
    }

    /// Gives what has a time in the future the present one, in the order of these times: when the clock has been set back
    /// all else would be older for as long as that was, and what a wrong clock dated would never grow old.
    fn date_again(&mut self) {
        let now = times::now();
        self.units.sort_by_key(|unit| unit.used);
        for (rank, unit) in self.units.iter_mut().rev().take_while(|unit| unit.used > now).enumerate() {
            unit.used = now.saturating_sub(i64::try_from(rank).unwrap_or(i64::MAX));
            self.from_the_future.push((unit.what, unit.used));
        }
        self.units.sort_by_key(|unit| unit.used);
    }

    /// Chooses, once.
    pub fn choose(&mut self, wanted: &Wanted) -> (Chosen, Collected) {
        let units = std::mem::take(&mut self.units);
        let mut freed: HashMap<usize, u64> = HashMap::new();
        let mut total = 0_u64;
        // By age, and what nothing names.
        for (at, unit) in units.iter().enumerate().filter(|(_, unit)| !unit.stays) {
            let old = wanted.until.is_some_and(|until| unit.used < until);
            let unnamed = matches!(unit.what, What::Unreachable(_)) && unit.used < wanted.unnamed_until;
            if old || unnamed {
                let room = self.release(unit.what);
                total = total.saturating_add(room);
                freed.insert(at, room);
            }
        }
        // For room, longest unused first.
        let mut for_room = Vec::new();
        for (at, unit) in units.iter().enumerate() {
            if total >= wanted.room {
                break;
            }
            if !unit.stays && !freed.contains_key(&at) {
                let room = self.release(unit.what);
                total = total.saturating_add(room);
                freed.insert(at, room);
                for_room.push(at);
            }
        }
        // What consists of nothing but what others need gave no room: it stays, the newest first. So does a log whose
        // result stays, however old the run is.
        let logs = (0..units.len()).filter(|at| matches!(units[*at].what, What::Log(_)));
        for at in for_room.into_iter().rev().chain(logs) {
            if freed.contains_key(&at) && self.costs_nothing(units[at].what) {
                self.take_back(units[at].what);
                freed.remove(&at);
            }
        }
        let (mut chosen, mut left_alone) = (Chosen::default(), HashSet::new());
        let mut collected = Collected { before: wanted.before, ..Collected::default() };
        for (at, unit) in units.iter().enumerate() {
            if let Some(room) = freed.get(&at) {
                let (count, bytes) = collected.gone.entry(unit.what.sort()).or_default();
                *count += 1;
                *bytes += room;
                chosen.gone.push(unit.what);
            } else if let What::Unreachable(blob) = unit.what {
                left_alone.insert(blob);
            }
        }
        // The index stays, however little is in it.
        collected.over = wanted.room.saturating_sub(total).saturating_sub(self.inventory.index);
        let blobs = self.inventory.blobs.iter().enumerate();
        let blobs = blobs.filter(|(at, _)| !self.objects.is_needed(number(*at)) && !left_alone.contains(at));
        chosen.blobs = blobs.map(|(_, blob)| *blob).collect();
        chosen.from_the_future = std::mem::take(&mut self.from_the_future);
        (chosen, collected)
    }

    /// What is needed once the chosen ones are gone.
    pub fn objects(&self) -> &Objects<'a> {
        &self.objects
    }

    /// Takes something off, and tells how much room that gives.
    fn release(&mut self, what: What) -> u64 {
        match what {
            What::Result(at) => {
                let objects = &mut self.objects;
                self.results[at].iter().map(|&id| objects.release(id)).sum()
            }
            What::Log(at) => self.logs[at].map_or(0, |id| self.objects.release(id)),
            What::Kept(at) => self.inventory.kept[at].bytes,
            What::Source(at) => self.inventory.sources[at].room,
            What::Damaged(at) => self.inventory.things().nth(at).map_or(0, |thing| thing.room),
            What::Unreachable(at) => self.inventory.blobs[at].room,
        }
    }

    /// Whether all that something consists of stays anyway.
    fn costs_nothing(&self, what: What) -> bool {
        match what {
            What::Result(at) => self.results[at].iter().all(|&id| self.objects.is_needed(id)),
            What::Log(at) => self.logs[at].is_some_and(|id| self.objects.is_needed(id)),
            What::Kept(_) | What::Source(_) | What::Damaged(_) | What::Unreachable(_) => false,
        }
    }

    fn take_back(&mut self, what: What) {
        let objects = &mut self.objects;
        match what {
            What::Result(at) => self.results[at].iter().for_each(|&id| objects.need(id)),
            What::Log(at) => self.logs[at].iter().for_each(|&id| objects.need(id)),
            What::Kept(_) | What::Source(_) | What::Damaged(_) | What::Unreachable(_) => {}
        }
    }
}

/// The number of a blob among the objects is its place.
fn number(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than four thousand million files")
}

//! The cache, as text and as JSON: what was removed, what is there, and why.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::style::duration;
use super::table::{Cell, columns};
use crate::digest::Digest;
use crate::spec::show_size;
use crate::store::{Collected, Figures, Keepers, NodeFigures, Part, Sort};

/// The version of the JSON. It is raised when a field is removed or changes its meaning, not when one is added.
pub const FIGURES_VERSION: u32 = 1;

/// The number of nodes that the text shows; the JSON has all.
const NODES: usize = 20;

/// What a collection removed, in one line.
pub fn collected_text(collected: &Collected, dry_run: bool) -> String {
    if collected.elsewhere {
        return "another kiln is bringing the cache within its bounds\n".to_owned();
    }
    let before = show_size(collected.before);
    if collected.gone.is_empty() {
        return format!("the cache takes {before}: nothing has to go\n");
    }
    let gone = collected.gone.iter().map(|(sort, (count, freed))| {
        let (one, several) = match sort {
            Sort::Result => ("result", "results"),
            Sort::Log => ("log", "logs"),
            Sort::Kept => ("kept directory", "kept directories"),
            Sort::Source => ("unpacked source", "unpacked sources"),
            Sort::Damaged => ("damaged file", "damaged files"),
            Sort::Unreachable => ("unnamed blob", "unnamed blobs"),
        };
        format!("{count} {} ({})", if *count == 1 { one } else { several }, show_size(*freed))
    });
    let gone = gone.collect::<Vec<_>>().join(", ");
    let left = show_size(collected.before.saturating_sub(collected.freed()));
    let go = if dry_run { "would go" } else { "went" };
    format!(
        "the cache took {before}: {gone} {go}, {left} {}\n",
        if dry_run { "would be left" } else { "are left" }
    )
}

/// A table of the parts, then one of the nodes. Nodes of the project at `here` are shown without their project.
pub fn figures_text(figures: &Figures, here: &Path) -> String {
    let mut rows = vec![Vec::from(["PART", "COUNT", "SIZE"].map(Cell::text))];
    for (part, count, size) in &figures.parts {
        let count =
            if matches!(part, Part::Index | Part::Working) { String::new() } else { count.to_string() };
        rows.push(vec![
            Cell::text(words(*part)),
            Cell::text(count).right(),
            Cell::text(show_size(*size)).right(),
        ]);
    }
    let mut out = columns(&rows);
    let _ = writeln!(
        out,
        "\n{} in all, of which this graph needs {} of results; {} of the disk are free",
        show_size(figures.total),
        show_size(figures.needed),
        show_size(figures.free),
    );
    if figures.nodes.is_empty() {
        return out;
    }
    let mut rows = vec![Vec::from(["NODE", "RESULTS", "SIZE", "LAST USED", "PROJECT"].map(Cell::text))];
    for NodeFigures { project, node, results, bytes: size, used } in figures.nodes.iter().take(NODES) {
        let project = if project == here { String::new() } else { project.display().to_string() };
        rows.push(vec![
            Cell::text(node),
            Cell::text(results.to_string()).right(),
            Cell::text(show_size(*size)).right(),
            Cell::text(ago(*used)),
            Cell::text(project),
        ]);
    }
    out.push('\n');
    out.push_str(&columns(&rows));
    if figures.nodes.len() > NODES {
        let _ = writeln!(out, "and {} smaller ones", figures.nodes.len() - NODES);
    }
    out
}

/// The same as JSON: all nodes, times in seconds since the Unix epoch.
pub fn figures_json(figures: &Figures) -> Value {
    let parts = figures
        .parts
        .iter()
        .map(|(part, count, bytes)| json!({ "part": name(*part), "count": count, "bytes": bytes }));
    let nodes = figures.nodes.iter().map(|node| {
        json!({
            "project": node.project.display().to_string(),
            "node": node.node,
            "results": node.results,
            "bytes": node.bytes,
            "used": node.used.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        })
    });
    json!({
        "version": FIGURES_VERSION,
        "total": figures.total,
        "needed": figures.needed,
        "free": figures.free,
        "parts": parts.collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

const fn name(part: Part) -> &'static str {
    match part {
        Part::Files => "files",
        Part::Trees => "trees",
        Part::Logs => "logs",
        Part::Kept => "kept",
        Part::Sources => "sources",
        Part::Index => "index",
        Part::Damaged => "damaged",
        Part::Unreachable => "unreachable",
        Part::Working => "working",
    }
}

const fn words(part: Part) -> &'static str {
    match part {
        Part::Files => "results: files",
        Part::Trees => "results: files in trees",
        Part::Logs => "logs",
        Part::Kept => "kept output directories",
        Part::Sources => "unpacked sources",
        Part::Index => "index",
        Part::Damaged => "set aside as damaged",
        Part::Unreachable => "named by nothing",
        Part::Working => "of running kilns, and digests of files",
    }
}

/// The references to something, one per line. `is_needed`: whether the present graph needs a strong key. `here`: the
/// directory of the project.
pub fn keepers_text(
    what: &str,
    keepers: &Keepers,
    is_needed: &dyn Fn(&Digest) -> bool,
    here: &Path,
) -> String {
    let mut out = String::new();
    for (digest, size) in &keepers.blobs {
        let _ = writeln!(out, "blob {digest}: {}", show_size(*size));
    }
    for keeper in &keepers.results {
        let whose = keeper.node.as_ref().map_or_else(
            || "of a run that is no more on record".to_owned(),
            |(project, node)| of(project, node, here),
        );
        let outputs = keeper.outputs.join(", ");
        let needs = if is_needed(&keeper.strong_key) { "; this graph needs it" } else { "" };
        let used = ago(keeper.used);
        let _ =
            writeln!(out, "result {} {whose}: {outputs}; last used {used}{needs}", keeper.strong_key.short());
    }
    let logs: BTreeSet<String> =
        keepers.logs.iter().map(|(project, node, _)| of(project, node, here)).collect();
    for whose in logs {
        let _ = writeln!(out, "log of a run {whose}");
    }
    if keepers.in_use {
        out.push_str("a running kiln uses it\n");
    }
    if keepers.results.is_empty() && keepers.logs.is_empty() {
        let _ = match (keepers.blobs.is_empty(), keepers.in_use) {
            (true, false) => writeln!(out, "{what} is not in the cache"),
            (true, true) => Ok(()),
            (false, _) => {
                writeln!(out, "nothing names it: it goes with a `kiln cache gc` when it is a day old")
            }
        };
    }
    out
}

fn of(project: &Path, node: &str, here: &Path) -> String {
    if project == here { format!("of {node}") } else { format!("of {node} in {}", project.display()) }
}

fn ago(time: SystemTime) -> String {
    match SystemTime::now().duration_since(time) {
        Ok(since) if since.as_secs() >= 48 * 3600 => format!("{} days ago", since.as_secs() / (24 * 3600)),
        Ok(since) => format!("{} ago", duration(since)),
        Err(_) => "in the future".to_owned(),
    }
}

//! The requirements of a project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::finding::{Finding, State};
use super::tools::{Compiler, installed_library, path, program};
use crate::graph::expand;
use crate::kinds::match_boards::{Lookup, look_up, symbols};
use crate::report::UndefinedSymbol;
use crate::session::error::SessionError;
use crate::session::source_roots::source_roots;
use crate::spec::model::{HostRef, Source, Spec};

/// The host inputs of the project's rules, its sources, and the symbols of its boards.
pub(super) fn project(spec: &Arc<Spec>) -> Result<Vec<Finding>, SessionError> {
    let graph = expand(Arc::clone(spec))?;
    // The value: whether any action requires the program.
    let mut tools: BTreeMap<Compiler, bool> = BTreeMap::new();
    let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
    let mut libraries: BTreeMap<String, BTreeSet<Compiler>> = BTreeMap::new();
    for action in graph.ids().filter_map(|id| graph.node(id).action()) {
        let dirs = || action.tool_path.to_vec();
        for tool in &action.tools {
            *tools.entry((tool.program.clone(), dirs())).or_default() |= !tool.optional;
        }
        for declared in &action.host {
            match declared {
                HostRef::Path(path) => {
                    paths.insert(path.clone());
                }
                HostRef::Library(name) => {
                    let compilers = action.tools.iter().map(|tool| (tool.program.clone(), dirs()));
                    libraries.entry(name.clone()).or_default().extend(compilers);
                }
            }
        }
    }
    // Boots are not in the graph before their match has run, but their programs are known.
    let qemus = spec.project.boards.values().filter_map(|board| board.qemu.as_ref());
    let toolchains = spec.project.toolchains.values().flat_map(|toolchain| &toolchain.path);
    let dirs: Vec<PathBuf> = toolchains.map(|dir| spec.root.join(dir)).collect();
    tools.extend(qemus.map(|qemu| ((qemu.program.clone(), dirs.clone()), true)));
    let if_missing = |needed: bool| if needed { State::Missing } else { State::Absent };
    let mut findings: Vec<Finding> =
        tools.iter().map(|((tool, dirs), needed)| program(tool, dirs, if_missing(*needed))).collect();
    findings.extend(libraries.iter().map(|(name, compilers)| installed_library(name, compilers)));
    findings.extend(paths.iter().map(|found| path(found)));
    findings.extend(spec.project.sources.iter().map(|(name, source)| source_tree(name, source)));
    findings.extend(board_symbols(spec));
    Ok(findings)
}

/// Whether the source trees that are present define the symbols that boards require.
fn board_symbols(spec: &Spec) -> Vec<Finding> {
    let symbols = symbols(spec);
    let count = symbols.len();
    let (trees, undefined) = undefined_symbols(look_up(symbols, source_roots(spec)));
    if trees.is_empty() {
        return Vec::new();
    }
    if undefined.is_empty() {
        let found = format!("the {count} symbols that they name are defined in {}", trees.join(", "));
        return vec![Finding::fine("boards", found)];
    }
    let finding = |undefined: &UndefinedSymbol<'_>| Finding {
        what: format!("symbol {}", undefined.symbol),
        // A predicate may name symbols of kernels that this project does not build, as in `OLD || NEW`.
        state: State::Absent,
        found: undefined.sentence(&trees),
        remedy: None,
    };
    undefined.iter().map(finding).collect()
}

fn source_tree(name: &str, source: &Source) -> Finding {
    let path = &source.path;
    let there = path.exists();
    Finding {
        what: format!("source {name}"),
        state: if there { State::Fine } else { State::Missing },
        found: format!("{}{}", path.display(), if there { "" } else { " is not there" }),
        remedy: (!there).then(|| format!("put the tree at {}, or correct graph.ron", path.display())),
    }
}

/// The trees that a lookup searched, and the symbols that none of them defines.
pub fn undefined_symbols(lookup: Lookup<'_>) -> (Vec<String>, Vec<UndefinedSymbol<'_>>) {
    let undefined = lookup.undefined.into_iter();
    let undefined = undefined.map(|found| UndefinedSymbol {
        symbol: found.symbol,
        boards: found.boards,
        nearest: found.nearest,
    });
    (lookup.trees, undefined.collect())
}

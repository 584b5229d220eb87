//! `kiln doctor`.

mod roots;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use roots::of_roots;

use super::exit::{Exit, Failure};
use super::format::Format;
use super::match_::shown;
use super::project::{load_spec, root};
use super::terminal::{Terminal, outln};
use super::trees::trees;
use crate::exec::sandbox::{FIRST_ID, Means, Probe, Sandbox, means_of_limits, probe};
use crate::exec::trace::Tracer;
use crate::graph::expand;
use crate::host::{ToolError, ToolIdentity, library, package_of};
use crate::kinds::match_boards::{look_up, symbols};
use crate::plan::Tracing;
use crate::report::{Style, UndefinedSymbol};
use crate::source::FileDigests;
use crate::spec::model::{HostRef, Source, Spec};

/// Less free space than this is worth a word: one kernel's build directory may take it.
const ENOUGH_DISK: u64 = 4 << 30;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// How a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// There, and of use.
    Fine,
    /// Not there; this project can do without.
    Absent,
    /// Not there, and needed.
    Missing,
}

#[derive(Debug, serde::Serialize)]
struct Finding {
    what: String,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = if root().is_ok() { Some(load_spec(terminal)?) } else { None };
    let mut findings = vec![sandbox(), limits(), tracing()];
    findings.extend(of_roots(spec.as_deref()));
    findings.extend(disk());
    if let Some(spec) = &spec {
        findings.extend(of_project(spec)?);
    } else {
        findings.extend(["make", "gcc", "git"].map(|tool| of_tool(tool, &[], State::Absent)));
    }
    match args.format {
        Format::Text => print(&findings, terminal.out),
        Format::Json => outln!("{:#}", serde_json::json!({ "version": 1, "findings": findings })),
    }
    let lacks = findings.iter().any(|finding| finding.state == State::Missing);
    Ok(if lacks { Exit::Environment } else { Exit::Done })
}

fn print(findings: &[Finding], style: Style) {
    for Finding { what, state, found, .. } in findings {
        let word = match state {
            State::Fine => style.good("ok     "),
            State::Absent => style.dim("absent "),
            State::Missing => style.bad("missing"),
        };
        outln!("{word}  {what}: {found}");
    }
    let remedies: BTreeSet<&str> = findings
        .iter()
        .filter(|finding| finding.state == State::Missing)
        .filter_map(|finding| finding.remedy.as_deref())
        .collect();
    let packages: Vec<&str> =
        remedies.iter().filter_map(|remedy| remedy.strip_prefix("apt-get install ")).collect();
    let others: Vec<&&str> =
        remedies.iter().filter(|remedy| !remedy.starts_with("apt-get install ")).collect();
    if packages.is_empty() && others.is_empty() {
        return;
    }
    outln!("\nto mend it:");
    if !packages.is_empty() {
        outln!("  apt-get install {}", packages.join(" "));
    }
    for other in others {
        outln!("  {other}");
    }
}

fn sandbox() -> Finding {
    let (state, found, remedy) = match probe(&Sandbox::new()) {
        Probe::Root => {
            (State::Fine, format!("namespaces, as root; steps are the host's users from {FIRST_ID} on"), None)
        }
        Probe::UserNamespace => (State::Fine, "namespaces, in a user namespace".to_owned(), None),
        Probe::Unavailable { reason, remedy } => (State::Missing, reason, remedy),
    };
    Finding { what: "sandbox".to_owned(), state, found, remedy }
}

/// By what memory and processes of an action are limited. Bytes on disk are counted by kiln itself.
fn limits() -> Finding {
    let (memory, processes) = means_of_limits();
    let by = |means| match means {
        Means::Cgroup2 => "by control groups (version 2)",
        Means::Cgroup1 => "by control groups (version 1)",
        Means::Rlimit => "for each process alone",
    };
    let found = if memory == processes {
        format!("memory and processes {}", by(memory))
    } else {
        format!("memory {}, processes {}", by(memory), by(processes))
    };
    let lacks = memory == Means::Rlimit || processes == Means::Rlimit;
    let hint =
        if lacks { "; `systemd-run --user --scope -p Delegate=yes kiln ..` gives kiln a group" } else { "" };
    let state = if lacks { State::Absent } else { State::Fine };
    Finding { what: "limits".to_owned(), state, found: found + hint, remedy: None }
}

fn tracing() -> Finding {
    let (state, found) = match Tracer::probe(&Sandbox::new()) {
        Ok(Tracing::Mounts) => (State::Fine, "fanotify".to_owned()),
        Ok(Tracing::Copies) => (State::Fine, "fanotify, in copies of trees in memory".to_owned()),
        Err(reason) => (State::Absent, reason),
    };
    Finding { what: "read tracing".to_owned(), state, found, remedy: None }
}

fn disk() -> Option<Finding> {
    let here = root().or_else(|_| std::env::current_dir()).ok()?;
    let stat = nix::sys::statvfs::statvfs(&here).ok()?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    let enough = free >= ENOUGH_DISK;
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let gib = free as f64 / f64::from(1 << 30);
    Some(Finding {
        what: "disk".to_owned(),
        state: if enough { State::Fine } else { State::Missing },
        found: format!("{gib:.1} GiB free"),
        remedy: (!enough).then(|| format!("make room on the disk of {}", here.display())),
    })
}

/// What the rules of this project run and read on the host, and the trees that they build.
fn of_project(spec: &Arc<Spec>) -> Result<Vec<Finding>, Failure> {
    let graph = expand(Arc::clone(spec))?;
    // Whether anything can't do without it.
    let mut tools: BTreeMap<(String, Vec<PathBuf>), bool> = BTreeMap::new();
    let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
    let mut libraries: BTreeMap<String, BTreeSet<(String, Vec<PathBuf>)>> = BTreeMap::new();
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
    // Boots are not in the graph before their match has run; what they run is known all the same.
    let qemus = spec.project.boards.values().filter_map(|board| board.qemu.as_ref());
    let toolchains = spec.project.toolchains.values().flat_map(|toolchain| &toolchain.path);
    let dirs: Vec<PathBuf> = toolchains.map(|dir| spec.root.join(dir)).collect();
    tools.extend(qemus.map(|qemu| ((qemu.program.clone(), dirs.clone()), true)));
    let if_missing = |needed: bool| if needed { State::Missing } else { State::Absent };
    let mut findings: Vec<Finding> =
        tools.iter().map(|((tool, dirs), needed)| of_tool(tool, dirs, if_missing(*needed))).collect();
    findings.extend(libraries.iter().map(|(name, compilers)| of_library(name, compilers)));
    findings.extend(paths.iter().map(|path| of_path(path)));
    findings.extend(spec.project.sources.iter().map(|(name, source)| of_source(name, source)));
    findings.extend(of_boards(spec));
    Ok(findings)
}

/// The symbols that boards require: whether there are such, as far as the source trees that are here can tell.
fn of_boards(spec: &Spec) -> Vec<Finding> {
    let symbols = symbols(spec);
    let count = symbols.len();
    let (trees, undefined) = shown(look_up(symbols, trees(spec)));
    if trees.is_empty() {
        return Vec::new();
    }
    if undefined.is_empty() {
        let found = format!("the {count} symbols that they name are defined in {}", trees.join(", "));
        return vec![Finding { what: "boards".to_owned(), state: State::Fine, found, remedy: None }];
    }
    let finding = |undefined: &UndefinedSymbol<'_>| Finding {
        what: format!("symbol {}", undefined.symbol),
        // A predicate may well name a symbol of kernels that this project does not build, as in `OLD || NEW`.
        state: State::Absent,
        found: undefined.sentence(&trees),
        remedy: None,
    };
    undefined.iter().map(finding).collect()
}

fn of_tool(tool: &str, dirs: &[PathBuf], if_missing: State) -> Finding {
    let files = FileDigests::open(Path::new("/nonexistent"));
    let what = tool.to_owned();
    match ToolIdentity::resolve(tool, dirs, &files) {
        Ok(identity) => {
            let version =
                version(&identity.program).map(|version| format!(" ({version})")).unwrap_or_default();
            let found = format!("{}{version}", identity.program.display());
            Finding { what, state: State::Fine, found, remedy: None }
        }
        Err(ToolError::Missing { package, .. }) => Finding {
            what,
            state: if_missing,
            found: "not installed".to_owned(),
            remedy: package.map(|package| format!("apt-get install {package}")),
        },
        Err(error) => Finding { what, state: State::Missing, found: error.to_string(), remedy: None },
    }
}

/// The version of a compiler, of make or of QEMU: of what a version decides something.
fn version(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    let telling = ["gcc", "clang", "make", "git"].iter().any(|tool| name.ends_with(tool))
        || name.starts_with("qemu-system");
    if !telling {
        return None;
    }
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

fn of_path(path: &Path) -> Finding {
    let what = path.display().to_string();
    if path.exists() {
        return Finding { what, state: State::Fine, found: "there".to_owned(), remedy: None };
    }
    // That it is absent is a fact the key knows; whether the build can do without is the build's to say.
    let remedy = package_of(&what).map(|package| format!("apt-get install {package}"));
    Finding { what, state: State::Absent, found: "not there".to_owned(), remedy }
}

fn of_library(name: &str, compilers: &BTreeSet<(String, Vec<PathBuf>)>) -> Finding {
    let what = format!("library {name}");
    let files = FileDigests::open(Path::new("/nonexistent"));
    let is_found = |(compiler, dirs): &(String, Vec<PathBuf>)| {
        let found = library(name, std::slice::from_ref(compiler), dirs, &files);
        found.is_ok_and(|found| found.entries().next().is_some())
    };
    if compilers.iter().any(is_found) {
        return Finding { what, state: State::Fine, found: "there".to_owned(), remedy: None };
    }
    let remedy = package_of(&format!("lib{name}.so")).map(|package| format!("apt-get install {package}"));
    Finding { what, state: State::Absent, found: "not there".to_owned(), remedy }
}

fn of_source(name: &str, source: &Source) -> Finding {
    let path = &source.path;
    let there = path.exists();
    Finding {
        what: format!("source {name}"),
        state: if there { State::Fine } else { State::Missing },
        found: format!("{}{}", path.display(), if there { "" } else { " is not there" }),
        remedy: (!there).then(|| format!("put the tree at {}, or correct graph.ron", path.display())),
    }
}

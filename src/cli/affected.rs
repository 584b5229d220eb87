//! `kiln affected`.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, stdin};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use super::format::Format;
use super::project::Project;
use super::terminal::{Terminal, out, outln};
use crate::host::git;
use crate::kinds::AllKinds;
use crate::plan::{Effect, affected};
use crate::report;
use crate::source::patch::{self, Link, Touched};
use crate::spec::model::{Origin, Spec};

/// Which nodes does a change of a source touch, down to the boards?
///
/// Tells it from what is recorded, before the change is applied, and runs nothing. Without any of --range, --patch and
/// --files a patch is read from standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The source that changes. May be left out where there is only one.
    source: Option<String>,
    /// Two commits of the source's repository.
    #[arg(long, value_name = "A..B", group = "change")]
    range: Option<String>,
    /// A patch, as of git diff, git format-patch or diff -ruN; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "change")]
    patch: Option<PathBuf>,
    /// Files of which anything may have changed, relative to the source's root.
    #[arg(long, value_name = "PATH", num_args = 1.., group = "change")]
    files: Vec<OsString>,
    /// The same from a file, one a line, or each ended by a NUL; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "change")]
    files_from: Option<PathBuf>,
    /// Take so many leading parts off the patch's names, as patch -p does.
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with_all = ["range", "files", "files_from"])]
    strip: usize,
    /// Show untouched nodes too.
    #[arg(short, long)]
    all: bool,
    /// End with 1 where any node is touched or unknown, as `git diff --exit-code` does.
    #[arg(long)]
    exit_code: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let source = source(args.source.as_deref(), &project.spec)?;
    let change = change(args, source, &project.spec)?;
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, world) = project.look(&kinds)?;
    let affected = affected(&world, &mut graph, source, &change)?;
    if affected.fits == Some(false) {
        terminal.warning(&format!(
            "none of the files that change is in {source} as it was last recorded: names are relative to its root{}",
            if args.range.is_none() { "; see --strip" } else { "" }
        ));
    }
    match args.format {
        Format::Text => out!("{}", report::affected_text(&graph, &affected, args.all, terminal.out)),
        Format::Json => outln!("{:#}", report::affected_json(&graph, &affected, source, change.len())),
    }
    let anything = affected.nodes.iter().any(|(_, effect)| *effect != Effect::Untouched);
    Ok(if args.exit_code && anything { Exit::AFFECTED } else { Exit::Done })
}

/// The source that is meant.
fn source<'a>(asked: Option<&'a str>, spec: &'a Spec) -> Result<&'a str, Failure> {
    let names: Vec<&str> = spec.project.sources.keys().map(String::as_str).collect();
    let known = || format!("sources: {}", names.join(", "));
    match (asked, names.as_slice()) {
        (Some(asked), names) if names.contains(&asked) => Ok(asked),
        (Some(asked), _) => {
            Err(Failure::new(Exit::Spec, format!("there is no source {asked:?}")).help(known()))
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(Failure::new(Exit::Spec, "the project has no source")),
        (None, _) => Err(Failure::new(Exit::Spec, "which source changes?").help(known())),
    }
}

/// The paths that change.
fn change(args: &Args, source: &str, spec: &Spec) -> Result<Vec<Touched>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Spec, error);
    let change = if let Some(range) = &args.range {
        let declared = &spec.project.sources[source];
        let is_archive = matches!(declared.origin, Origin::Tarball { .. });
        let root = (!is_archive).then_some(&declared.path).ok_or_else(|| {
            failed(&format!("{source} is a tarball, which has no commits"))
                .help("--patch and --files work without")
        })?;
        if !range.contains("..") {
            return Err(failed(&format!("{range:?} is no range")).help("two commits, as in v6.1..v6.2"));
        }
        let diff = git::raw_diff(root, range)
            .map_err(|said| failed(&format!("git diff of {range} in {}: {said}", root.display())))?;
        patch::of_raw_diff(&diff).map_err(|error| failed(&error))?
    } else if !args.files.is_empty() {
        let names: Vec<u8> = args.files.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        named(&names, source, spec)?
    } else if let Some(from) = &args.files_from {
        named(&read(from)?, source, spec)?
    } else {
        let from = match &args.patch {
            Some(from) => from,
            None if stdin().is_terminal() => {
                return Err(failed(&"which change?")
                    .help("--range A..B, --patch FILE, --files PATH..., or a patch on standard input"));
            }
            None => Path::new("-"),
        };
        let text = read(from)?;
        patch::of_patch(&text, args.strip).map_err(|error| {
            let from =
                if from == Path::new("-") { "standard input".to_owned() } else { from.display().to_string() };
            failed(&format!("{from}: {error}"))
        })?
    };
    let outside = |touched: &&Touched| touched.path.split(|&byte| byte == b'/').any(|name| name == b"..");
    match change.iter().find(outside) {
        Some(touched) => Err(outside_of(source, &touched.path)),
        None => Ok(change),
    }
}

fn outside_of(source: &str, path: &[u8]) -> Failure {
    let path = String::from_utf8_lossy(path);
    Failure::new(Exit::Spec, format!("{path} is not in {source}"))
        .help("names are relative to the source's root")
}

/// What a list names. Of files that are there now the tree says whether they are links, which a list can't.
fn named(names: &[u8], source: &str, spec: &Spec) -> Result<Vec<Touched>, Failure> {
    let absolute = |name: &&[u8]| name.starts_with(b"/") || name.starts_with(b"\"/");
    if let Some(name) = names.split(|&byte| byte == 0 || byte == b'\n').find(absolute) {
        return Err(outside_of(source, name));
    }
    let mut change = patch::of_list(names);
    if let Some(root) = spec.project.sources[source].in_place() {
        for touched in &mut change {
            let path = root.join(std::ffi::OsStr::from_bytes(&touched.path));
            if let Ok(now) = path.symlink_metadata() {
                touched.link = if now.is_symlink() { Link::Yes } else { Link::No };
            }
        }
    }
    Ok(change)
}

fn read(from: &Path) -> Result<Vec<u8>, Failure> {
    let text = if from == Path::new("-") {
        let mut text = Vec::new();
        stdin().lock().read_to_end(&mut text).map(|_| text)
    } else {
        std::fs::read(from)
    };
    text.map_err(|error| Failure::new(Exit::Spec, format!("can't read {}: {error}", from.display())))
}

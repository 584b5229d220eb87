//! `kiln affected`.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, stdin};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::Failure;
use super::format::Format;
use super::project::open;
use super::terminal::{Terminal, out, outln};
use crate::kinds::AllKinds;
use crate::plan::{Effect, affected};
use crate::report;
use crate::session::{ChangeFrom, changed_source, prepare};

/// Which nodes does a change of a source affect, down to the boards?
///
/// Answers from records, before the change is applied, and runs nothing. Without --range, --patch and --files, a patch is
/// read from standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The source that changes. Optional if there is only one.
    source: Option<String>,
    /// Two commits of the source's repository.
    #[arg(long, value_name = "A..B", group = "change")]
    range: Option<String>,
    /// A patch, as of git diff, git format-patch or diff -ruN; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "change")]
    patch: Option<PathBuf>,
    /// Files that may have changed in any way, relative to the source's root.
    #[arg(long, value_name = "PATH", num_args = 1.., group = "change")]
    files: Vec<OsString>,
    /// The same from a file, one per line or each ended by a NUL; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "change")]
    files_from: Option<PathBuf>,
    /// Strip this many leading components from the names of the patch, as patch -p does.
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with_all = ["range", "files", "files_from"])]
    strip: usize,
    /// Show untouched nodes too.
    #[arg(short, long)]
    all: bool,
    /// Exit with 1 if any node is touched or unknown, as `git diff --exit-code` does.
    #[arg(long)]
    exit_code: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let source = changed_source(args.source.as_deref(), &project.spec)?;
    let change = change(args)?.paths(source, &project.spec)?;
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, context) = prepare(&project, &kinds, None)?;
    let affected = affected(&context, &mut graph, source, &change)?;
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

/// Where the change is described.
fn change(args: &Args) -> Result<ChangeFrom, Failure> {
    if let Some(range) = &args.range {
        return Ok(ChangeFrom::Range(range.clone()));
    }
    if !args.files.is_empty() {
        let names = args.files.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat());
        return Ok(ChangeFrom::List(names.collect()));
    }
    if let Some(from) = &args.files_from {
        return Ok(ChangeFrom::List(read(from)?));
    }
    let from = match &args.patch {
        Some(from) => from,
        None if stdin().is_terminal() => {
            return Err(Failure::new(Exit::Spec, "which change?")
                .help("--range A..B, --patch FILE, --files PATH..., or a patch on standard input"));
        }
        None => Path::new("-"),
    };
    let name = if from == Path::new("-") { "standard input".to_owned() } else { from.display().to_string() };
    Ok(ChangeFrom::Patch { text: read(from)?, strip: args.strip, name })
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

//! `kiln cache why-kept`.

use crate::cli::exit::{Exit, Failure};
use crate::cli::needs::of_graph;
use crate::cli::project::{Project, recorded};
use crate::cli::terminal::{Terminal, out};
use crate::report;
use crate::store::Subject;

/// Fewer digits tell too little.
const SHORTEST: usize = 6;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A digest, or at least six digits of its beginning; or a node.
    what: String,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let digits = args.what.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_digest = digits && (SHORTEST..=64).contains(&args.what.len());
    let name = if is_digest { args.what.clone() } else { recorded(&project, &args.what)? };
    let subject = if is_digest { Subject::Digest(&name) } else { Subject::Node(&name) };
    let keepers = project.store.keepers(subject)?;
    let needed = of_graph(&project)?;
    out!("{}", report::keepers_text(&name, &keepers, &|key| needed.contains(key), &project.spec.root));
    Ok(Exit::Done)
}

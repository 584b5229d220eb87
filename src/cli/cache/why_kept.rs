//! `kiln cache why-kept`.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::open;
use crate::cli::terminal::{Terminal, out};
use crate::report;
use crate::session::needed_of_cache;
use crate::store::Subject;

/// The fewest digits that are taken for the beginning of a digest.
const SHORTEST: usize = 6;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A digest, or at least six digits of its beginning; or a node.
    what: String,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let digits = args.what.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_digest = digits && (SHORTEST..=64).contains(&args.what.len());
    let name = if is_digest { args.what.clone() } else { project.recorded_node(&args.what)? };
    let subject = if is_digest { Subject::Digest(&name) } else { Subject::Node(&name) };
    let keepers = project.store.keepers(subject)?;
    let needed = needed_of_cache(&project)?;
    out!("{}", report::keepers_text(&name, &keepers, &|key| needed.contains(key), &project.spec.root));
    Ok(Exit::Done)
}

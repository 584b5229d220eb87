//! `kiln push`.

use super::exit::Exit;
use super::failure::Failure;
use super::project::{open, print_warnings, remotes};
use super::terminal::{Terminal, outln};
use crate::kinds::AllKinds;
use crate::session::{Forced, PushReport, Pusher, View};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything that has a result.
    targets: Vec<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let remotes = remotes(&project, false, terminal)?;
    let pusher = Pusher::new(&project, &remotes)?;
    if !pusher.has_remotes() {
        let why = pusher.excluded();
        let what = if why.is_empty() { "no remote is written to".to_owned() } else { why.join("; ") };
        return Err(Failure::new(Exit::Spec, what)
            .help("`remotes: [(name: .., url: .., write: true)]` in graph.ron names one: docs/remote.md"));
    }
    let kinds = AllKinds::new(&project.spec);
    // The keys of a result may depend on inputs that only a remote has.
    let view = View::plan(&project, &kinds, Some(&remotes), &args.targets, Forced::default())?;
    let mut report = PushReport::default();
    for id in view.local_results().filter(|&id| view.is_selected(id)) {
        pusher.push(view.graph.name(id), &mut report);
    }
    print_warnings(&remotes, terminal);
    report.warnings().for_each(|warning| terminal.warning(warning));
    outln!("{}", report.summary());
    Ok(if report.failed.is_empty() { Exit::Done } else { Exit::Environment })
}

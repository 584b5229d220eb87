//! The arguments that `plan`, `build` and `restore` share.

use crate::session::Forced;

#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything.
    pub targets: Vec<String>,
    /// Plan for this many cores. Default: all of them.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Re-run this node even if it is up to date. May be repeated.
    #[arg(long, value_name = "NODE")]
    pub force: Vec<String>,
    /// Boot again: `failed`, or the boots of a name, a glob or a build. May be repeated.
    #[arg(long, value_name = "WHAT")]
    pub rerun: Vec<String>,
    /// Do not ask the remotes.
    #[arg(long)]
    pub offline: bool,
}

impl Wanted {
    pub(super) fn forced(&self) -> Forced<'_> {
        Forced { nodes: &self.force, boots: &self.rerun }
    }

    pub(super) fn jobs(&self) -> usize {
        jobs(self.jobs)
    }
}

/// The number of cores to use.
pub(super) fn jobs(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}

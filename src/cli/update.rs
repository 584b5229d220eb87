//! `kiln update`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::exit::{Exit, Failure};
use super::project::load_spec;
use super::terminal::{Terminal, outln};
use crate::gentoo::lock::{Change, Locked};
use crate::gentoo::lock_file;
use crate::gentoo::names::Stage3;
use crate::gentoo::obtain;
use crate::kinds::mirrors::{keyring, mirrors};
use crate::report;
use crate::spec::model::Spec;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stage3s, such as `arm64-openrc`, or roots. Default: all that roots name.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only say what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = load_spec(terminal)?;
    let wanted = wanted(&spec, &args.names)?;
    let Some(gentoo) = &spec.project.gentoo else {
        if !terminal.quiet {
            outln!("nothing to update: graph.ron has no roots");
        }
        return Ok(Exit::Done);
    };
    let environment = |error: &dyn std::fmt::Display| Failure::new(Exit::Environment, error);
    let keys = keyring(&spec.root, &gentoo.value.signed_by).map_err(|error| environment(&error))?;
    let mirrors = mirrors(&gentoo.value).map_err(|error| environment(&error))?;
    let mut lock = lock_file::read(&spec.root).map_err(|error| Failure::new(Exit::Spec, error))?;
    let before = lock.clone();
    let mut failed = 0;
    for stage3 in &wanted {
        let now = SystemTime::now();
        // One that can't be had leaves the others to be had.
        match obtain::latest(&mirrors, stage3, &keys, lock.get(stage3), gentoo.value.fresh, now) {
            Ok(locked) => {
                let text = told(stage3, &locked);
                let change = lock.update(stage3, locked);
                tell(&text, &change, terminal);
            }
            Err(error) => {
                failed += 1;
                terminal.warning(&error.to_string());
            }
        }
    }
    let named: BTreeSet<&Stage3> = spec.project.roots.values().map(|root| &root.value.stage3.value).collect();
    lock.keep(|stage3| named.contains(stage3));
    if !args.dry_run && lock != before {
        lock_file::write(&spec.root, &lock).map_err(|error| environment(&error))?;
    }
    if failed == 0 {
        return Ok(Exit::Done);
    }
    let message =
        format!("{failed} of {} could not be updated: what was locked for them stays", wanted.len());
    Err(Failure::new(Exit::Environment, message))
}

/// The stage3s that names mean: their own, or those of roots.
fn wanted(spec: &Spec, names: &[String]) -> Result<BTreeSet<Stage3>, Failure> {
    let all = || spec.project.roots.iter().map(|(name, root)| (name, &root.value.stage3.value));
    if names.is_empty() {
        return Ok(all().map(|(_, stage3)| stage3.clone()).collect());
    }
    let one = |name: &String| {
        let found = all().find(|(root, stage3)| *root == name || stage3.name() == name.as_str());
        found.map(|(_, stage3)| stage3.clone()).ok_or_else(|| {
            let known: BTreeSet<&str> = all().map(|(_, stage3)| stage3.name()).collect();
            let help = if known.is_empty() {
                "graph.ron has no roots".to_owned()
            } else {
                format!("they have {}", known.into_iter().collect::<Vec<_>>().join(", "))
            };
            Failure::new(Exit::Spec, format!("no root has the stage3 {name}")).help(help)
        })
    };
    names.iter().map(one).collect()
}

fn told(stage3: &Stage3, locked: &Locked) -> (String, String) {
    (stage3.name().to_owned(), format!("{} ({})", locked.date, report::bytes(locked.size)))
}

fn tell((name, now): &(String, String), change: &Change, terminal: &Terminal) {
    if terminal.quiet {
        return;
    }
    match change {
        Change::New => outln!("{name}: {now}, new"),
        Change::Same => outln!("{name}: {now}, as before"),
        Change::From(date) => outln!("{name}: from {date} to {now}"),
    }
}

//! `kiln update`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use super::exit::{Exit, Failure};
use super::project::load_spec;
use super::terminal::{Terminal, outln};
use crate::gentoo::download;
use crate::gentoo::fetch::{FetchError, Mirrors};
use crate::gentoo::lock::{Change, Lock};
use crate::gentoo::lock_file;
use crate::gentoo::names::Stage3;
use crate::gentoo::signed::Keyring;
use crate::kinds::mirrors::takes_ebuilds;
use crate::kinds::mirrors::{KeysError, keyring, mirrors};
use crate::spec::model::{Gentoo, Spec};
use crate::spec::show_size;

/// What the tree of ebuilds is called among the names of stage3s, none of which looks like it.
const EBUILDS: &str = "ebuilds";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stage3s, such as `arm64-openrc`, roots, or `ebuilds`. Default: all that roots name.
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
    let sources = Sources::new(&spec.root, gentoo).map_err(|error| environment(&error))?;
    let mut lock = lock_file::read(&spec.root).map_err(|error| Failure::new(Exit::Spec, error))?;
    let before = lock.clone();
    let mut failed = 0;
    for item in &wanted {
        // One that can't be had leaves the others to be had.
        match sources.update(item, &mut lock) {
            Ok((now, change)) => tell(item, &now, &change, terminal),
            Err(error) => {
                failed += 1;
                terminal.warning(&error);
            }
        }
    }
    let named: BTreeSet<&Stage3> = spec.project.roots.values().map(|root| &root.stage3).collect();
    lock.keep(|stage3| named.contains(stage3));
    if !takes_ebuilds(&spec) {
        lock.drop_ebuilds();
    }
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

/// What can be updated.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Ebuilds,
    Stage3(Stage3),
}

impl Item {
    fn name(&self) -> &str {
        match self {
            Self::Ebuilds => EBUILDS,
            Self::Stage3(stage3) => stage3.name(),
        }
    }
}

/// Who is asked, and who is believed. Keys that can't be had are told of by what takes them.
struct Sources<'a> {
    gentoo: &'a Gentoo,
    mirrors: Mirrors,
    keys: Result<Keyring, KeysError>,
    /// Those of the tree of ebuilds.
    ebuild_keys: Option<Result<Keyring, KeysError>>,
}

impl<'a> Sources<'a> {
    fn new(root: &Path, gentoo: &'a Gentoo) -> Result<Self, FetchError> {
        Ok(Self {
            gentoo,
            mirrors: mirrors(gentoo)?,
            keys: keyring(root, &gentoo.signed_by),
            ebuild_keys: gentoo.ebuilds.as_ref().map(|signers| keyring(root, signers)),
        })
    }

    /// Locks the latest of something, and says what it is and what that changes.
    fn update(&self, item: &Item, lock: &mut Lock) -> Result<(String, Change), String> {
        let Self { gentoo, mirrors, keys, ebuild_keys } = self;
        let now = SystemTime::now();
        match (item, ebuild_keys) {
            (Item::Stage3(stage3), _) => {
                let keys = keys.as_ref().map_err(ToString::to_string)?;
                let locked =
                    download::latest_stage3(mirrors, stage3, keys, lock.get(stage3), gentoo.fresh, now);
                let locked = locked.map_err(|error| error.to_string())?;
                let told = format!("{} ({})", locked.date, show_size(locked.size));
                Ok((told, lock.update(stage3, locked)))
            }
            (Item::Ebuilds, Some(keys)) => {
                let keys = keys.as_ref().map_err(ToString::to_string)?;
                let tree = download::latest_ebuilds(mirrors, keys, lock.ebuilds(), gentoo.fresh, now);
                let tree = tree.map_err(|error| error.to_string())?;
                Ok((tree.day.to_string(), lock.update_ebuilds(tree)))
            }
            (Item::Ebuilds, None) => unreachable!("it is wanted where the spec says whose it is"),
        }
    }
}

/// What names mean: stage3s, those of roots, the tree of ebuilds.
fn wanted(spec: &Spec, names: &[String]) -> Result<BTreeSet<Item>, Failure> {
    let roots = || spec.project.roots.iter().map(|(name, root)| (name, &root.stage3));
    let stage3s = || roots().map(|(_, stage3)| Item::Stage3(stage3.clone()));
    let all = || takes_ebuilds(spec).then_some(Item::Ebuilds).into_iter().chain(stage3s());
    if names.is_empty() {
        return Ok(all().collect());
    }
    let one = |name: &String| {
        let of_root = roots().find(|(root, _)| *root == name).map(|(_, stage3)| Item::Stage3(stage3.clone()));
        let found = all().find(|item| item.name() == name).or(of_root);
        found.ok_or_else(|| {
            let known: BTreeSet<Item> = all().collect();
            let help = if known.is_empty() {
                "graph.ron has no roots".to_owned()
            } else {
                let known: Vec<&str> = known.iter().map(Item::name).collect();
                format!("there is {}", known.join(", "))
            };
            let message = if name == EBUILDS {
                "no root takes a tree of ebuilds: none has packages, or graph.ron does not say whose trees count \
                 (`ebuilds` in `gentoo`)"
                    .to_owned()
            } else {
                format!("no root has the stage3 {name}")
            };
            Failure::new(Exit::Spec, message).help(help)
        })
    };
    names.iter().map(one).collect()
}

fn tell(item: &Item, now: &str, change: &Change, terminal: &Terminal) {
    if terminal.quiet {
        return;
    }
    let name = item.name();
    match change {
        Change::New => outln!("{name}: {now}, new"),
        Change::Same => outln!("{name}: {now}, as before"),
        Change::From(date) => outln!("{name}: from {date} to {now}"),
    }
}

//! Updates of `kiln.lock`: the stage3s and the ebuild tree that builds use.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use super::error::SessionError;
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

/// The name of the ebuild tree. No stage3 has a name like it.
const EBUILDS: &str = "ebuilds";

/// The outcome of an update of one item: its description and the change, or an error.
pub type Updated = Result<(String, Change), String>;

/// Locks the latest versions of `names`, or of everything that the roots of a project use, and reports each. Returns whether
/// there was anything to update. With `dry_run`, `kiln.lock` is not written.
pub fn update(
    spec: &Spec,
    names: &[String],
    dry_run: bool,
    report: &mut dyn FnMut(&Pinned, Updated),
) -> Result<bool, SessionError> {
    let wanted = wanted(spec, names)?;
    let Some(gentoo) = &spec.project.gentoo else { return Ok(false) };
    let upstream = Upstream::new(&spec.root, gentoo).map_err(SessionError::environment)?;
    let mut lock = lock_file::read(&spec.root).map_err(SessionError::request)?;
    let before = lock.clone();
    let mut failed = 0;
    for item in &wanted {
        // A failure does not prevent the update of the others.
        let updated = upstream.update(item, &mut lock);
        failed += usize::from(updated.is_err());
        report(item, updated);
    }
    let named: BTreeSet<&Stage3> = spec.project.roots.values().map(|root| &root.stage3).collect();
    lock.keep(|stage3| named.contains(stage3));
    if !takes_ebuilds(spec) {
        lock.drop_ebuilds();
    }
    if !dry_run && lock != before {
        lock_file::write(&spec.root, &lock).map_err(SessionError::environment)?;
    }
    if failed == 0 {
        return Ok(true);
    }
    let wanted = wanted.len();
    let message = format!("{failed} of {wanted} could not be updated: what was locked for them stays");
    Err(SessionError::environment(message))
}

/// Something that `kiln.lock` pins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub enum Pinned {
    /// The ebuild tree.
    Ebuilds,
    /// A stage3.
    Stage3(Stage3),
}

impl Pinned {
    /// Its name on the command line.
    pub fn name(&self) -> &str {
        match self {
            Self::Ebuilds => EBUILDS,
            Self::Stage3(stage3) => stage3.name(),
        }
    }
}

/// The mirrors, and the keys that their files must be signed with. Keys that can't be read are an error where they are used.
struct Upstream<'a> {
    gentoo: &'a Gentoo,
    mirrors: Mirrors,
    keys: Result<Keyring, KeysError>,
    /// The keys of the ebuild tree.
    ebuild_keys: Option<Result<Keyring, KeysError>>,
}

impl<'a> Upstream<'a> {
    fn new(root: &Path, gentoo: &'a Gentoo) -> Result<Self, FetchError> {
        Ok(Self {
            gentoo,
            mirrors: mirrors(gentoo)?,
            keys: keyring(root, &gentoo.signed_by),
            ebuild_keys: gentoo.ebuilds.as_ref().map(|signers| keyring(root, signers)),
        })
    }

    /// Locks the latest version, and returns its description and the change.
    fn update(&self, item: &Pinned, lock: &mut Lock) -> Result<(String, Change), String> {
        let Self { gentoo, mirrors, keys, ebuild_keys } = self;
        let now = SystemTime::now();
        match (item, ebuild_keys) {
            (Pinned::Stage3(stage3), _) => {
                let keys = keys.as_ref().map_err(ToString::to_string)?;
                let locked =
                    download::latest_stage3(mirrors, stage3, keys, lock.get(stage3), gentoo.fresh, now);
                let locked = locked.map_err(|error| error.to_string())?;
                let description = format!("{} ({})", locked.date, show_size(locked.size));
                Ok((description, lock.update(stage3, locked)))
            }
            (Pinned::Ebuilds, Some(keys)) => {
                let keys = keys.as_ref().map_err(ToString::to_string)?;
                let tree = download::latest_ebuilds(mirrors, keys, lock.ebuilds(), gentoo.fresh, now);
                let tree = tree.map_err(|error| error.to_string())?;
                Ok((tree.day.to_string(), lock.update_ebuilds(tree)))
            }
            (Pinned::Ebuilds, None) => unreachable!("`ebuilds` is wanted only if the spec has its keys"),
        }
    }
}

/// The items that names mean: stage3s, the stage3s of roots, or `ebuilds`. No names mean all.
fn wanted(spec: &Spec, names: &[String]) -> Result<BTreeSet<Pinned>, SessionError> {
    let roots = || spec.project.roots.iter().map(|(name, root)| (name, &root.stage3));
    let stage3s = || roots().map(|(_, stage3)| Pinned::Stage3(stage3.clone()));
    let all = || takes_ebuilds(spec).then_some(Pinned::Ebuilds).into_iter().chain(stage3s());
    if names.is_empty() {
        return Ok(all().collect());
    }
    let one = |name: &String| {
        let of_root =
            roots().find(|(root, _)| *root == name).map(|(_, stage3)| Pinned::Stage3(stage3.clone()));
        let found = all().find(|item| item.name() == name).or(of_root);
        found.ok_or_else(|| {
            let known: BTreeSet<Pinned> = all().collect();
            let help = if known.is_empty() {
                "graph.ron has no roots".to_owned()
            } else {
                let known: Vec<&str> = known.iter().map(Pinned::name).collect();
                format!("there is {}", known.join(", "))
            };
            let message = if name == EBUILDS {
                "no root takes a tree of ebuilds: none has packages, or graph.ron does not say whose trees count \
                 (`ebuilds` in `gentoo`)"
                    .to_owned()
            } else {
                format!("no root has the stage3 {name}")
            };
            SessionError::request(message).help(help)
        })
    };
    names.iter().map(one).collect()
}

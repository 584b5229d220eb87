//! The tree of ebuilds that packages are made by, where the spec says whose counts.

use std::fs;
use std::path::PathBuf;

use crate::exec::{Made, Making};
use crate::gentoo::ebuilds::Tree;
use crate::gentoo::obtain;
use crate::kinds::coming;
use crate::kinds::held::Held;
use crate::kinds::mirrors::mirrors;
use crate::spec::model::Gentoo;

/// Gets a tree, unless it is here. Its image has a name of this run's own, as another run may want another tree.
pub(super) fn image(gentoo: &Gentoo, tree: &Tree, making: &Making<'_>) -> Result<PathBuf, Made> {
    let dir = making.home.join("gentoo/ebuilds");
    let failed = |error| Made::infra(format!("{}: {error}", dir.display()));
    let held = Held::take(&dir, making)?;
    let name = tree.file();
    held.forget_others(&name).map_err(failed)?;
    let to = dir.join(name);
    let mirrors = mirrors(gentoo).map_err(Made::infra)?;
    let what = tree.path();
    let mut watch = coming::watch(making, &what, &to, None);
    obtain::ebuilds(&mirrors, tree, &to, &mut watch).map_err(|error| coming::failed(&error, making))?;
    let ours = making.scratch.join("ebuilds.squashfs");
    fs::hard_link(&to, &ours).map_err(failed)?;
    Ok(ours)
}

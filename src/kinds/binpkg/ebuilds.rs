//! The tree of ebuilds that packages are made by, where the spec says whose counts.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::exec::{Made, Making};
use crate::gentoo::ebuilds::Tree;
use crate::gentoo::obtain;
use crate::kinds::coming;
use crate::kinds::held::Held;
use crate::kinds::mirrors::mirrors;
use crate::spec::model::Gentoo;

/// How many are kept: mirrors do not keep them for long, and projects may have locked different ones.
const KEPT: usize = 4;

/// Gets a tree, unless it is here. Its image has a name of this run's own, as another run may want another tree.
pub(super) fn image(gentoo: &Gentoo, tree: &Tree, making: &Making<'_>) -> Result<PathBuf, Made> {
    let dir = making.home.join("gentoo/ebuilds");
    let failed = |error| Made::infra(format!("{}: {error}", dir.display()));
    let held = Held::take(&dir, making)?;
    let to = dir.join(format!("gentoo-{}-{}.xz.sqfs", tree.day, &tree.sha512.to_string()[..16]));
    let mirrors = mirrors(gentoo).map_err(Made::infra)?;
    let what = tree.path();
    let mut watch = coming::watch(making, &what, &to, None);
    obtain::ebuilds(&mirrors, tree, &to, &mut watch).map_err(|error| coming::failed(&error, making))?;
    // What was used last is what stays.
    File::open(&to).and_then(|file| file.set_modified(SystemTime::now())).map_err(failed)?;
    held.keep_newest(KEPT).map_err(failed)?;
    let ours = making.scratch.join("ebuilds.squashfs");
    fs::hard_link(&to, &ours).or_else(|_| fs::copy(&to, &ours).map(drop)).map_err(failed)?;
    Ok(ours)
}

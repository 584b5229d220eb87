//! The ebuild tree that packages are built from.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::exec::{BuiltinResult, BuiltinRun};
use crate::gentoo::download;
use crate::gentoo::ebuilds::EbuildTree;
use crate::kinds::mirrors::{self, LockedDir};
use crate::spec::model::Gentoo;

/// The number of trees that are kept: mirrors drop them soon, and projects may have locked different ones.
const KEPT: usize = 4;

/// Downloads a tree unless it is present. The returned image is a link of this run, as another run may replace the tree.
pub(super) fn image(
    gentoo: &Gentoo,
    tree: &EbuildTree,
    making: &BuiltinRun<'_>,
) -> Result<PathBuf, BuiltinResult> {
    let dir = making.home.join("gentoo/ebuilds");
    let failed = |error| BuiltinResult::infra(format!("{}: {error}", dir.display()));
    let locked_dir = LockedDir::take(&dir, making)?;
    let to = dir.join(format!("gentoo-{}-{}.xz.sqfs", tree.day, &tree.sha512.to_string()[..16]));
    let mirrors = mirrors::mirrors(gentoo).map_err(BuiltinResult::infra)?;
    let what = tree.path();
    let mut watch = mirrors::progress(making, &what, &to, None);
    download::ebuilds(&mirrors, tree, &to, &mut watch).map_err(|error| mirrors::failure(&error, making))?;
    // The most recently used trees are kept.
    File::open(&to).and_then(|file| file.set_modified(SystemTime::now())).map_err(failed)?;
    locked_dir.keep_newest(KEPT).map_err(failed)?;
    let ours = making.scratch.join("ebuilds.squashfs");
    fs::hard_link(&to, &ours).or_else(|_| fs::copy(&to, &ours).map(drop)).map_err(failed)?;
    Ok(ours)
}

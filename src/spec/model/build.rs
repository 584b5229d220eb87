//! Builds: the points of the matrix.

use std::collections::{BTreeMap, BTreeSet};

use super::{Axis, ParamValue};
use crate::spec::name::BuildId;

/// A build: one point of the matrix.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its values on the axes of the matrix.
    pub id: BuildId,
    /// `SYMBOL=VALUE` in order, each symbol once.
    pub fixups: Vec<String>,
    /// Those of them that the final `.config` may have otherwise.
    pub(in crate::spec) optional: BTreeSet<String>,
    /// Values of parameters that the spec gives; defaults are the rules' own.
    pub params: BTreeMap<String, ParamValue>,
}

impl Build {
    /// The fixups that the final `.config` must have as they are.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.fixups.iter().map(String::as_str).filter(|fixup| !self.optional.contains(*fixup))
    }

    /// Its value on an axis; `None` for board and test, which are found out later, and for roots.
    pub fn axis(&self, axis: Axis) -> Option<&str> {
        match axis {
            Axis::Source => Some(&self.id.source),
            Axis::Arch => Some(&self.id.arch),
            Axis::Defconfig => Some(&self.id.defconfig),
            Axis::Toolchain => Some(&self.id.toolchain),
            Axis::Board | Axis::Test | Axis::Root => None,
        }
    }
}

//! Which root a build's toolchain is in, and how much of the build is done there.

use super::model::{Compiler, Project, RootMode, RootSpec, Toolchain};

/// Where the programs of a root's toolchain are found in a sandbox that has this machine's own programs: what `CROSS_COMPILE`
/// begins with.
pub const TOOLCHAIN: &str = "/kiln/toolchain/";

/// The root of a toolchain for one arch.
#[derive(Clone, Copy, Debug)]
pub struct InRoot<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub root: &'a RootSpec,
    /// What is done in it. A root whose programs this machine runs as they are has nothing to save: there it is everything.
    pub mode: &'a RootMode,
}

/// The root that a toolchain is in, for an arch; `None` where it is in none.
pub fn in_root<'a>(project: &'a Project, arch: &str, toolchain: &'a Toolchain) -> Option<InRoot<'a>> {
    let Compiler::Root(mode) = &toolchain.compiler else { return None };
    let name = &toolchain.targets.get(arch)?.value;
    let root = &project.roots.get(name)?.value;
    let mode = if root.stage3.value.is_native() { &RootMode::Emulated } else { mode };
    Some(InRoot { name, root, mode })
}

impl InRoot<'_> {
    /// This machine's compiler for `arch`, where it does the work of the root's.
    pub fn compiler(&self, project: &Project, arch: &str) -> Option<String> {
        match self.mode {
            RootMode::Emulated | RootMode::Mixed => None,
            RootMode::Hybrid(other) => {
                let prefix = project.toolchains.get(&other.value)?.value.targets.get(arch)?;
                Some(format!("{}gcc", prefix.value))
            }
        }
    }
}

//! The root that a toolchain is in, and how much of a build its programs do.

use std::sync::Arc;

use super::model::{Compiler, Project, RootMode, RootSpec, Toolchain};

/// Where the programs of a root's toolchain are in a sandbox that shows this machine's own programs: the value of
/// `CROSS_COMPILE`.
pub const TOOLCHAIN: &str = "/kiln/toolchain/";

/// The root that the programs of an action are in.
#[derive(Debug)]
pub struct Root {
    /// Its name.
    pub name: Arc<str>,
    /// How much of the work its programs do.
    pub mode: RootMode,
    /// This machine's compiler, where it replaces the root's.
    pub compiler: Option<String>,
    /// The id of the account that its programs run as.
    pub user: u32,
}

impl Root {
    /// The input that is its files. No rule can declare inputs of such names.
    pub const FILES: &'static str = "@root";

    /// The input that describes where its programs are.
    pub const ABOUT: &'static str = "@about";

    /// The root of a toolchain for an arch.
    pub(super) fn of(root: &ToolchainRoot<'_>, project: &Project, arch: &str) -> Self {
        Self {
            name: root.name.into(),
            mode: root.mode.clone(),
            compiler: root.compiler(project, arch),
            user: root.root.user.id,
        }
    }

    /// Whether every program that runs is the root's own.
    pub fn is_whole(&self) -> bool {
        matches!(self.mode, RootMode::Emulated)
    }
}

/// The root of a toolchain for one arch, as declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToolchainRoot<'a> {
    /// Its name.
    pub name: &'a str,
    /// The declaration.
    pub root: &'a RootSpec,
    /// How much of the work its programs do. All of it where this machine runs them natively: nothing could be saved.
    pub mode: &'a RootMode,
}

/// The root that a toolchain is in, for an arch; `None` where it is in none.
pub(super) fn in_root<'a>(
    project: &'a Project,
    arch: &str,
    toolchain: &'a Toolchain,
) -> Option<ToolchainRoot<'a>> {
    let Compiler::Root(mode) = &toolchain.compiler else { return None };
    let name = toolchain.targets.get(arch)?;
    let root = project.roots.get(name)?;
    let mode = if root.stage3.is_native() { &RootMode::Emulated } else { mode };
    Some(ToolchainRoot { name, root, mode })
}

impl ToolchainRoot<'_> {
    /// This machine's compiler for `arch`, where it does the work of the root's.
    pub fn compiler(&self, project: &Project, arch: &str) -> Option<String> {
        match self.mode {
            RootMode::Emulated | RootMode::Mixed => None,
            RootMode::Hybrid(other) => {
                let prefix = project.toolchains.get(other)?.targets.get(arch)?;
                Some(format!("{prefix}gcc"))
            }
        }
    }
}

//! The spec as values. Field by field, this is `docs/graph-ron.md` and `docs/rules.md`.
//!
//! Records exist in two forms ([`form`]): with the places in the files for the checks, and plain for all that follows.

mod axis;
mod build;
mod cache;
mod config;
mod files;
pub mod form;
mod keys;
mod kind;
mod labs;
mod param;
mod resources;
mod roots;
mod rule;
mod source;
mod toolchain;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::Date;

use form::{Form, Of, Plain};

pub use super::template::{Part, Template};
pub use axis::Axis;
pub use build::Build;
pub use cache::{CacheLimit, CacheSettings, RemoteCache, SecretFrom};
pub use config::{Config, Fixup, RANDCONFIG};
pub use files::{Input, Output, OutputSelector, OutputShape, ROOTFS, RunReport};
pub use keys::ModuleKey;
pub use kind::Kind;
pub use labs::{
    Board, Definition, DefinitionFrom, Lab, LabKind, LavaLab, PRIORITIES, Publish, Qemu, Skip, Test,
    Visibility,
};
pub use param::{Param, ParamType, ParamValue};
pub use resources::Resources;
pub use roots::{Gentoo, RootMode, RootSpec, Signers, User};
pub use rule::{
    Discover, Discoverer, HostRef, Incremental, OutcomePolicy, Rule, SandboxRoot, SandboxSettings,
    SystemCalls, Tool,
};
pub use source::{Origin, Source, TarballDigest};
pub use toolchain::{Arch, AttrValue, Compiler, Toolchain};

/// A checked spec: the project, its rules and its builds.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The directory of `graph.ron`. Every relative path starts here.
    pub root: PathBuf,
    /// `graph.ron` and its imports.
    pub project: Project,
    /// `rules/*.ron`, by file stem.
    pub rules: BTreeMap<String, Rule>,
    /// The builds of the matrix, sorted by identity.
    pub builds: Vec<Build>,
    /// The day on which the spec was read, in UTC. Skips that end on a day are compared with it.
    pub today: Date,
}

/// `graph.ron`, without the matrix, which is expanded to builds.
#[derive(Clone, Debug)]
pub struct Project {
    /// Source trees by name.
    pub sources: BTreeMap<String, Source>,
    /// Architectures by name (the first part is Gentoo's name; `kernel` is kbuild's).
    pub archs: BTreeMap<String, Arch>,
    /// Toolchains by name.
    pub toolchains: BTreeMap<String, Toolchain>,
    /// Where stage3s come from.
    pub gentoo: Option<Gentoo>,
    /// Roots by name.
    pub roots: BTreeMap<String, RootSpec>,
    /// Named configurations. Any other defconfig is a kbuild target.
    pub configs: BTreeMap<String, Config>,
    /// Boards by name.
    pub boards: BTreeMap<String, Board>,
    /// Labs by name.
    pub labs: BTreeMap<String, Lab>,
    /// Tests by name.
    pub tests: BTreeMap<String, Test>,
    /// Where LAVA labs fetch files from.
    pub publish: Option<Publish>,
    /// Actions that are not part of the matrix. The node is `RULE:NAME`.
    pub actions: BTreeMap<String, ActionEntry>,
    /// Sizes of the named pools that rules draw on.
    pub pools: BTreeMap<String, u32>,
    /// Cache settings.
    pub cache: CacheSettings,
    /// Remote caches, in the order in which they are asked.
    pub remotes: Vec<RemoteCache>,
    /// Public keys whose signatures make a remote result trusted: `NAME:BASE64`.
    pub keys: Vec<String>,
    /// Where the key is that signs what is pushed.
    pub sign: Option<SecretFrom>,
    /// Keys that sign kernel modules, by name.
    pub module_keys: BTreeMap<String, ModuleKey>,
    /// Whether a configuration fails that makes different kernels of equal inputs. Otherwise it gets a note.
    pub repeatable: bool,
}

impl Project {
    /// The kind of the labs of a board. `None` where none of them is declared.
    pub fn lab_kind(&self, board: &Board) -> Option<LabKind> {
        board.labs.iter().find_map(|lab| self.labs.get(lab)).map(Lab::kind)
    }
}

/// An entry of `actions`.
#[derive(Clone, Debug)]
pub struct ActionEntry<F: Form = Plain> {
    /// The rule.
    pub rule: Of<F, String>,
    /// Parameter values.
    pub params: BTreeMap<String, Of<F, ParamValue>>,
}

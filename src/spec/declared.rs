//! The spec as declared: values with their places, before the matrix is expanded. Only the decoder, the checks and the
//! lowering see it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::Date;

use super::diagnostic::Spanned;
use super::model::form::Declared;
use super::model::{self, CacheSettings, Fixup, ParamValue, SecretFrom, TarballDigest};

/// Values by name, with the place of each name.
pub type Named<T> = BTreeMap<String, Spanned<T>>;

pub type ActionEntry = model::ActionEntry<Declared>;
pub type Arch = model::Arch<Declared>;
pub type Board = model::Board<Declared>;
pub type Compiler = model::Compiler<Declared>;
pub type Config = model::Config<Declared>;
pub type Definition = model::Definition<Declared>;
pub type DefinitionFrom = model::DefinitionFrom<Declared>;
pub type Discover = model::Discover<Declared>;
pub type Gentoo = model::Gentoo<Declared>;
pub type Input = model::Input<Declared>;
pub type Lab = model::Lab<Declared>;
pub type LavaLab = model::LavaLab<Declared>;
pub type ModuleKey = model::ModuleKey<Declared>;
pub type Output = model::Output<Declared>;
pub type OutputSelector = model::OutputSelector<Declared>;
pub type OutputShape = model::OutputShape<Declared>;
pub type Param = model::Param<Declared>;
pub type Publish = model::Publish<Declared>;
pub type Qemu = model::Qemu<Declared>;
pub type RemoteCache = model::RemoteCache<Declared>;
pub type Resources = model::Resources<Declared>;
pub type RootMode = model::RootMode<Declared>;
pub type RootSpec = model::RootSpec<Declared>;
pub type Rule = model::Rule<Declared>;
pub type Signers = model::Signers<Declared>;
pub type Skip = model::Skip<Declared>;
pub type Test = model::Test<Declared>;
pub type Toolchain = model::Toolchain<Declared>;

/// Everything that was read: the project and its rules.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The directory of `graph.ron`. Every relative path starts here.
    pub root: PathBuf,
    /// `graph.ron`, its imports merged in.
    pub project: Project,
    /// `rules/*.ron`, by file stem.
    pub rules: Named<Rule>,
    /// The day on which it was read, in UTC. Skips that end on a day are compared with it.
    pub today: Date,
}

/// `graph.ron`.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Source trees by name.
    pub sources: Named<Source>,
    /// Architectures by name (the first part is Gentoo's word; `kernel` is kbuild's).
    pub archs: Named<Arch>,
    /// Toolchains by name.
    pub toolchains: Named<Toolchain>,
    /// Where stage3s come from.
    pub gentoo: Option<Spanned<Gentoo>>,
    /// Roots by name.
    pub roots: Named<RootSpec>,
    /// Named lists of CONFIG fixups, taken up in other lists as `"@name"`.
    pub fixups: Named<Vec<Spanned<Fixup>>>,
    /// Named configurations; any other name in `defconfigs` that ends in `config` is a kbuild target as it is.
    pub configs: Named<Config>,
    /// Parts that builds share through `extends`.
    pub presets: Named<BuildPart>,
    /// The matrix.
    pub builds: Vec<Spanned<BuildPart>>,
    /// Boards by name.
    pub boards: Named<Board>,
    /// Labs by name.
    pub labs: Named<Lab>,
    /// Tests by name.
    pub tests: Named<Test>,
    /// Where LAVA labs fetch files from.
    pub publish: Option<Spanned<Publish>>,
    /// Actions that are no part of the matrix: the node is `RULE:NAME`.
    pub actions: Named<ActionEntry>,
    /// Bounds of the named pools that rules draw on.
    pub pools: Named<u32>,
    /// Cache settings.
    pub cache: CacheSettings,
    /// Caches elsewhere, in the order in which they are asked.
    pub remotes: Vec<Spanned<RemoteCache>>,
    /// Public keys whose signatures make a remote's results count: `NAME:BASE64`.
    pub keys: Vec<Spanned<String>>,
    /// Where the key is that signs what is pushed.
    pub sign: Option<Spanned<SecretFrom>>,
    /// Keys that sign modules, by name.
    pub module_keys: Named<ModuleKey>,
    /// Whether a configuration fails that makes different kernels of equal inputs. Default: it gets a note.
    pub repeatable: Option<Spanned<bool>>,
}

/// Where a source tree comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// `Dir("path")`: a directory, taken as it is.
    Dir {
        /// Where it is.
        path: Spanned<PathBuf>,
    },
    /// `Git(path: "path", rev: "v6.12")`: a checkout. Without `rev` its files as they are, without `.git`; with `rev`
    /// that commit's files, exported by kiln.
    Git {
        /// Where the checkout is.
        path: Spanned<PathBuf>,
        /// The commit, by any name git knows it.
        rev: Option<Spanned<String>>,
    },
    /// `Tarball(path: "x.tar.xz", digest: "sha256:..." | "blake3:...", strip: 1)`.
    Tarball {
        /// Where the archive is.
        path: Spanned<PathBuf>,
        /// What it must hash to.
        digest: Spanned<TarballDigest>,
        /// Leading parts to take off every path in it. Default 1.
        strip: u32,
    },
}

/// An entry of `builds` or `presets`. Lists of what it `extends` come first, its own are appended.
#[derive(Clone, Debug, Default)]
pub struct BuildPart {
    /// Names of presets.
    pub extends: Vec<Spanned<String>>,
    /// Names of sources.
    pub sources: Vec<Spanned<String>>,
    /// Names of arches.
    pub archs: Vec<Spanned<String>>,
    /// Names in `configs`, or kbuild targets.
    pub defconfigs: Vec<Spanned<String>>,
    /// Names of toolchains.
    pub toolchains: Vec<Spanned<String>>,
    /// Settings and lists of them.
    pub fixups: Vec<Spanned<Fixup>>,
    /// Values for parameters of rules, by parameter name.
    pub params: BTreeMap<String, Spanned<ParamValue>>,
    /// Combinations to leave out: every axis named must be equal.
    pub exclude: Vec<Spanned<AxisFilter>>,
    /// Single combinations to add: all four axes are named.
    pub include: Vec<Spanned<AxisFilter>>,
}

/// `(source: "..", arch: "..", defconfig: "..", toolchain: "..")`, each optional where it filters.
#[derive(Clone, Debug, Default)]
pub struct AxisFilter {
    /// Source name.
    pub source: Option<Spanned<String>>,
    /// Arch name.
    pub arch: Option<Spanned<String>>,
    /// Config name or kbuild target.
    pub defconfig: Option<Spanned<String>>,
    /// Toolchain name.
    pub toolchain: Option<Spanned<String>>,
}

impl Project {
    /// The kind of the labs of a board. `None` where none of them is declared.
    pub fn lab_kind(&self, board: &Board) -> Option<model::LabKind> {
        board.labs.iter().find_map(|lab| self.labs.get(&lab.value)).map(|lab| lab.value.kind())
    }
}

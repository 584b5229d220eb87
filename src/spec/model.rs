//! The spec as values. Field by field, this is `docs/graph-ron.md` and `docs/rules.md`.

mod keys;
mod labs;
mod roots;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;

use super::diagnostic::{Sources, Spanned};

pub use keys::ModuleKey;
pub use labs::{
    Board, Definition, DefinitionFrom, Lab, LabKind, LavaLab, PRIORITIES, Publish, Qemu, Skip, Test,
    Visibility,
};
pub use roots::{Gentoo, RootMode, RootSpec, Signers, User};

/// Names in the order the spec gives them do not matter: all maps are sorted, so that equal specs are equal.
pub type Named<T> = BTreeMap<String, Spanned<T>>;

/// Everything that was read: the project and its rules.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The directory of `graph.ron`: every relative path starts here.
    pub root: PathBuf,
    /// The texts, for diagnostics raised later.
    pub texts: Sources,
    /// `graph.ron`, its imports merged in.
    pub project: Project,
    /// `rules/*.ron`, by file stem.
    pub rules: Named<Rule>,
    /// The day on which it was read, in UTC: what a skip that ends on a day is held against.
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
    /// Whether a configuration fails by which equal inputs make other kernels. Default: it is told, and no failure.
    pub repeatable: Option<Spanned<bool>>,
}

impl Project {
    /// Whether a configuration fails by which equal inputs make other kernels.
    pub fn is_repeatable(&self) -> bool {
        self.repeatable.as_ref().is_some_and(|repeatable| repeatable.value)
    }
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

/// The digest a tarball must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarballDigest {
    /// `sha256:HEX`, as kernel.org publishes.
    Sha256([u8; 32]),
    /// `blake3:HEX`.
    Blake3(crate::digest::Digest),
}

/// An architecture.
#[derive(Clone, Debug)]
pub struct Arch {
    /// kbuild's `ARCH=` value. Default: the arch's own name.
    pub kernel: Option<Spanned<String>>,
    /// The boot image, relative to O=. Default: `vmlinux`.
    pub image: String,
    /// kbuild targets that make it. Default: `["all"]`.
    pub targets: Vec<String>,
    /// Free attributes for rules of the user's own: `{arch.NAME}`.
    pub attrs: BTreeMap<String, AttrValue>,
}

/// A free attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttrValue {
    /// One text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

/// Where a compiler is, and of which family.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// `Gcc(..)`: `PREFIXgcc` and binutils with the same prefix.
    Gcc,
    /// `Clang(..)`: `clang` and LLVM's binutils.
    Clang,
    /// `Root(..)`: the gcc of a root.
    Root(RootMode),
}

/// A toolchain: one compiler for a number of arches.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Which one.
    pub compiler: Compiler,
    /// arch -> cross prefix (`""` for the host's own); for a compiler in a root, arch -> root.
    pub targets: BTreeMap<String, Spanned<String>>,
    /// Make variables, `NAME=VALUE`, after `ARCH=` and `CROSS_COMPILE=`.
    pub make: Vec<Spanned<String>>,
    /// Directories looked in before the system's own.
    pub path: Vec<Spanned<PathBuf>>,
    /// Programs that its own ones run, such as the compiler behind a wrapper.
    pub tools: Vec<Spanned<String>>,
}

/// A named configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The kbuild targets it starts from, made in turn: `allnoconfig`, or `defconfig` and `kvm_guest.config`. Not empty.
    pub base: Vec<Spanned<String>>,
    /// What `randconfig` draws its numbers from.
    pub seed: Option<Spanned<u32>>,
    /// Config fragments, merged in order.
    pub fragments: Vec<Spanned<PathBuf>>,
    /// Fixups of its own, before the build's.
    pub fixups: Vec<Spanned<Fixup>>,
}

/// A CONFIG fixup: `"SYMBOL=VALUE"`, `"@name"`, or `Optional("..")` of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixup {
    /// `SYMBOL=VALUE`, without `CONFIG_`, or `@name`.
    pub text: String,
    /// Whether the final `.config` may have it otherwise; of a list, all that is in it.
    pub optional: bool,
}

/// A host program that a rule runs: `"zstd"`, or `Optional("zstd")`.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub program: Template,
    /// Whether the rule does without it where it is not installed.
    pub optional: bool,
}

/// Something else of the host that a rule reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRef {
    /// `"/usr/share/data"`: a file or directory.
    Path(PathBuf),
    /// `Library("elf")`: what the linker takes for `-lelf`.
    Library(String),
}

/// The kbuild target that makes another configuration each time, unless it is given a seed.
pub const RANDCONFIG: &str = "randconfig";

impl Config {
    /// Whether chance has a part in it.
    pub fn is_random(&self) -> bool {
        self.base.iter().any(|target| target.value == RANDCONFIG)
    }
}

impl Fixup {
    /// The list that it takes up, where it is `@name`.
    pub fn list(&self) -> Option<&str> {
        self.text.strip_prefix('@')
    }
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

/// An entry of `actions`.
#[derive(Clone, Debug)]
pub struct ActionEntry {
    /// The rule.
    pub rule: Spanned<String>,
    /// Parameter values.
    pub params: BTreeMap<String, Spanned<ParamValue>>,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamValue {
    /// A text, path or node name.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// A list of texts.
    List(Vec<String>),
}

/// Cache settings.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The cache's home, relative to the project. Default `cache`.
    pub path: PathBuf,
    /// How many bytes kept output directories may take. Default 20 GiB.
    pub kept: u64,
    /// What it is kept within after each build.
    pub limit: CacheLimit,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { path: PathBuf::from("cache"), kept: 20 << 30, limit: CacheLimit::default() }
    }
}

/// A cache elsewhere: `(name: "ci", url: "https://cache.example/kiln", write: true)`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct RemoteCache {
    /// What people call it.
    pub name: Spanned<String>,
    /// `dir:PATH`, `http(s)://..` or `grpc(s)://..`.
    pub url: Spanned<String>,
    /// Which of a server's caches; part of what is signed. Default: none.
    pub instance: String,
    /// Whether results are pushed to it.
    pub write: bool,
    /// Whether kept output directories go there and come from there, too.
    pub kept: bool,
    /// Whether results go there that were built by continuing, and that no run from nothing has made.
    pub continued: bool,
    /// Whether its results count without a signature.
    pub unsigned: bool,
    /// What lets kiln in: a bearer token, or a password where there is a user.
    pub token: Option<SecretFrom>,
    /// A user's name.
    pub user: Option<String>,
    /// A file with the authorities that its certificate must come from. Default: the system's.
    pub ca: Option<Spanned<PathBuf>>,
    /// A file with a certificate of ours, for servers that want one.
    pub certificate: Option<Spanned<PathBuf>>,
    /// The file with that certificate's key.
    pub certificate_key: Option<Spanned<PathBuf>>,
    /// How long to wait for an answer. Default 10 s.
    pub timeout: Duration,
}

/// Where a secret is: never in the spec itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// `Env("NAME")`: an environment variable.
    Env(String),
    /// `File("path")`: a file that nobody else may read.
    File(PathBuf),
}

/// The bounds of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLimit {
    /// How many bytes it may take. Default: no bound.
    pub size: Option<u64>,
    /// How long things stay that are not used. Default: no bound.
    pub age: Option<Duration>,
    /// How many bytes of the file system it leaves free. Default: 2 GiB, or a twentieth of a small file system.
    pub free: Option<u64>,
}

/// `rules/NAME.ron`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is for, shown to people; not part of any key.
    pub doc: String,
    /// What runs it.
    pub kind: Kind,
    /// The axes it is instantiated over: one node for each combination that the matrix has. `None`: only through
    /// `actions`. The node's name is `RULE:` and the axis values joined by `/`.
    pub per: Option<Vec<Spanned<Axis>>>,
    /// Where the values of axis `board` come from: an output that is a JSON list of names.
    pub expand: Option<Spanned<OutputRef>>,
    /// Declared parameters.
    pub params: Named<Param>,
    /// Host programs it runs, by name or template; part of the key with the libraries they load.
    pub tools: Vec<Spanned<Tool>>,
    /// Host files or directories it reads; part of the key.
    pub host: Vec<Spanned<HostRef>>,
    /// Inputs by name: `{in.NAME}` is the path inside the sandbox.
    pub inputs: Named<Input>,
    /// Environment on top of the fixed one.
    pub env: BTreeMap<String, Spanned<Template>>,
    /// How it is found out what of its inputs a run reads. `None`: all of every source tree counts.
    pub discover: Option<Discover>,
    /// Whether its steps can continue in the output directory of their last run. `None`: each starts with an empty one.
    pub incremental: Option<Incremental>,
    /// Commands, run in turn; an argument that is one list placeholder is spliced.
    pub steps: Vec<Spanned<Vec<Spanned<Template>>>>,
    /// Outputs by name.
    pub outputs: Named<Output>,
    /// Directory below `out/` at which the outputs appear. `None`: they stay in the cache.
    pub export: Option<Spanned<Template>>,
    /// What the sandbox lets in.
    pub sandbox: SandboxSettings,
    /// What a run takes.
    pub resources: Resources,
    /// After which a run is killed.
    pub time_limit: Option<Duration>,
    /// How often a run whose outcome is infra is tried again.
    pub retries: u32,
    /// What counts as what.
    pub outcome: OutcomePolicy,
}

/// How it is found out what of its inputs a run reads.
#[derive(Clone, Debug)]
pub struct Discover {
    /// The inputs it is about: source trees, and outputs of other nodes that are directories. Of them, only what was
    /// read counts; every other input counts whole.
    pub inputs: Vec<Spanned<String>>,
    /// Who may tell, best first: the first that this machine has is believed.
    pub by: Vec<Spanned<Discoverer>>,
    /// Globs of file names that no step looks for in one directory after the other. A new file of such a name
    /// somewhere else in the tree can't be found instead of the one that was read.
    pub unsearched: Vec<Spanned<String>>,
}

/// Who tells what a run read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discoverer {
    /// `Fanotify`: the host's kernel reports what is opened.
    Fanotify,
    /// `Kbuild`: the records that kbuild keeps of its dependencies, and whole directories for what they don't tell.
    Kbuild,
}

/// How steps continue in the output directory of their last run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incremental {
    /// `Kbuild`: by time stamps and the records that kbuild keeps of its dependencies.
    Kbuild,
}

impl Discoverer {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fanotify => "fanotify",
            Self::Kbuild => "kbuild",
        }
    }
}

/// What runs a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `steps`, in the sandbox.
    Command,
    /// `steps`, as for `Command`, which make a final `.config`; kiln then holds it to the build's fixups.
    Config,
    /// kiln itself: which boards can a `.config` boot.
    Match,
    /// kiln itself: one boot under QEMU, here.
    Job,
    /// kiln itself: one job at a LAVA lab.
    Lava,
    /// kiln itself: a stage3 as an image.
    Stage3,
    /// kiln itself: an account and packages, installed over a stage3.
    Binpkg,
}

impl Kind {
    /// The placeholders whose values a built-in kind takes, though no template of the rule names them.
    pub const fn bindings(self) -> &'static [&'static str] {
        match self {
            Self::Command | Self::Match => &[],
            Self::Config => &["fixups.required", "repeatable"],
            Self::Job => &["board.qemu", "board.args", "board.cmdline", "test.marker", "test.time_limit"],
            // What of a board and a test the job's definition can hold. Not which lab it is sent to, nor by what name.
            Self::Lava => &[
                "board.device_type",
                "board.tags",
                "board.vars",
                "test.lava",
                "test.marker",
                "test.time_limit",
            ],
            // Who signs is part of it: a build whose signer has lost the trust is not to be used any longer.
            Self::Stage3 => &["root.stage3", "root.signers"],
            Self::Binpkg => &[
                "root.packages",
                "root.user",
                "root.uid",
                "root.binhosts",
                "root.package_signers",
                "root.ebuild_signers",
            ],
        }
    }

    /// The outputs that such a rule must declare, as files.
    pub const fn makes(self) -> &'static [&'static str] {
        match self {
            Self::Stage3 => &["image"],
            Self::Binpkg => &["image", "about"],
            Self::Command | Self::Config | Self::Match | Self::Job | Self::Lava => &[],
        }
    }

    /// The labs whose boards the nodes of such a rule are for; `None`: those of any.
    pub const fn boots(self) -> Option<LabKind> {
        match self {
            Self::Command | Self::Config | Self::Match | Self::Stage3 | Self::Binpkg => None,
            Self::Job => Some(LabKind::Qemu),
            Self::Lava => Some(LabKind::Lava),
        }
    }

    /// The placeholder that names the lab of which a run takes a slot. A LAVA job has none: at which of its board's labs it
    /// runs is found out when it is sent.
    pub const fn lab(self) -> Option<&'static str> {
        match self {
            Self::Command | Self::Config | Self::Match | Self::Lava | Self::Stage3 | Self::Binpkg => None,
            Self::Job => Some("board.lab"),
        }
    }
}

/// An axis of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// Source tree.
    Source,
    /// Architecture.
    Arch,
    /// Configuration.
    Defconfig,
    /// Toolchain.
    Toolchain,
    /// Board (only with `expand`).
    Board,
    /// Test (only with `Board`).
    Test,
    /// Root (alone).
    Root,
}

impl Axis {
    /// All axes, in the order of a build's id; a board and a test come after, and the root, which is no part of a build.
    pub const ALL: [Self; 7] =
        [Self::Source, Self::Arch, Self::Defconfig, Self::Toolchain, Self::Board, Self::Test, Self::Root];

    /// The axes of a build.
    pub const BUILD: [Self; 4] = [Self::Source, Self::Arch, Self::Defconfig, Self::Toolchain];

    /// The axis as `per` and placeholders write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Arch => "arch",
            Self::Defconfig => "defconfig",
            Self::Toolchain => "toolchain",
            Self::Board => "board",
            Self::Test => "test",
            Self::Root => "root",
        }
    }
}

impl Rule {
    /// Whether the rule has one node for each value of the axis.
    pub fn has_axis(&self, axis: Axis) -> bool {
        self.axes().any(|own| own == axis)
    }

    /// The axes, in the order of the node's name.
    pub fn axes(&self) -> impl Iterator<Item = Axis> {
        self.per.iter().flatten().map(|axis| axis.value)
    }

    /// Whether of that input only what a run reads counts.
    pub fn discovers(&self, input: &str) -> bool {
        let discover = self.discover.as_ref();
        discover.is_some_and(|discover| discover.inputs.iter().any(|name| name.value == input))
    }

    /// Whether there is one node for each build (and maybe board and test).
    pub fn is_per_build(&self) -> bool {
        Axis::BUILD.into_iter().all(|axis| self.has_axis(axis))
    }
}

impl ParamType {
    /// The type as rule files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Str => "Str",
            Self::Int => "Int",
            Self::Bool => "Bool",
            Self::Path => "Path",
            Self::Node => "Node",
            Self::Strs => "Strs",
            Self::Paths => "Paths",
        }
    }

    /// Whether a value is of this type.
    pub const fn admits(self, value: &ParamValue) -> bool {
        matches!(
            (self, value),
            (Self::Str | Self::Path | Self::Node, ParamValue::Text(_))
                | (Self::Int, ParamValue::Int(_))
                | (Self::Bool, ParamValue::Bool(_))
                | (Self::Strs | Self::Paths, ParamValue::List(_))
        )
    }

    /// Whether its values are lists.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Strs | Self::Paths)
    }
}

/// A declared parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its type.
    pub ty: ParamType,
    /// Its value where none is given.
    pub default: Option<Spanned<ParamValue>>,
    /// For people.
    pub doc: String,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// Any text.
    Str,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A path inside the project.
    Path,
    /// The name of an action, `RULE:NAME`.
    Node,
    /// A list of texts.
    Strs,
    /// A list of paths.
    Paths,
}

/// The placeholder that may stand for a rule in a reference: what makes a board's user space is the board's to say.
pub const ROOTFS: &str = "board.rootfs";

/// A reference to an output of another rule's node: the node with the same values on the axes both have.
#[derive(Clone, Debug)]
pub struct OutputRef {
    /// The rule: by its name, as [`ROOTFS`], or as a `{param}` of type `Node`, which is a whole node name.
    pub rule: Spanned<Template>,
    /// The output's name.
    pub output: Spanned<Template>,
    /// Whether a run may do without it: what was not made is not there then.
    pub optional: bool,
}

/// An input.
#[derive(Clone, Debug)]
pub enum Input {
    /// `Source("{source}")`: a source tree, mounted read-only.
    Source(Spanned<Template>),
    /// `File("path or {param}")`: a file or directory of the project.
    File(Spanned<Template>),
    /// `Output(rule: "config", output: "config", optional: false)`.
    Output(OutputRef),
    /// `ModuleKey("name")`: a signing key with its certificate, in memory; nothing for the empty name.
    ModuleKey(Spanned<Template>),
    /// `Root("name")`: all files of a root; what a run writes there, it alone sees.
    Root(Spanned<Template>),
    /// `Concat(files: "{list of paths}", lines: "{list}")`: one file, the files' bytes and then the lines.
    Concat {
        /// Files of the project.
        files: Option<Spanned<Template>>,
        /// Lines after them.
        lines: Option<Spanned<Template>>,
    },
}

/// An output, relative to `{out}`.
#[derive(Clone, Debug)]
pub struct Output {
    /// What it is.
    pub shape: OutputShape,
    /// Whether it may be missing.
    pub optional: bool,
    /// Its name under `out/`. Default: the last part of the path (for a tree: the output's name).
    pub name: Option<Spanned<Template>>,
    /// Whether it appears where the rule's outputs do; otherwise it is for other nodes alone. Default: yes.
    pub export: bool,
}

/// What an output is.
#[derive(Clone, Debug)]
pub enum OutputShape {
    /// `File("path")`
    File(Spanned<Template>),
    /// `Tree("path")`: a directory and all in it.
    Tree(Spanned<Template>),
    /// `Glob("**/*.ko")`: a tree of the files that match.
    Glob(Spanned<Template>),
    /// A file in which kiln tells of the run itself. It is nothing that the steps made, so that no other rule can take
    /// it for an input, and two runs are the same whatever it says. There is one of a run that failed, too.
    Report(RunReport, Spanned<Template>),
}

impl OutputShape {
    /// Where it is below the output directory, or the pattern of what it is.
    pub const fn path(&self) -> &Spanned<Template> {
        let (Self::File(path) | Self::Tree(path) | Self::Glob(path) | Self::Report(_, path)) = self;
        path
    }

    /// Whether it is something that the steps make.
    pub const fn is_made(&self) -> bool {
        !matches!(self, Self::Report(..))
    }
}

/// What is told of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunReport {
    /// `Log("build.log")`: all that its steps printed.
    Log,
    /// `Messages("messages.json")`: the warnings and errors of compilers and of kbuild in it.
    Messages,
    /// `Metadata("metadata.json")`: all that is needed to do it again.
    Metadata,
}

/// What the sandbox lets in.
#[derive(Clone, Copy, Debug, Default)]
pub struct SandboxSettings {
    /// Whether the host's network can be reached. Default: no.
    pub network: bool,
    /// Where steps run.
    pub root: SandboxRoot,
    /// Which system calls steps may use.
    pub system_calls: SystemCalls,
}

/// Which system calls steps may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SystemCalls {
    /// `Filtered`: those that builds need. The default.
    #[default]
    Filtered,
    /// `Unfiltered`: all that the kernel has, for steps that need one of the others.
    Unfiltered,
}

/// Where steps run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxRoot {
    /// `Host`: among this machine's own programs. The default.
    #[default]
    Host,
    /// `Toolchain`: where the toolchain is, which may be in a root.
    Toolchain,
}

/// What a run takes.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Cores. Default 1.
    pub cpu: u32,
    /// Bytes of memory: it waits until they are free, and fails if it takes more. Default 0: it does not wait, and may
    /// take most of what the machine has.
    pub memory: u64,
    /// The most processes and threads. Default [`PROCESSES`](Self::PROCESSES).
    pub processes: u32,
    /// The most bytes on disk that it may write and its log may hold. Default [`DISK`](Self::DISK).
    pub disk: u64,
    /// Slots of named pools.
    pub pools: BTreeMap<String, Spanned<u32>>,
    /// Whether it is a GNU make that shares the jobserver. Default: no.
    pub jobserver: bool,
}

impl Resources {
    /// More than a kernel's build on a large machine has at once.
    pub const PROCESSES: u32 = 16384;
    /// More than a kernel with all modules and debug information takes.
    pub const DISK: u64 = 128 << 30;
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: 1,
            memory: 0,
            processes: Self::PROCESSES,
            disk: Self::DISK,
            pools: BTreeMap::new(),
            jobserver: false,
        }
    }
}

/// What counts as what. A step that exits 0 goes on; any other code is `fail`, a signal or the time limit `infra`.
#[derive(Clone, Debug, Default)]
pub struct OutcomePolicy {
    /// Exit codes that are `infra` instead of `fail`.
    pub infra_codes: Vec<i32>,
    /// Whether a `fail` is recorded and not run again until an input changes. Default: no.
    pub cache_fail: bool,
    /// After which a result does not count any more, though nothing has changed. Default: never.
    pub older_than: Option<Duration>,
}

/// A text with `{placeholders}`; `{{` and `}}` stand for the braces themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// The parts in order.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// `{name}`, without the braces: `in.source`, `arch.make`, a parameter's name.
    Hole(String),
}

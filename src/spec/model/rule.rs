//! `rules/NAME.ron`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::form::{Form, Named, Of, Plain};
use super::{Axis, Input, Kind, Output, OutputSelector, OutputShape, Param, Resources};
use crate::spec::template::Template;

/// `rules/NAME.ron`.
#[derive(Clone, Debug)]
pub struct Rule<F: Form = Plain> {
    /// What it is for, shown to people; not part of any key.
    pub doc: String,
    /// What runs it: steps, or one of kiln's built-in kinds.
    pub kind: Kind,
    /// The axes it is instantiated over: one node for each combination that the matrix has. `None`: only through
    /// `actions`. The node's name is `RULE:` and the axis values joined by `/`.
    pub per: Option<Vec<Of<F, Axis>>>,
    /// The output that lists the values of the axis `board`: a JSON list of names.
    pub expand: Option<Of<F, OutputSelector<F>>>,
    /// Declared parameters.
    pub params: Named<F, Param<F>>,
    /// Host programs it runs, by name or template; part of the key with the libraries they load.
    pub tools: Vec<Of<F, Tool>>,
    /// Host files or directories it reads; part of the key.
    pub host: Vec<Of<F, HostRef>>,
    /// Inputs by name: `{in.NAME}` is the path inside the sandbox.
    pub inputs: Named<F, Input<F>>,
    /// Environment on top of the fixed one.
    pub env: BTreeMap<String, Of<F, Template>>,
    /// How the paths that a run reads are discovered. `None`: all of every source tree counts.
    pub discover: Option<Discover<F>>,
    /// Whether its steps can continue in the output directory of their last run. `None`: each starts with an empty one.
    pub incremental: Option<Incremental>,
    /// Commands, run in turn; an argument that is one list placeholder is spliced.
    pub steps: Vec<Of<F, Vec<Of<F, Template>>>>,
    /// Outputs by name.
    pub outputs: Named<F, Output<F>>,
    /// Directory below `out/` at which the outputs appear. `None`: they stay in the cache.
    pub export: Option<Of<F, Template>>,
    /// What the sandbox permits.
    pub sandbox: SandboxSettings,
    /// The resources of a run.
    pub resources: Resources<F>,
    /// The time limit, after which a run is killed.
    pub time_limit: Option<Duration>,
    /// How often a run whose outcome is infra is retried.
    pub retries: u32,
    /// How exit codes become outcomes.
    pub outcome: OutcomePolicy,
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

/// How the paths that a run reads are discovered.
#[derive(Clone, Debug)]
pub struct Discover<F: Form = Plain> {
    /// The inputs that are discovered: source trees, and directories that other nodes make. Of these, only what was
    /// read counts; every other input counts whole.
    pub inputs: Vec<Of<F, String>>,
    /// The means, best first. The first that this machine supports is used.
    pub by: Vec<Of<F, Discoverer>>,
    /// Globs of file names that no step searches for along a list of directories. A new file of such a name
    /// somewhere else in the tree can't be found instead of the one that was read.
    pub unsearched: Vec<Of<F, String>>,
}

/// How the paths that a run reads are observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discoverer {
    /// `Fanotify`: the host's kernel reports each open.
    Fanotify,
    /// `Kbuild`: kbuild's dependency records, and whole directories for what the records omit.
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

/// What the sandbox permits.
#[derive(Clone, Copy, Debug, Default)]
pub struct SandboxSettings {
    /// Whether the host's network can be reached. Default: no.
    pub network: bool,
    /// Where steps run.
    pub root: SandboxRoot,
    /// The system calls that steps may use.
    pub system_calls: SystemCalls,
}

/// The system calls that steps may use.
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

/// How exit codes become outcomes. Exit code 0 continues, any other is `fail`; a signal or the time limit is `infra`.
#[derive(Clone, Debug, Default)]
pub struct OutcomePolicy {
    /// Exit codes that are `infra` instead of `fail`.
    pub infra_codes: Vec<i32>,
    /// Whether a `fail` is recorded and not run again until an input changes. Default: no.
    pub cache_fail: bool,
    /// The age at which a result no longer counts, though nothing has changed. Default: none.
    pub older_than: Option<Duration>,
}

impl<F: Form> Rule<F> {
    /// Whether the rule has one node for each value of the axis.
    pub fn has_axis(&self, axis: Axis) -> bool {
        self.axes().any(|own| own == axis)
    }

    /// The axes, in the order of the node's name.
    pub fn axes(&self) -> impl Iterator<Item = Axis> + use<'_, F> {
        self.per.iter().flatten().map(|axis| *F::get(axis))
    }

    /// Whether of that input only what a run reads counts.
    pub fn discovers(&self, input: &str) -> bool {
        let discover = self.discover.as_ref();
        discover.is_some_and(|discover| discover.inputs.iter().any(|name| F::get(name) == input))
    }

    /// Whether there is one node for each build (and maybe board and test).
    pub fn is_per_build(&self) -> bool {
        Axis::BUILD.into_iter().all(|axis| self.has_axis(axis))
    }
}

impl Rule {
    /// The placeholders whose values decide what a run does. A value that is bound and not used changes nothing.
    pub fn used_placeholders(&self) -> BTreeSet<&str> {
        let outputs = self.outputs.values().map(|output| &output.shape).filter(|shape| shape.is_made());
        let templates =
            self.steps.iter().flatten().chain(self.env.values()).chain(outputs.map(OutputShape::path));
        let mut used: BTreeSet<&str> = templates.flat_map(Template::placeholders).collect();
        used.retain(|name| *name != "out" && !name.starts_with("in."));
        used.extend(self.kind.bindings());
        if self.kind != Kind::Command {
            used.extend(self.params.keys().map(String::as_str));
        }
        used
    }
}

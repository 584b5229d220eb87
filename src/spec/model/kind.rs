//! The kinds of rules.

use super::LabKind;

/// The kind of a rule: what runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `steps`, in the sandbox.
    Command,
    /// `steps`, as for `Command`, which make a final `.config`. kiln then checks it against the build's fixups.
    Config,
    /// Built in: the boards that a `.config` can boot.
    Match,
    /// Built in: one boot under QEMU on this machine.
    Job,
    /// Built in: one job at a LAVA lab.
    Lava,
    /// Built in: a stage3 as an image.
    Stage3,
    /// Built in: an account and packages, installed over a stage3.
    Binpkg,
}

impl Kind {
    /// Its name in rule files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "Command",
            Self::Config => "Config",
            Self::Match => "Match",
            Self::Job => "Job",
            Self::Lava => "Lava",
            Self::Stage3 => "Stage3",
            Self::Binpkg => "Binpkg",
        }
    }

    /// Whether a node of such a rule is left out while nothing reads it. A table of roots may be shared by projects, and
    /// each root costs a download.
    pub const fn is_on_demand(self) -> bool {
        matches!(self, Self::Stage3 | Self::Binpkg)
    }

    /// The placeholders whose values a built-in kind takes, though no template of the rule names them.
    pub const fn bindings(self) -> &'static [&'static str] {
        match self {
            Self::Command | Self::Match => &[],
            Self::Config => &["fixups.required", "repeatable"],
            Self::Job => &["board.qemu", "board.args", "board.cmdline", "test.marker", "test.time_limit"],
            // The parts of a board and a test that a job definition has. The lab and the job's name are not among them.
            Self::Lava => &[
                "board.device_type",
                "board.tags",
                "board.vars",
                "test.lava",
                "test.marker",
                "test.time_limit",
            ],
            // The signers are part of the key: a build of a signer that is no longer trusted must not be used.
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

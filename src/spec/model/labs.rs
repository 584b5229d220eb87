//! Boards, the labs they are in, and the tests that they are booted for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;

use super::{AttrValue, Project, SecretFrom};
use crate::spec::diagnostic::Spanned;

/// A board: required CONFIGs and how to boot.
#[derive(Clone, Debug)]
pub struct Board {
    /// A predicate over CONFIG symbols: the only criterion.
    pub requires: Spanned<crate::kernel::predicate::Predicate>,
    /// LAVA's word for the kind of device.
    pub device_type: Spanned<String>,
    /// Which output of the kernel it boots. Default `image`.
    pub image: Spanned<String>,
    /// How QEMU boots it, where it does.
    pub qemu: Option<Spanned<Qemu>>,
    /// The template of its jobs at LAVA labs, a file of the project.
    pub job: Option<Spanned<PathBuf>>,
    /// Its device tree, as a path below the kernel's `dtbs`. LAVA labs only.
    pub dtb: Option<Spanned<PathBuf>>,
    /// What a device must have besides its type: tags of LAVA's.
    pub tags: Vec<Spanned<String>>,
    /// The rule that makes its user space, as an output of the rule's own name. LAVA labs only. Default `initramfs`.
    pub rootfs: Spanned<String>,
    /// Names of labs. Not empty; all of one kind.
    pub labs: Vec<Spanned<String>>,
    /// Names of tests. Not empty.
    pub tests: Vec<Spanned<String>>,
    /// Free attributes: `{board.NAME}`.
    pub attrs: BTreeMap<String, AttrValue>,
}

/// A QEMU machine.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// `qemu-system-...`
    pub program: Spanned<String>,
    /// Arguments that make the machine: `["-M", "pc", "-m", "128"]`.
    pub args: Vec<String>,
    /// The kernel command line.
    pub cmdline: String,
}

/// A lab.
#[derive(Clone, Debug)]
pub enum Lab {
    /// `Qemu(slots: 2)`: this machine, so many boots at once.
    Qemu {
        /// Boots at once. Default 1.
        slots: u32,
    },
    /// `Lava(url: "https://lava.example/", user: "kiln", token: Env("LAVA_TOKEN"))`: a LAVA server.
    Lava(Box<LavaLab>),
}

/// What a lab is, as far as it decides which rule boots its boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabKind {
    /// QEMU on this machine.
    Qemu,
    /// A LAVA server.
    Lava,
}

/// A LAVA server, and how jobs are sent to it.
#[derive(Clone, Debug)]
pub struct LavaLab {
    /// `http(s)://HOST/`, with the path that LAVA is below, where it is below one.
    pub url: Spanned<String>,
    /// Who kiln is there: its token must be this user's.
    pub user: Spanned<String>,
    /// What lets it in.
    pub token: SecretFrom,
    /// Jobs of ours at once, those that wait in the lab's queue included. Default 1.
    pub slots: u32,
    /// Tags that every device has that kiln may use there.
    pub tags: Vec<String>,
    /// From 0 to 100. Default 50, LAVA's `medium`.
    pub priority: u32,
    /// Who sees the jobs. Default: everybody.
    pub visibility: Visibility,
    /// How long a job may wait for a device. Default one hour.
    pub queue: Duration,
    /// How long to wait for an answer. Default 10 s.
    pub timeout: Duration,
    /// The address of its events, `ws(s)://..`, where it tells them.
    pub events: Option<Spanned<String>>,
    /// A file with the authorities that its certificate must come from. Default: the system's.
    pub ca: Option<Spanned<PathBuf>>,
}

/// Names of priorities, as LAVA has them.
pub const PRIORITIES: [(&str, u32); 3] = [("Low", 0), ("Medium", 50), ("High", 100)];

/// Who sees a job at a LAVA lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// `Public`: everybody.
    Public,
    /// `Personal`: whoever submitted it, and those who run the lab.
    Personal,
    /// `Group("kernel")`: the members of that group.
    Group(String),
}

/// `publish: (dir: "/srv/www/kiln", url: "http://ci.example/kiln/")`: a directory of this machine that a web server serves.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The directory.
    pub dir: PathBuf,
    /// Its address, as labs see it.
    pub url: Spanned<String>,
    /// How long a file stays there that no job asks for. Default two weeks.
    pub age: Duration,
}

/// A test.
#[derive(Clone, Debug)]
pub enum Test {
    /// `Console(marker: "BOOT-OK", time_limit: "2min")`: the marker must appear on the console.
    Console {
        /// What must appear.
        marker: Spanned<String>,
        /// After which the boot has failed. Default two minutes.
        time_limit: Duration,
    },
    /// `Login(time_limit: "2min")`: the console must come to a login prompt.
    Login {
        /// After which the boot has failed. Default two minutes.
        time_limit: Duration,
    },
    /// `Lava(definitions: [..], skip: [..], time_limit: "10min")`: test definitions that a LAVA lab runs on the booted
    /// kernel.
    Lava {
        /// What is run, in this order. Not empty.
        definitions: Vec<Spanned<Definition>>,
        /// Cases that may fail.
        skip: Vec<Spanned<Skip>>,
        /// How long all of them may take. Default ten minutes.
        time_limit: Duration,
    },
}

/// A test definition of LAVA's.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The suite of its results: the lab puts its number before it, as in `0_smoke`.
    pub name: Spanned<String>,
    /// Where it is.
    pub from: DefinitionFrom,
    /// Values of its parameters.
    pub params: BTreeMap<String, String>,
}

/// Where a test definition is.
#[derive(Clone, Debug)]
pub enum DefinitionFrom {
    /// `Inline(name: "smoke", path: "lava/smoke.yaml")`: a file of the project, sent with the job.
    Inline {
        /// The file.
        path: Spanned<PathBuf>,
    },
    /// `Git(name: "ltp", url: "https://..", rev: "<commit>", path: "automated/x.yaml")`: the lab fetches it.
    Git {
        /// The repository.
        url: Spanned<String>,
        /// The commit, whole: what a branch names is another tomorrow.
        rev: Spanned<String>,
        /// The file in it.
        path: String,
    },
}

/// A test case that may fail.
#[derive(Clone, Debug)]
pub struct Skip {
    /// `SUITE/CASE`, exactly as the lab names both: `0_smoke/expected-fail`.
    pub case: Spanned<String>,
    /// Why, for people.
    pub reason: String,
    /// The last day on which it may. Default: there is none.
    pub until: Option<Spanned<Date>>,
}

impl Lab {
    /// What it is.
    pub const fn kind(&self) -> LabKind {
        match self {
            Self::Qemu { .. } => LabKind::Qemu,
            Self::Lava(_) => LabKind::Lava,
        }
    }
}

impl Project {
    /// What a board's labs are: of one kind, as the checks see to. `None` where none of them is declared.
    pub fn lab_kind(&self, board: &Board) -> Option<LabKind> {
        board.labs.iter().find_map(|lab| self.labs.get(&lab.value)).map(|lab| lab.value.kind())
    }
}

impl Test {
    /// How long it may take.
    pub const fn time_limit(&self) -> Duration {
        match self {
            Self::Console { time_limit, .. } | Self::Login { time_limit } | Self::Lava { time_limit, .. } => {
                *time_limit
            }
        }
    }

    /// What must appear on the console: empty where that is a login prompt, or where something else decides.
    pub fn marker(&self) -> &str {
        match self {
            Self::Console { marker, .. } => &marker.value,
            Self::Login { .. } | Self::Lava { .. } => "",
        }
    }

    /// The files of the project that it takes, in the order of its definitions.
    pub fn files(&self) -> impl Iterator<Item = &Spanned<PathBuf>> {
        let definitions = match self {
            Self::Lava { definitions, .. } => definitions.as_slice(),
            Self::Console { .. } | Self::Login { .. } => &[],
        };
        definitions.iter().filter_map(|definition| match &definition.value.from {
            DefinitionFrom::Inline { path } => Some(path),
            DefinitionFrom::Git { .. } => None,
        })
    }
}

impl Skip {
    /// Whether it still counts on a day.
    pub fn counts(&self, today: Date) -> bool {
        self.until.is_none_or(|until| today <= until.value)
    }
}

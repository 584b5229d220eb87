//! Boards, the labs they are in, and the tests that they are booted for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;

use super::form::{Form, Of, Plain};
use super::{AttrValue, SecretFrom};

/// A board: required CONFIGs and how to boot.
#[derive(Clone, Debug)]
pub struct Board<F: Form = Plain> {
    /// A predicate over CONFIG symbols: the only criterion.
    pub requires: Of<F, crate::kernel::predicate::Predicate>,
    /// LAVA's word for the kind of device.
    pub device_type: Of<F, String>,
    /// The output of the kernel that it boots. Default `image`.
    pub image: Of<F, String>,
    /// The QEMU machine, if it is one.
    pub qemu: Option<Of<F, Qemu<F>>>,
    /// The template of its jobs at LAVA labs, a file of the project.
    pub job: Option<Of<F, PathBuf>>,
    /// Its device tree, as a path below the kernel's `dtbs`. LAVA labs only.
    pub dtb: Option<Of<F, PathBuf>>,
    /// LAVA tags that a device must have besides its type.
    pub tags: Vec<Of<F, String>>,
    /// The rule that makes its user space, as an output of the rule's own name. LAVA labs only. Default `initramfs`.
    pub rootfs: Of<F, String>,
    /// Names of labs. Not empty; all of one kind.
    pub labs: Vec<Of<F, String>>,
    /// Names of tests. Not empty.
    pub tests: Vec<Of<F, String>>,
    /// Free attributes: `{board.NAME}`.
    pub attrs: BTreeMap<String, AttrValue>,
}

/// A QEMU machine.
#[derive(Clone, Debug)]
pub struct Qemu<F: Form = Plain> {
    /// `qemu-system-...`
    pub program: Of<F, String>,
    /// Arguments that make the machine: `["-M", "pc", "-m", "128"]`.
    pub args: Vec<String>,
    /// The kernel command line.
    pub cmdline: String,
}

/// A lab.
#[derive(Clone, Debug)]
pub enum Lab<F: Form = Plain> {
    /// `Qemu(slots: 2)`: this machine, so many boots at once.
    Qemu {
        /// Boots at once. Default 1.
        slots: u32,
    },
    /// `Lava(url: "https://lava.example/", user: "kiln", token: Env("LAVA_TOKEN"))`: a LAVA server.
    Lava(Box<LavaLab<F>>),
}

/// The kind of a lab. It decides which rule boots its boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabKind {
    /// QEMU on this machine.
    Qemu,
    /// A LAVA server.
    Lava,
}

/// A LAVA server, and how jobs are sent to it.
#[derive(Clone, Debug)]
pub struct LavaLab<F: Form = Plain> {
    /// `http(s)://HOST/`, with the path that LAVA is below, where it is below one.
    pub url: Of<F, String>,
    /// The LAVA user that the token must belong to.
    pub user: Of<F, String>,
    /// The user's token.
    pub token: SecretFrom,
    /// Jobs of ours at once, those that wait in the lab's queue included. Default 1.
    pub slots: u32,
    /// LAVA tags of every device that kiln may use.
    pub tags: Vec<String>,
    /// From 0 to 100. Default 50, LAVA's `medium`.
    pub priority: u32,
    /// The visibility of jobs. Default: public.
    pub visibility: Visibility,
    /// The longest time that a job may wait for a device. Default one hour.
    pub queue: Duration,
    /// The longest time to wait for an answer. Default 10 s.
    pub timeout: Duration,
    /// The address of its event stream, `ws(s)://..`, if it has one.
    pub events: Option<Of<F, String>>,
    /// A file with the authorities that its certificate must come from. Default: the system's.
    pub ca: Option<Of<F, PathBuf>>,
}

/// Names of priorities, as LAVA has them.
pub const PRIORITIES: [(&str, u32); 3] = [("Low", 0), ("Medium", 50), ("High", 100)];

/// The visibility of a job at a LAVA lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// `Public`: everybody.
    Public,
    /// `Personal`: the submitter, and those who run the lab.
    Personal,
    /// `Group("kernel")`: the members of that group.
    Group(String),
}

/// `publish: (dir: "/srv/www/kiln", url: "http://ci.example/kiln/")`: a directory of this machine that a web server serves.
#[derive(Clone, Debug)]
pub struct Publish<F: Form = Plain> {
    /// The directory.
    pub dir: PathBuf,
    /// Its address, as labs see it.
    pub url: Of<F, String>,
    /// The age at which a file that no job uses is removed. Default two weeks.
    pub age: Duration,
}

/// A test.
#[derive(Clone, Debug)]
pub enum Test<F: Form = Plain> {
    /// `Console(marker: "BOOT-OK", time_limit: "2min")`: the marker must appear on the console.
    Console {
        /// The text that must appear.
        marker: Of<F, String>,
        /// After which the boot has failed. Default two minutes.
        time_limit: Duration,
    },
    /// `Login(time_limit: "2min")`: a login prompt must appear on the console.
    Login {
        /// After which the boot has failed. Default two minutes.
        time_limit: Duration,
    },
    /// `Lava(definitions: [..], skip: [..], time_limit: "10min")`: test definitions that a LAVA lab runs on the booted
    /// kernel.
    Lava {
        /// The definitions, in the order in which they run. Not empty.
        definitions: Vec<Of<F, Definition<F>>>,
        /// Cases that may fail.
        skip: Vec<Of<F, Skip<F>>>,
        /// The time limit of all of them together. Default ten minutes.
        time_limit: Duration,
    },
}

/// A test definition of LAVA's.
#[derive(Clone, Debug)]
pub struct Definition<F: Form = Plain> {
    /// The suite of its results: the lab puts its number before it, as in `0_smoke`.
    pub name: Of<F, String>,
    /// Where it is.
    pub from: DefinitionFrom<F>,
    /// Values of its parameters.
    pub params: BTreeMap<String, String>,
}

/// The location of a test definition.
#[derive(Clone, Debug)]
pub enum DefinitionFrom<F: Form = Plain> {
    /// `Inline(name: "smoke", path: "lava/smoke.yaml")`: a file of the project, sent with the job.
    Inline {
        /// The file.
        path: Of<F, PathBuf>,
    },
    /// `Git(name: "ltp", url: "https://..", rev: "<commit>", path: "automated/x.yaml")`: the lab fetches it.
    Git {
        /// The repository.
        url: Of<F, String>,
        /// The commit, whole: what a branch names is another tomorrow.
        rev: Of<F, String>,
        /// The file in it.
        path: String,
    },
}

/// A test case that may fail.
#[derive(Clone, Debug)]
pub struct Skip<F: Form = Plain> {
    /// `SUITE/CASE`, exactly as the lab names both: `0_smoke/expected-fail`.
    pub case: Of<F, String>,
    /// Why, for people.
    pub reason: String,
    /// The last day on which it may. Default: there is none.
    pub until: Option<Of<F, Date>>,
}

impl<F: Form> Lab<F> {
    /// The kind of the lab.
    pub const fn kind(&self) -> LabKind {
        match self {
            Self::Qemu { .. } => LabKind::Qemu,
            Self::Lava(_) => LabKind::Lava,
        }
    }
}

impl<F: Form> Test<F> {
    /// The time limit.
    pub const fn time_limit(&self) -> Duration {
        match self {
            Self::Console { time_limit, .. } | Self::Login { time_limit } | Self::Lava { time_limit, .. } => {
                *time_limit
            }
        }
    }

    /// The text that must appear on the console. Empty for a login prompt, and for tests that a lab runs.
    pub fn marker(&self) -> &str {
        match self {
            Self::Console { marker, .. } => F::get::<String>(marker),
            Self::Login { .. } | Self::Lava { .. } => "",
        }
    }

    /// The files of the project that it takes, in the order of its definitions.
    pub fn files(&self) -> impl Iterator<Item = &Of<F, PathBuf>> {
        let definitions = match self {
            Self::Lava { definitions, .. } => definitions.as_slice(),
            Self::Console { .. } | Self::Login { .. } => &[],
        };
        definitions.iter().filter_map(|definition| match &F::get(definition).from {
            DefinitionFrom::Inline { path } => Some(path),
            DefinitionFrom::Git { .. } => None,
        })
    }
}

impl<F: Form> Skip<F> {
    /// Whether it still counts on a day.
    pub fn counts(&self, today: Date) -> bool {
        self.until.as_ref().is_none_or(|until| today <= *F::get(until))
    }
}

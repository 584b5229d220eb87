//! Roots of Gentoo: where stage3s come from, what is installed in them, and how toolchains use them.

use std::path::PathBuf;
use std::time::Duration;

use crate::gentoo::names::Stage3;
use crate::spec::diagnostic::Spanned;

/// Where stage3s come from, and whose word counts.
#[derive(Clone, Debug)]
pub struct Gentoo {
    /// Addresses of mirrors, asked in turn. Not empty.
    pub mirrors: Vec<Spanned<String>>,
    /// Who signs what they have.
    pub signed_by: Signers,
    /// The age beyond which `kiln update` takes no build for the latest. Default: any.
    pub fresh: Option<Duration>,
    /// Whose trees of ebuilds packages are made by. Default: roots have a tree of their own.
    pub ebuilds: Option<Signers>,
}

/// Keys (`OpenPGP`) that count.
#[derive(Clone, Debug)]
pub struct Signers {
    /// A file of the project with certificates.
    pub keys: Spanned<PathBuf>,
    /// Fingerprints of primary keys: those that count. Not empty.
    pub signers: Vec<Spanned<String>>,
}

/// A root: a stage3, with an account and packages.
#[derive(Clone, Debug)]
pub struct RootSpec {
    /// The stage3. Its variant and its init are in the name.
    pub stage3: Spanned<Stage3>,
    /// Atoms of packages. Default: [`PACKAGES`](crate::gentoo::portage::PACKAGES).
    pub packages: Vec<Spanned<String>>,
    /// Whom builds run as.
    pub user: User,
    /// Servers of binary packages, asked before anything is compiled. Default: none.
    pub binhosts: Vec<Spanned<String>>,
    /// Whose signature binary packages must have. Default: those that were made here need none.
    pub packages_signed_by: Option<Signers>,
}

impl RootSpec {
    /// Whether its packages are made by a tree of ebuilds from the mirrors.
    pub fn takes_ebuilds(&self, gentoo: &Gentoo) -> bool {
        gentoo.ebuilds.is_some() && !self.packages.is_empty()
    }
}

/// An account in a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Default `buildbot`.
    pub name: String,
    /// Its number, and that of its group. Default 1000.
    pub id: u32,
}

impl Default for User {
    fn default() -> Self {
        Self { name: "buildbot".to_owned(), id: 1000 }
    }
}

/// How much of a build the programs of a root do, where they are those of another machine and qemu-user runs them.
#[derive(Clone, Debug)]
pub enum RootMode {
    /// `Emulated`: everything is the root's own.
    Emulated,
    /// `Mixed`: compiler, assembler, linker and their kin are the root's; make, shell and the tools that are built on the way
    /// are this machine's.
    Mixed,
    /// `Hybrid("gcc")`: as `Mixed`, with the compiler of that other toolchain, which must be of the same version.
    Hybrid(Spanned<String>),
}

impl RootMode {
    /// Its name, for people and keys.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Emulated => "emulated",
            Self::Mixed => "mixed",
            Self::Hybrid(_) => "hybrid",
        }
    }
}

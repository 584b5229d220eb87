//! Roots of Gentoo: where stage3s come from, what is installed in them, and how toolchains use them.

use std::path::PathBuf;
use std::time::Duration;

use super::form::{Form, Of, Plain};
use crate::gentoo::names::Stage3;

/// Where stage3s come from, and whose signatures are trusted.
#[derive(Clone, Debug)]
pub struct Gentoo<F: Form = Plain> {
    /// Addresses of mirrors, asked in turn. Not empty.
    pub mirrors: Vec<Of<F, String>>,
    /// The signers of what the mirrors have.
    pub signed_by: Signers<F>,
    /// The age beyond which `kiln update` refuses a build as the latest. Default: none.
    pub fresh: Option<Duration>,
    /// The signers of the ebuild trees that packages are built from. Default: each root has a tree of its own.
    pub ebuilds: Option<Signers<F>>,
}

/// Keys (`OpenPGP`) that count.
#[derive(Clone, Debug)]
pub struct Signers<F: Form = Plain> {
    /// A file of the project with certificates.
    pub keys: Of<F, PathBuf>,
    /// Fingerprints of primary keys: those that count. Not empty.
    pub signers: Vec<Of<F, String>>,
}

/// A root: a stage3, with an account and packages.
#[derive(Clone, Debug)]
pub struct RootSpec<F: Form = Plain> {
    /// The stage3. Its variant and its init are in the name.
    pub stage3: Of<F, Stage3>,
    /// Atoms of packages. Default: [`PACKAGES`](crate::gentoo::portage::PACKAGES).
    pub packages: Vec<Of<F, String>>,
    /// The account that builds run as.
    pub user: User,
    /// Servers of binary packages, asked before anything is compiled. Default: none.
    pub binhosts: Vec<Of<F, String>>,
    /// The signers of binary packages. Default: packages made here need no signature.
    pub packages_signed_by: Option<Signers<F>>,
}

impl<F: Form> RootSpec<F> {
    /// Whether its packages are made by a tree of ebuilds from the mirrors.
    pub fn takes_ebuilds(&self, gentoo: &Gentoo<F>) -> bool {
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

/// The share of a build that the programs of a root do, where qemu-user has to run them.
#[derive(Clone, Debug)]
pub enum RootMode<F: Form = Plain> {
    /// `Emulated`: everything is the root's own.
    Emulated,
    /// `Mixed`: compiler, assembler, linker and their kin are the root's; make, shell and the tools that are built on the way
    /// are this machine's.
    Mixed,
    /// `Hybrid("gcc")`: as `Mixed`, with the compiler of that other toolchain, which must be of the same version.
    Hybrid(Of<F, String>),
}

impl<F: Form> RootMode<F> {
    /// Its name, for people and keys.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Emulated => "emulated",
            Self::Mixed => "mixed",
            Self::Hybrid(_) => "hybrid",
        }
    }
}

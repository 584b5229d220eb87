//! Architectures and toolchains.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::RootMode;
use super::form::{Form, Of, Plain};

/// An architecture.
#[derive(Clone, Debug)]
pub struct Arch<F: Form = Plain> {
    /// kbuild's `ARCH=` value. Default: the arch's own name.
    pub kernel: Option<Of<F, String>>,
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

/// The family of a compiler, and where it is.
#[derive(Clone, Debug)]
pub enum Compiler<F: Form = Plain> {
    /// `Gcc(..)`: `PREFIXgcc` and binutils with the same prefix.
    Gcc,
    /// `Clang(..)`: `clang` and LLVM's binutils.
    Clang,
    /// `Root(..)`: the gcc of a root.
    Root(RootMode<F>),
}

/// A toolchain: one compiler for a number of arches.
#[derive(Clone, Debug)]
pub struct Toolchain<F: Form = Plain> {
    /// The compiler.
    pub compiler: Compiler<F>,
    /// arch -> cross prefix (`""` for the host's own); for a compiler in a root, arch -> root.
    pub targets: BTreeMap<String, Of<F, String>>,
    /// Make variables, `NAME=VALUE`, after `ARCH=` and `CROSS_COMPILE=`.
    pub make: Vec<Of<F, String>>,
    /// Directories looked in before the system's own.
    pub path: Vec<Of<F, PathBuf>>,
    /// Programs that its own ones run, such as the compiler behind a wrapper.
    pub tools: Vec<Of<F, String>>,
}

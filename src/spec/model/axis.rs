//! The axes that rules are instantiated over.

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

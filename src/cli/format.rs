//! How commands print what they found.

use clap::ValueEnum;

/// For those who ask, or for their programs.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// A versioned schema, described in docs/.
    Json,
}

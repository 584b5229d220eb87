//! How commands print what they found.

use clap::ValueEnum;

/// For those who ask, or for their programs.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// Of a versioned schema, which docs/ describes.
    Json,
}

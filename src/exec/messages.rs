//! Warnings and errors in logs.

use std::io;
use std::path::Path;

use serde_json::Value as Json;

/// The messages in a log.
#[derive(Clone, Debug)]
pub struct Messages {
    /// The number of different warnings.
    pub warnings: u64,
    /// The number of different errors.
    pub errors: u64,
    /// All messages, in the form in which they are stored.
    pub json: Json,
}

/// Finds messages in logs.
pub trait LogReader: Sync {
    /// The warnings and errors in a log; none where there is no log. `trees` are the paths of source trees in the sandbox.
    ///
    /// # Errors
    ///
    /// When the log can't be read.
    fn messages(&self, log: &Path, trees: &[String]) -> io::Result<Messages>;
}

//! Where an action's inputs and outputs are in its sandbox, whatever their paths outside are.

use std::path::{Path, PathBuf};

/// The directory of inputs, each below its name.
const INPUTS: &str = "/kiln/in";

/// The output directory.
pub(super) const OUTPUT: &str = "/kiln/out";

/// The path of an input in the sandbox.
pub fn sandbox_path(input: &str) -> PathBuf {
    Path::new(INPUTS).join(input)
}

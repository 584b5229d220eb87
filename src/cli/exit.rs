//! Exit codes.

use std::process::ExitCode;

/// The exit code. Documented in the README; the numbers do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for is built, or was up to date.
    Done = 0,
    /// A build failed, or made other bits than recorded.
    BuildFailed = 1,
    /// The spec or the command line is wrong: nothing was run.
    Spec = 2,
    /// All builds passed, and a boot failed.
    BootFailed = 3,
    /// The environment lacks something, or a lab, a device or the machine failed.
    Environment = 4,
    /// Ctrl-C.
    Interrupted = 130,
}

/// The same, for `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0    everything is built, or was up to date
  1    a build failed; `verify` found other bits; `affected --exit-code`: something is touched;
       `cache verify`: something was damaged
  2    the spec or the command line is wrong
  3    a boot failed
  4    the environment lacks something: see `kiln doctor`
  130  interrupted";

impl Exit {
    /// `kiln affected --exit-code`: a node is touched, or the effect on it is unknown.
    pub const AFFECTED: Self = Self::BuildFailed;

    /// `kiln cache verify`: something was damaged.
    pub const DAMAGED: Self = Self::BuildFailed;
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

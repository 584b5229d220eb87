//! The host as an input: its programs, headers and libraries, by content.
//!
//! A compiler is more than a file called `gcc`: it runs `cc1`, `as` and `ld`, and all of them load libraries. What
//! an upgrade changes of any of them must change the key of every action that uses the compiler, and an upgrade of
//! anything else must not.

pub mod binfmt;
mod elf;
pub mod git;
mod libraries;
mod machine;
mod packages;
mod path;
mod survey;
mod tools;

pub use machine::{machine, version};
pub use packages::{PATHS, PROGRAMS, Provided, package_of};
pub use path::{HostPath, HostPathError, HostState};
pub use tools::{FIXED_DIRS, ToolError, ToolIdentity};

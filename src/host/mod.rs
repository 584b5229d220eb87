//! The host as an input: its programs, headers and libraries, by content.
//!
//! A compiler is more than a file called `gcc`: it runs `cc1`, `as` and `ld`, and all of them load libraries. What
//! an upgrade changes of any of them must change the key of every action that uses the compiler, and an upgrade of
//! anything else must not. So a survey finds the [`Closure`] of what an action declares; the key holds it, and the
//! sandbox shows it and nothing else.

mod ask;
pub mod binfmt;
mod closure;
mod compilers;
mod elf;
pub mod git;
mod libraries;
mod library;
mod machine;
mod needs;
mod packages;
mod path;
mod survey;
mod tools;

pub use closure::{Closure, HostEntry};
pub use library::library;
pub use machine::{machine, version};
pub use packages::{PATHS, PROGRAMS, Provided, package_of};
pub use path::{HostPathError, closure_of};
pub use tools::{FIXED_DIRS, ToolError, ToolIdentity, find_program};

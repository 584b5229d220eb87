//! What the test binaries share. It is a module and no crate, as only a test of the package itself knows where the binary
//! under test is (`CARGO_BIN_EXE_kiln`). Each binary uses a part of it.

pub mod certificates;
pub mod host_view;
pub mod output;
pub mod plan;
pub mod process;
pub mod project;
pub mod random;
pub mod small_disk;
pub mod tools;
pub mod twin;
pub mod whole_host;

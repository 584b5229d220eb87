//! Real kernels: configured, built, booted under QEMU, and compared with what make alone builds.
//!
//! Each test takes minutes and an unpacked kernel tree, so all of them are ignored unless `scripts/test.sh` asks for them. The
//! tree is the one in `KILN_TEST_TREE`, or else `cache/sources/linux-6.1`.

mod equal_bits;
mod kbuild_cover;
mod kconfig;
mod kernel;
mod remote;
mod rows;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod tiny;
mod tools;
mod walk;

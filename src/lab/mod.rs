//! Labs: where kernels are booted. So far the local one, which is QEMU.

pub mod console;
pub mod qemu;
pub mod record;

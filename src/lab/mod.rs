//! Labs: where kernels are booted. The local one is QEMU; others are LAVA servers.

pub mod console;
pub mod definition;
pub mod publish;
pub mod qemu;
pub mod serve;

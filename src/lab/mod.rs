//! Labs boot kernels: QEMU on this machine, or LAVA servers.

pub mod console;
pub mod definition;
pub mod lava;
pub mod publish;
pub mod qemu;
pub mod record;
pub mod serve;

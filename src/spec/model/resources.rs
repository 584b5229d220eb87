//! The resources of a run.

use std::collections::BTreeMap;

use super::form::{Form, Of, Plain};

/// The resources of a run.
#[derive(Clone, Debug)]
pub struct Resources<F: Form = Plain> {
    /// Cores. Default 1.
    pub cpu: u32,
    /// Bytes of memory: it waits until they are free, and fails if it takes more. Default 0: it does not wait, and may
    /// take most of what the machine has.
    pub memory: u64,
    /// The most processes and threads. Default [`PROCESSES`](Self::PROCESSES).
    pub processes: u32,
    /// The most bytes on disk that it may write and its log may hold. Default [`DISK`](Self::DISK).
    pub disk: u64,
    /// Slots of named pools.
    pub pools: BTreeMap<String, Of<F, u32>>,
    /// Whether it is a GNU make that shares the jobserver. Default: no.
    pub jobserver: bool,
}

impl<F: Form> Resources<F> {
    /// More than a kernel's build on a large machine has at once.
    pub const PROCESSES: u32 = 16384;
    /// More than a kernel with all modules and debug information takes.
    pub const DISK: u64 = 128 << 30;
}

impl<F: Form> Default for Resources<F> {
    fn default() -> Self {
        Self {
            cpu: 1,
            memory: 0,
            processes: Self::PROCESSES,
            disk: Self::DISK,
            pools: BTreeMap::new(),
            jobserver: false,
        }
    }
}

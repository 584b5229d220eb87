//! Faults, through the binary: what kiln does when it is killed, when it is not alone, when the disk is full, when the
//! cache, the sources or the outputs are not what they should be.
//!
//! A clock that is set back is not among them: the clock of this machine is everybody's.

mod cache;
mod changes;
mod company;
mod disk;
mod interrupts;
mod kept;
mod kills;
mod outputs;
mod project;
mod slow_remote;
mod sources;
mod users;

//! Running actions: their processes and the sandbox these live in.

pub mod sandbox;

//! kiln: a declarative build-graph engine with a cache, for kernel CI.
//!
//! Data flows one way:
//!
//! ```text
//! graph.ron, rules/*.ron --parse--> Spec --expand--> Graph --decide--> Plan --execute--> Events --record--> store
//! ```

pub mod cli;
pub mod digest;
pub mod exec;
pub mod gentoo;
pub mod graph;
pub mod host;
pub mod kernel;
pub mod kinds;
pub mod lab;
pub mod net;
pub mod plan;
pub mod remote;
pub mod report;
pub mod session;
pub mod shell;
pub mod source;
pub mod spec;
pub mod store;
pub mod text;

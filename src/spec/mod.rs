//! The spec: `graph.ron` and `rules/*.ron`, read, checked and handed on as values.
//!
//! `syntax` turns RON text into a tree of nodes with spans; `decode` turns nodes into the types of `model` and
//! collects every mistake on the way; `check` looks across files (references, cycles, lints).

pub mod diagnostic;
pub mod model;

//! The spec: `graph.ron` and `rules/*.ron`, read, checked and handed on as values.
//!
//! `syntax` turns RON text into a tree of nodes with spans; `decode` turns nodes into the types of `model` and
//! collects every mistake on the way; `check` looks across files (references, cycles, lints). `load` does all three.
//! `lower` hands on plain values, with the matrix expanded to builds. `instance` resolves the nodes of each rule, and
//! `bindings` the values of their placeholders.

pub mod bindings;
mod check;
mod declared;
mod decode;
pub mod diagnostic;
mod fixups;
pub mod instance;
mod load;
mod lower;
mod matrix;
pub mod model;
mod name;
mod placeholders;
pub mod render;
pub mod root;
mod suggest;
pub mod syntax;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;

pub use bindings::{Value, bindings, root_bindings};
pub use decode::{VERSION, parse_size, show_size};
pub use load::{Loaded, load};
pub use model::Build;
pub use name::{BuildId, NodeName, SourceName};

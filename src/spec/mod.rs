//! The spec: `graph.ron` and `rules/*.ron`, read, checked and handed on as values.
//!
//! `syntax` turns RON text into a tree of nodes with spans; `decode` turns nodes into the types of `model` and
//! collects every mistake on the way; `check` looks across files (references, cycles, lints). `load` does all three.
//! `matrix` and `bindings` say what a good spec comes to: the builds, and what placeholders stand for in each.

pub mod bindings;
mod check;
mod decode;
pub mod diagnostic;
mod fixups;
mod holes;
mod load;
pub mod matrix;
pub mod model;
pub mod render;
pub mod roots;
mod suggest;
pub mod syntax;
pub mod template;

pub use bindings::{Value, bindings, root_bindings};
pub use decode::{VERSION, parse_size, show_size};
pub use load::{Loaded, load};
pub use matrix::{Build, builds};

//! Predicates over CONFIG symbols.

/// A parsed predicate.
#[derive(Clone, Debug)]
pub struct Predicate;

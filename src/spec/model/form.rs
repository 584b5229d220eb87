//! The two forms of the model: with the place of each value in a file, and without.
//!
//! The decoder makes records in the form [`Declared`], so that the checks can point at the value to blame. `lower` turns
//! a checked spec into the form [`Plain`], which is all that the other phases see. Each record is defined once, for both.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::spec::diagnostic::Spanned;

/// Whether values carry the place they were read from.
pub trait Form: Clone + Debug + 'static {
    /// A value in this form.
    type Of<T: Clone + Debug>: Clone + Debug;

    /// The value alone.
    fn get<T: Clone + Debug>(of: &Self::Of<T>) -> &T;
}

/// A value in a form.
pub type Of<F, T> = <F as Form>::Of<T>;

/// Values by name. Maps are sorted: the order in `graph.ron` has no meaning.
pub type Named<F, T> = BTreeMap<String, Of<F, T>>;

/// Values as the spec declares them, with their places.
#[derive(Clone, Copy, Debug)]
pub struct Declared;

/// Values alone.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Form for Declared {
    type Of<T: Clone + Debug> = Spanned<T>;

    fn get<T: Clone + Debug>(of: &Spanned<T>) -> &T {
        &of.value
    }
}

impl Form for Plain {
    type Of<T: Clone + Debug> = T;

    fn get<T: Clone + Debug>(of: &T) -> &T {
        of
    }
}

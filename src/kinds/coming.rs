//! A file on its way from a mirror: what is told of it, and what it comes to if it does not come.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use crate::exec::{Made, Making};
use crate::gentoo::fetch::{self, FetchError, Progress};
use crate::gentoo::obtain::ObtainError;

/// Tells how `what` comes to be at `to`, and ends it when the user has had enough. `size`: in bytes, if it is known.
pub(super) fn watch<'m>(
    making: &'m Making<'_>,
    what: &'m str,
    to: &Path,
    size: Option<u64>,
) -> impl FnMut(Progress<'_>) -> ControlFlow<()> + 'm {
    // What is whole is looked at, and does not come.
    let (size, mut here) = if to.exists() {
        (0, 0)
    } else {
        (size.unwrap_or(0), fetch::is_here(to).min(size.unwrap_or(u64::MAX)))
    };
    let told = making.fetching(size);
    told.is_here(here);
    let mut mirror = String::new();
    move |progress| {
        if mirror != progress.mirror {
            progress.mirror.clone_into(&mut mirror);
            making.log(&format!("getting {what} from {mirror}"));
        }
        match progress.done.checked_sub(here) {
            Some(more) => told.came(more),
            // Another mirror began anew.
            None => told.again(here - progress.done),
        }
        here = progress.done;
        if making.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// It did not come.
pub(super) fn failed(error: &ObtainError, making: &Making<'_>) -> Made {
    match error {
        _ if making.is_cancelled() => Made::CANCELLED,
        ObtainError::Fetch { source: FetchError::Mirrors { .. }, .. } => {
            Made::infra(format!("{error}; another mirror in `gentoo` may have it"))
        }
        ObtainError::Fetch { source: FetchError::Local { source, .. }, .. }
            if source.kind() == io::ErrorKind::StorageFull =>
        {
            Made::infra(format!("{error}; make room there, and run it again"))
        }
        ObtainError::Fetch { .. } | ObtainError::Signature { .. } => Made::infra(error),
    }
}

//! Progress and failures of downloads from mirrors.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use crate::exec::{BuiltinResult, BuiltinRun};
use crate::gentoo::download::DownloadError;
use crate::gentoo::fetch::{self, FetchError, Progress};

/// Reports the progress of downloading `what` to `to`, and stops it when the run is cancelled. `size`: in bytes, if known.
pub(in crate::kinds) fn progress<'m>(
    making: &'m BuiltinRun<'_>,
    what: &'m str,
    to: &Path,
    size: Option<u64>,
) -> impl FnMut(Progress<'_>) -> ControlFlow<()> + 'm {
    // A complete file is only verified.
    let (size, mut here) = if to.exists() {
        (0, 0)
    } else {
        (size.unwrap_or(0), fetch::bytes_on_disk(to).min(size.unwrap_or(u64::MAX)))
    };
    let meter = making.begin_transfer(size);
    meter.is_here(here);
    let mut mirror = String::new();
    move |progress| {
        if mirror != progress.mirror {
            progress.mirror.clone_into(&mut mirror);
            making.log(&format!("getting {what} from {mirror}"));
        }
        match progress.done.checked_sub(here) {
            Some(more) => meter.came(more),
            // Another mirror starts over.
            None => meter.again(here - progress.done),
        }
        here = progress.done;
        if making.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The result of a node whose download failed.
pub(in crate::kinds) fn failure(error: &DownloadError, making: &BuiltinRun<'_>) -> BuiltinResult {
    match error {
        _ if making.is_cancelled() => BuiltinResult::CANCELLED,
        DownloadError::Fetch { source: FetchError::Mirrors { .. }, .. } => {
            BuiltinResult::infra(format!("{error}; another mirror in `gentoo` may have it"))
        }
        DownloadError::Fetch { source: FetchError::Local { source, .. }, .. }
            if source.kind() == io::ErrorKind::StorageFull =>
        {
            BuiltinResult::infra(format!("{error}; make room there, and run it again"))
        }
        DownloadError::Fetch { .. } | DownloadError::Signature { .. } => BuiltinResult::infra(error),
    }
}

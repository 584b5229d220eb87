//! A recorded result with everything that another machine needs of it.

use super::error::SessionError;
use super::view::View;
use crate::digest::Digest;
use crate::plan::StrongKey;
use crate::remote::{By, Export, ExportError, Outgoing, PushError, SigningKey};
use crate::source::PathSet;
use crate::store::{Built, Origin, Store, StoreError, StoredResult};

/// A recorded result with its path set.
pub(super) struct RecordedResult {
    strong_key: Digest,
    path_set: PathSet,
    result: StoredResult,
    /// Whether a run of this machine made it, so that this machine may sign it.
    made_here: bool,
    /// The signed entry that it was imported with.
    sealed: Option<Vec<u8>>,
}

impl RecordedResult {
    /// Reads the result of a key; `None` if there is none, or if its path set is no longer stored.
    pub fn read(store: &Store, strong: &StrongKey) -> Result<Option<Self>, StoreError> {
        let Some(result) = store.result(&strong.key)? else { return Ok(None) };
        let Some(path_set) = path_set_of(store, &strong.path_set)? else { return Ok(None) };
        // A verified result has been made here.
        let made_here =
            result.origin == Origin::Local || matches!(result.built, Built::Continued { verified: true, .. });
        let sealed = store.sealed(&strong.key)?;
        Ok(Some(Self { strong_key: strong.key, path_set, result, made_here, sealed }))
    }

    /// Whether it was built by continuing, and no run from nothing has made the same.
    pub const fn is_unverified(&self) -> bool {
        self.result.built.is_unverified()
    }

    /// Whether a run of this machine made it.
    pub const fn is_made_here(&self) -> bool {
        self.made_here
    }

    /// The result as it is sent. `compared`: whether equal inputs make an output equal.
    pub fn outgoing<'a>(
        &'a self,
        key: Option<&'a SigningKey>,
        compared: &'a dyn Fn(&str) -> bool,
    ) -> Outgoing<'a> {
        let by = match &self.sealed {
            _ if self.made_here => By::Us(key),
            Some(sealed) => By::Others(sealed),
            None => By::Nobody,
        };
        let (strong_key, path_set, result) = (self.strong_key, &self.path_set, &self.result);
        Outgoing { strong_key, path_set, result, compared, by }
    }
}

/// A stored path set; `None` if it is no longer stored.
pub(super) fn path_set_of(store: &Store, digest: &Digest) -> Result<Option<PathSet>, StoreError> {
    let Some(set) = store.path_set(digest)? else { return Ok(None) };
    Ok(set.resolve(&store.entries()?))
}

/// The outcome of collecting results for an export.
#[derive(Default)]
pub struct ExportReport {
    /// The number of results.
    pub results: usize,
    /// The number of these that are not signed.
    pub unsigned: usize,
    /// The number of results that are held back: built by continuing, and not verified.
    pub held_back: usize,
    /// Results that are left out, with the reason; each a message.
    pub left_out: Vec<String>,
}

/// Adds every local result of a view to an export, signed with `key`. `report` also has what was done before an error.
pub fn add_results(
    view: &View<'_>,
    key: Option<&SigningKey>,
    export: &mut Export<'_>,
    report: &mut ExportReport,
) -> Result<(), SessionError> {
    for id in view.local_results() {
        let strong = view.plan.decision(id).and_then(|decision| decision.keys?.strong);
        let recorded = strong.map(|strong| RecordedResult::read(view.context.store, &strong)).transpose()?;
        let Some(recorded) = recorded.flatten() else { continue };
        if recorded.is_unverified() {
            report.held_back += 1;
            continue;
        }
        match export.add(&recorded.outgoing(key, &|_| true)) {
            Ok(is_signed) => {
                report.results += 1;
                report.unsigned += usize::from(!is_signed);
            }
            Err(ExportError::Result(PushError::Blob { output, error })) => {
                let node = view.graph.name(id);
                report.left_out.push(format!("{node} is left out: {output} can't be read: {error}"));
            }
            Err(error) => return Err(SessionError::environment(error)),
        }
    }
    Ok(())
}

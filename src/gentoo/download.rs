//! Downloads stage3s and ebuild trees from mirrors and verifies them: the latest build, its digests, the tarball. Each is
//! taken from the first mirror whose copy passes verification.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::digests::Digests;
use super::ebuilds::{self, EbuildTree};
use super::fetch::{ExpectedFile, FetchError, Mirrors, Watch};
use super::latest::Latest;
use super::lock::LockedStage3;
use super::names::Stage3;
use super::signed::{Check, Keyring, MAX_TEXT, SignatureError, Signer};

/// Why a stage3 or an ebuild tree could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No mirror has a valid copy.
    #[error("{what}: {source}")]
    Fetch {
        /// The stage3, or the ebuild tree.
        what: String,
        /// The errors of the mirrors.
        source: FetchError,
    },
    /// The tarball has the right digests but no valid signature.
    #[error("{stage3}: its tarball: {source}")]
    Signature {
        /// The stage3, or the ebuild tree.
        stage3: Stage3,
        /// Why the signature is invalid.
        source: SignatureError,
    },
}

/// The build to lock: the latest one of the first mirror whose signed texts are valid, not older than the locked build and
/// not older than `most`, if given.
pub fn latest_stage3(
    mirrors: &Mirrors,
    stage3: &Stage3,
    keys: &Keyring,
    locked: Option<&LockedStage3>,
    most: Option<Duration>,
    now: SystemTime,
) -> Result<LockedStage3, DownloadError> {
    let failed = |source| DownloadError::Fetch { what: stage3.to_string(), source };
    let latest = mirrors.text(&stage3.latest(), MAX_TEXT as u64, |text| {
        let text = keys.text(text, now).map_err(|error| error.to_string())?;
        let latest = Latest::read(stage3, &text).map_err(|error| error.to_string())?;
        latest.is_fresh(locked, most, now).map_err(|error| error.to_string())?;
        Ok(latest)
    });
    let latest = latest.map_err(failed)?;
    let path = format!("{}{}.DIGESTS", stage3.builds(), latest.path());
    let digests = mirrors.text(&path, MAX_TEXT as u64, |text| {
        let text = keys.text(text, now).map_err(|error| error.to_string())?;
        Digests::read(&text, latest.file()).map_err(|error| error.to_string())
    });
    Ok(LockedStage3::new(&latest, digests.map_err(failed)?))
}

/// Downloads the locked tarball to `to` and verifies its signature on the way. A file at `to` always has the locked digests;
/// if the signature is invalid, it stays for inspection and must not be used.
///
/// The bytes are also written to the value of `sink`, as in [`Mirrors::file`]; it is returned after verification.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
pub fn stage3<S: Write>(
    mirrors: &Mirrors,
    stage3: &Stage3,
    locked: &LockedStage3,
    keys: &Keyring,
    to: &Path,
    now: SystemTime,
    mut sink: impl FnMut() -> S,
    watch: Watch<'_>,
) -> Result<(Signer, S), DownloadError> {
    let failed = |source| DownloadError::Fetch { what: stage3.to_string(), source };
    let path = format!("{}{}", stage3.builds(), locked.path(stage3));
    // The signature's key and format are checked before the large download.
    let signature = mirrors.text(&format!("{path}.asc"), MAX_TEXT as u64, |signature| {
        keys.file(signature, now).map(|_| signature.to_vec()).map_err(|error| error.to_string())
    });
    let signature = signature.map_err(failed)?;
    let wanted = ExpectedFile::Sized { size: locked.size, digests: locked.digests.clone() };
    let start = || VerifyingSink {
        check: keys.file(&signature, now).expect("the signature was checked above"),
        sink: sink(),
    };
    let VerifyingSink { check, sink } = mirrors.file(&path, &wanted, to, start, watch).map_err(failed)?;
    let signer =
        check.finish().map_err(|source| DownloadError::Signature { stage3: stage3.clone(), source })?;
    Ok((signer, sink))
}

/// The ebuild tree to lock: see [`latest_stage3`].
pub fn latest_ebuilds(
    mirrors: &Mirrors,
    keys: &Keyring,
    locked: Option<&EbuildTree>,
    most: Option<Duration>,
    now: SystemTime,
) -> Result<EbuildTree, DownloadError> {
    let tree = mirrors.text(&EbuildTree::list(), MAX_TEXT as u64, |text| {
        let text = keys.text(text, now).map_err(|error| error.to_string())?;
        let tree = EbuildTree::latest(&text).map_err(|error| error.to_string())?;
        tree.is_fresh(locked, most, now).map_err(|error| error.to_string())?;
        Ok(tree)
    });
    tree.map_err(ebuilds_error)
}

/// Downloads the image of the locked ebuild tree to `to`. Its digest comes from a signed list, so no signature is checked.
pub fn ebuilds(
    mirrors: &Mirrors,
    tree: &EbuildTree,
    to: &Path,
    watch: Watch<'_>,
) -> Result<(), DownloadError> {
    let wanted = ExpectedFile::Bounded { most: ebuilds::MAX_SIZE, sha512: tree.sha512.clone() };
    mirrors.file(&tree.path(), &wanted, to, io::sink, watch).map(|_| ()).map_err(ebuilds_error)
}

fn ebuilds_error(source: FetchError) -> DownloadError {
    DownloadError::Fetch { what: "the tree of ebuilds".to_owned(), source }
}

/// Feeds downloaded bytes to the signature check and to the caller's sink.
struct VerifyingSink<S> {
    check: Check,
    sink: S,
}

impl<S: Write> Write for VerifyingSink<S> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.check.write_all(piece)?;
        self.sink.write_all(piece)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

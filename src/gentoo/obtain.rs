//! A stage3 from mirrors: which build, what it holds, and the tarball itself, each from whoever of them has it right. The same
//! for a tree of ebuilds.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::digests::Digests;
use super::ebuilds::{self, Tree};
use super::fetch::{FetchError, Mirrors, Wanted, Watch};
use super::latest::Latest;
use super::lock::Locked;
use super::names::Stage3;
use super::signed::{Check, Keyring, MAX_TEXT, SignatureError, Signer};

/// Why a stage3, or a tree of ebuilds, could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// No mirror has it, or has it right.
    #[error("{what}: {source}")]
    Fetch {
        /// Which one.
        what: String,
        /// What the mirrors did.
        source: FetchError,
    },
    /// The tarball has the right digests, and no signature that counts.
    #[error("{stage3}: its tarball: {source}")]
    Signature {
        /// Which one.
        stage3: Stage3,
        /// Why the signature does not count.
        source: SignatureError,
    },
}

/// Which build is to be locked: the latest of the first mirror whose signed texts are right, not older than what is locked,
/// and, if there is a bound, not older than that.
pub fn latest(
    mirrors: &Mirrors,
    stage3: &Stage3,
    keys: &Keyring,
    locked: Option<&Locked>,
    most: Option<Duration>,
    now: SystemTime,
) -> Result<Locked, ObtainError> {
    let failed = |source| ObtainError::Fetch { what: stage3.to_string(), source };
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
    Ok(Locked::new(&latest, digests.map_err(failed)?))
}

/// Gets the tarball that is locked, and checks its signature while it comes. At `to`, nothing is there that has other
/// digests; without a signature that counts it is not to be used, and stays to be looked at.
///
/// What comes is written to what `beside` makes as well, as by [`Mirrors::file`]: the one that has seen all of it is given
/// back when it is known to be right.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
pub fn tarball<S: Write>(
    mirrors: &Mirrors,
    stage3: &Stage3,
    locked: &Locked,
    keys: &Keyring,
    to: &Path,
    now: SystemTime,
    mut beside: impl FnMut() -> S,
    watch: Watch<'_>,
) -> Result<(Signer, S), ObtainError> {
    let failed = |source| ObtainError::Fetch { what: stage3.to_string(), source };
    let path = format!("{}{}", stage3.builds(), locked.path(stage3));
    // That it can count is looked at before anything large comes.
    let signature = mirrors.text(&format!("{path}.asc"), MAX_TEXT as u64, |signature| {
        keys.file(signature, now).map(|_| signature.to_vec()).map_err(|error| error.to_string())
    });
    let signature = signature.map_err(failed)?;
    let wanted = Wanted::Sized { size: locked.size, digests: locked.digests.clone() };
    let start =
        || Both { check: keys.file(&signature, now).expect("it has been looked at"), beside: beside() };
    let Both { check, beside } = mirrors.file(&path, &wanted, to, start, watch).map_err(failed)?;
    let signer =
        check.finish().map_err(|source| ObtainError::Signature { stage3: stage3.clone(), source })?;
    Ok((signer, beside))
}

/// Which tree of ebuilds is to be locked: as for a [build](latest).
pub fn latest_ebuilds(
    mirrors: &Mirrors,
    keys: &Keyring,
    locked: Option<&Tree>,
    most: Option<Duration>,
    now: SystemTime,
) -> Result<Tree, ObtainError> {
    let tree = mirrors.text(&Tree::list(), MAX_TEXT as u64, |text| {
        let text = keys.text(text, now).map_err(|error| error.to_string())?;
        let tree = Tree::latest(&text).map_err(|error| error.to_string())?;
        tree.is_fresh(locked, most, now).map_err(|error| error.to_string())?;
        Ok(tree)
    });
    tree.map_err(of_ebuilds)
}

/// Gets the tree of ebuilds that is locked, as an image. Its digest stands in a signed list, so that nothing else has to be
/// looked at.
pub fn ebuilds(mirrors: &Mirrors, tree: &Tree, to: &Path, watch: Watch<'_>) -> Result<(), ObtainError> {
    let wanted = Wanted::Bounded { most: ebuilds::MAX_SIZE, sha512: tree.sha512.clone() };
    mirrors.file(&tree.path(), &wanted, to, io::sink, watch).map(|_| ()).map_err(of_ebuilds)
}

fn of_ebuilds(source: FetchError) -> ObtainError {
    ObtainError::Fetch { what: "the tree of ebuilds".to_owned(), source }
}

/// Where the bytes of a tarball go.
struct Both<S> {
    check: Check,
    beside: S,
}

impl<S: Write> Write for Both<S> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.check.write_all(piece)?;
        self.beside.write_all(piece)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! An image that is made of a tarball while that is still on its way.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::archive::{ArchiveError, Contents, Limits};
use super::from_tar::{FromTarError, from_tar_xz};
use super::stream::{PIECES, Stages};

/// Takes the bytes of a `.tar.xz`, and packs what they hold. Nothing is known of them by then: what is made is to be thrown
/// away if they turn out to be the wrong ones.
///
/// Writing never fails, so that whoever gets the bytes gets all of them: what was wrong is told at the end.
pub struct Fed {
    pieces: Option<SyncSender<io::Result<Vec<u8>>>>,
    packing: Option<JoinHandle<Result<Contents, FromTarError>>>,
}

impl Fed {
    /// Begins an image at `to`: see [`from_tar_xz`].
    pub fn start(to: PathBuf, limits: Limits, processors: usize) -> Self {
        let (pieces, stages) = sync_channel(PIECES);
        let packing = move || from_tar_xz(Stages::new(stages), &to, limits, processors);
        Self { pieces: Some(pieces), packing: Some(std::thread::spawn(packing)) }
    }

    /// The bytes have all been there: what they hold, when the image is whole.
    pub fn finish(mut self) -> Result<Contents, FromTarError> {
        if let Some(pieces) = self.pieces.take() {
            // One that has ended says why.
            let _ = pieces.send(Ok(Vec::new()));
        }
        let gone = || FromTarError::Archive(ArchiveError::Archive(io::Error::other("packing ended early")));
        self.packing.take().and_then(|packing| packing.join().ok()).unwrap_or_else(|| Err(gone()))
    }
}

impl Write for Fed {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if let Some(pieces) = self.pieces.take_if(|_| !piece.is_empty())
            && pieces.send(Ok(piece.to_vec())).is_ok()
        {
            self.pieces = Some(pieces);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Fed {
    /// Where the bytes were not all there, nothing is left when this has gone: another image may begin at its place.
    fn drop(&mut self) {
        drop(self.pieces.take());
        if let Some(packing) = self.packing.take() {
            let _ = packing.join();
        }
    }
}

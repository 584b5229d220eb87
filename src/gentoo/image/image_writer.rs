//! Writes an image from a tarball during its download.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::decompress::{ChunkReader, PIECES};
use super::from_tar::{FromTarError, from_tar_xz};
use super::limits::{ArchiveError, ArchiveTotals, Limits};

/// Accepts the bytes of a `.tar.xz` and packs its entries as an image. The bytes are unverified: the caller discards the
/// image if verification fails later.
///
/// Writing never fails, so that the download continues; [`finish`](Self::finish) returns the error.
pub struct ImageWriter {
    pieces: Option<SyncSender<io::Result<Vec<u8>>>>,
    packing: Option<JoinHandle<Result<ArchiveTotals, FromTarError>>>,
}

impl ImageWriter {
    /// Starts an image at `to`: see [`from_tar_xz`].
    pub fn start(to: PathBuf, limits: Limits, processors: usize) -> Self {
        let (pieces, stages) = sync_channel(PIECES);
        let packing = move || from_tar_xz(ChunkReader::new(stages), &to, limits, processors);
        Self { pieces: Some(pieces), packing: Some(std::thread::spawn(packing)) }
    }

    /// Ends the archive, and waits until the image is complete.
    pub fn finish(mut self) -> Result<ArchiveTotals, FromTarError> {
        if let Some(pieces) = self.pieces.take() {
            // A packer that has ended reports its error below.
            let _ = pieces.send(Ok(Vec::new()));
        }
        let gone = || FromTarError::Archive(ArchiveError::Archive(io::Error::other("packing ended early")));
        self.packing.take().and_then(|packing| packing.join().ok()).unwrap_or_else(|| Err(gone()))
    }
}

impl Write for ImageWriter {
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

impl Drop for ImageWriter {
    /// An unfinished image is removed before this returns, so that another one can start at its path.
    fn drop(&mut self) {
        drop(self.pieces.take());
        if let Some(packing) = self.packing.take() {
            let _ = packing.join();
        }
    }
}

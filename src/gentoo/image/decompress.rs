//! Decompresses xz on a thread of its own, in parallel with packing.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// The size of a chunk in bytes, and the number of chunks in the queue.
const PIECE: usize = 512 << 10;
pub(super) const PIECES: usize = 8;

/// The memory limit of decompression, in bytes: four times that of `xz -9`.
const MEMORY: u64 = 256 << 20;

/// Calls `read` with the decompressed content of an `.xz` file.
pub(super) fn decompressed<T: Send, E: Send>(
    archive: impl Read + Send,
    read: impl FnOnce(ChunkReader) -> Result<T, E> + Send,
) -> Result<T, E> {
    let (pieces, stages) = sync_channel(PIECES);
    thread::scope(|scope| {
        scope.spawn(move || decompress(archive, &pieces));
        // If `read` fails, it drops the receiver and the other thread ends at its next chunk.
        read(ChunkReader::new(stages))
    })
}

fn decompress(archive: impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>) {
    let decoder = Stream::new_stream_decoder(MEMORY, CONCATENATED).map_err(io::Error::other);
    let mut reader = match decoder {
        Ok(decoder) => XzDecoder::new_stream(BufReader::with_capacity(256 << 10, archive), decoder),
        Err(error) => return drop(pieces.send(Err(error))),
    };
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut reader).take(PIECE as u64).read_to_end(&mut piece);
        let is_last = !matches!(read, Ok(1..));
        if pieces.send(read.map(|_| piece)).is_err() || is_last {
            return;
        }
    }
}

/// Reads chunks from a channel. An empty chunk ends the stream.
pub(super) struct ChunkReader {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl ChunkReader {
    pub(super) const fn new(pieces: Receiver<io::Result<Vec<u8>>>) -> Self {
        Self { pieces, piece: Vec::new(), at: 0, ended: false }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended {
            let gone = || io::Error::other("it ends early");
            self.piece = self.pieces.recv().map_err(|_| gone())??;
            self.at = 0;
            self.ended = self.piece.is_empty();
        }
        let read = buffer.len().min(self.piece.len() - self.at);
        buffer[..read].copy_from_slice(&self.piece[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

//! Decompression on a thread of its own, as what comes of it is packed on others.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// How much is handed over at once, and how many of these may wait.
const PIECE: usize = 512 << 10;
pub(super) const PIECES: usize = 8;

/// The most memory that decompressing may take, in bytes: four times what `xz -9` asks for.
const MEMORY: u64 = 256 << 20;

/// Runs something that reads what an `.xz` file holds.
pub(super) fn decompressed<T: Send, E: Send>(
    archive: impl Read + Send,
    read: impl FnOnce(Stages) -> Result<T, E> + Send,
) -> Result<T, E> {
    let (pieces, stages) = sync_channel(PIECES);
    thread::scope(|scope| {
        scope.spawn(move || decompress(archive, &pieces));
        // Where it fails, the receiver goes with it, and the other thread ends at its next piece.
        read(Stages::new(stages))
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

/// What comes from the other thread. An empty piece is the last.
pub(super) struct Stages {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Stages {
    pub(super) const fn new(pieces: Receiver<io::Result<Vec<u8>>>) -> Self {
        Self { pieces, piece: Vec::new(), at: 0, ended: false }
    }
}

impl Read for Stages {
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

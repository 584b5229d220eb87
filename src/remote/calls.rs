//! Calls to a remote, and what they send.
//!
//! A call waits on the thread that makes it, and reads and writes files there: no disk holds up the connections of the
//! others. Nothing is waited for without a bound. For blobs the bound is on standstill, and on a pace at which none would
//! ever arrive: a large one takes as long as it takes.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task;

use super::RemoteError;
use crate::net::{Driver, StallGuard};

/// How much of a file is sent at once.
const PIECE: usize = 256 << 10;

/// How many pieces may wait to be sent.
const PIECES: usize = 2;

/// The least that a transfer must come to on the whole, in bytes a second.
const LEAST_PACE: u64 = 16 << 10;

/// The same for a message that comes or goes as a whole: whether it moves does not show, so that less time is given.
const LEAST_PACE_UNSEEN: u64 = 256 << 10;

/// Where a remote's calls are made.
pub(super) struct Calls {
    driver: Driver,
    /// How long to wait for an answer, and for more of one.
    timeout: Duration,
}

impl Calls {
    pub(super) fn new(timeout: Duration) -> io::Result<Self> {
        Ok(Self { driver: Driver::new("kiln-remote")?, timeout })
    }

    /// Waits for a call. What it waits for in turn has bounds of its own: see [`Self::in_time`].
    pub(super) fn wait<F: Future>(&self, call: F) -> F::Output {
        self.driver.wait(call)
    }

    /// The outcome of one step of a call, if it comes in time.
    pub(super) async fn in_time<F: Future>(&self, step: F) -> Result<F::Output, RemoteError> {
        self.in_time_for(0, step).await
    }

    /// The outcome of one step that takes a message of so many bytes.
    pub(super) async fn in_time_for<F: Future>(&self, bytes: u64, step: F) -> Result<F::Output, RemoteError> {
        let unseen = Duration::from_millis(bytes.saturating_mul(1000) / LEAST_PACE_UNSEEN);
        // gRPC's are large, and would be copied into each of those around them.
        let step = Box::pin(step);
        Ok(StallGuard::new(self.timeout.saturating_add(unseen), LEAST_PACE).in_time(step).await?)
    }

    /// Starts a request whose body is what `from` yields, and feeds it until the request has an outcome. A server may
    /// answer before it has read everything: that it has it already, or that it does not want it.
    pub(super) async fn send<T, F>(
        &self,
        from: &mut dyn Read,
        request: impl FnOnce(Body) -> F,
    ) -> Result<T, RemoteError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RemoteError>> + Send + 'static,
    {
        let (pieces, body) = mpsc::channel(PIECES);
        let mut request = Request(task::spawn(request(Body(body))));
        let mut guard = self.guard();
        loop {
            let mut piece = vec![0; PIECE];
            let read = match fill(from, &mut piece) {
                Ok(read) => read,
                Err(error) => {
                    // A body that just ends might be taken for the whole.
                    let _ = pieces.try_send(Err(io::Error::other("what was to be sent can't be read")));
                    return Err(RemoteError::Local(error));
                }
            };
            piece.truncate(read);
            let mut room = pin!(pieces.reserve());
            let step = poll_fn(|context| {
                if let Poll::Ready(outcome) = Pin::new(&mut request.0).poll(context) {
                    return Poll::Ready(Step::Outcome(outcome));
                }
                room.as_mut().poll(context).map(Step::Room)
            });
            match guard.in_time(step).await? {
                Step::Room(Ok(room)) => room.send(Ok(Bytes::from(piece))),
                // Nobody reads the body any more: the outcome is on its way.
                Step::Room(Err(_)) => break,
                Step::Outcome(outcome) => return ended(outcome),
            }
            // The empty piece has been sent as well: it says that this is all.
            if read == 0 {
                break;
            }
            guard.add(read);
        }
        drop(pieces);
        ended(self.in_time(&mut request.0).await?)
    }

    /// The bounds of a transfer that begins now.
    pub(super) fn guard(&self) -> StallGuard {
        StallGuard::new(self.timeout, LEAST_PACE)
    }
}

/// A request under way, which ends when nobody waits for it any more.
struct Request<T>(task::JoinHandle<T>);

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What happens first.
enum Step<'a, T> {
    Room(Result<mpsc::Permit<'a, io::Result<Bytes>>, mpsc::error::SendError<()>>),
    Outcome(Result<Result<T, RemoteError>, task::JoinError>),
}

fn ended<T>(outcome: Result<Result<T, RemoteError>, task::JoinError>) -> Result<T, RemoteError> {
    outcome.unwrap_or_else(|error| Err(RemoteError::Unreachable(format!("the request ended: {error}"))))
}

/// The body of a request, piece by piece.
pub(super) struct Body(mpsc::Receiver<io::Result<Bytes>>);

impl Body {
    /// The next piece. An empty one is the last; `None` without that: whoever sends gave up.
    pub(super) fn poll_piece(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_recv(context)
    }
}

/// A file from its start, and no more of it than it is said to have. A shorter one is an error.
pub(super) struct Exactly<'a> {
    file: &'a mut File,
    left: u64,
}

impl<'a> Exactly<'a> {
    pub(super) fn new(file: &'a mut File, size: u64) -> Result<Self, RemoteError> {
        io::Seek::rewind(file).map_err(RemoteError::Local)?;
        Ok(Self { file, left: size })
    }
}

impl Read for Exactly<'_> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(piece.len(), |left| left.min(piece.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut piece[..wanted])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads until the piece is full or there is no more.
fn fill(from: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match from.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

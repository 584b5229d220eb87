//! Messages between kiln, helper and init.
//!
//! Each is its length, then postcard. All three are the same binary, so there is no version.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::limits::Grouped;
use super::{Exit, Mode, SandboxSpec, raw};

/// The first message from kiln to the helper. It comes with the descriptors that steps inherit, and those by which init joins
/// control groups.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) spec: SandboxSpec,
    /// What these groups limit.
    pub(super) grouped: Grouped,
}

/// From kiln to the helper, and on to init: run the steps.
#[derive(Serialize, Deserialize)]
pub(super) struct Go;

/// From init to the helper.
#[derive(Serialize, Deserialize)]
pub(super) enum FromInit {
    /// The root is built; [`Go`] is awaited.
    Ready,
    /// The last message.
    Ended(Result<Exit, Failure>),
}

/// From the helper to kiln.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    /// The root is built; [`Go`] is awaited.
    Ready { init_pid: i32, mode: Mode },
    /// The last message. Only the helper is left of the sandbox.
    Ended(Result<Exit, Failure>),
}

type Header = [u8; size_of::<u32>()];

/// Sends `message`.
pub(super) fn send(stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let (header, body) = frame(message)?;
    // A single write: a reader that has the header need not wait for the rest.
    let mut stream = stream;
    stream.write_all(&[header.as_slice(), &body].concat())
}

/// Receives a message, or `None` if the other side has closed.
pub(super) fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<Option<T>> {
    let mut header = Header::default();
    let mut reader = stream;
    match reader.read_exact(&mut header) {
        Ok(()) => body(stream, header).map(Some),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends `message`, and with it copies of `fds`.
pub(super) fn send_with_fds(stream: &UnixStream, message: &impl Serialize, fds: &[RawFd]) -> io::Result<()> {
    let (header, body) = frame(message)?;
    let rights = [ControlMessage::ScmRights(fds)];
    // An empty list of descriptors is no valid control message.
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    // The header is small enough to be sent whole.
    sendmsg::<UnixAddr>(stream.as_raw_fd(), &[IoSlice::new(&header)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    let mut stream = stream;
    stream.write_all(&body)
}

/// Receives what [`send_with_fds`] sent; `None` if the other side has closed.
pub(super) fn receive_with_fds<T: DeserializeOwned>(
    stream: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = Header::default();
    let mut rights = nix::cmsg_space!([RawFd; 253]);
    let mut parts = [IoSliceMut::new(&mut header)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
    let message = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut parts, Some(&mut rights), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(raw::own));
        }
    }
    match message.bytes {
        0 => Ok(None),
        _ if message.flags.contains(MsgFlags::MSG_CTRUNC) => Err(Errno::EMFILE.into()),
        _ => Ok(Some((body(stream, header)?, fds))),
    }
}

fn frame(message: &impl Serialize) -> io::Result<(Header, Vec<u8>)> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(|_| Errno::E2BIG)?;
    Ok((length.to_ne_bytes(), body))
}

fn body<T: DeserializeOwned>(mut stream: &UnixStream, header: Header) -> io::Result<T> {
    let mut body = vec![0; u32::from_ne_bytes(header) as usize];
    stream.read_exact(&mut body)?;
    postcard::from_bytes(&body).map_err(io::Error::other)
}

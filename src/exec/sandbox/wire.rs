//! What kiln, helper and init say to each other, and how.
//!
//! Messages are postcard, each after its length. Both ends are the same binary, so there is no version.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::limits::Grouped;
use super::{Exit, Mode, SandboxSpec, raw};

/// The first message from kiln to the helper. With it come the descriptors that steps inherit, and then those by which
/// init joins control groups.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) spec: SandboxSpec,
    /// What those groups limit.
    pub(super) grouped: Grouped,
}

/// From kiln to the helper, and on to init: run the steps.
#[derive(Serialize, Deserialize)]
pub(super) struct Go;

/// From init to the helper.
#[derive(Serialize, Deserialize)]
pub(super) enum FromInit {
    /// The root stands; waiting for [`Go`].
    Ready,
    /// The last message, one way or the other.
    Ended(Result<Exit, Failure>),
}

/// From the helper to kiln.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    /// The root stands; waiting for [`Go`].
    Ready { init_pid: i32, mode: Mode },
    /// The last message. No process of the sandbox is left but the helper.
    Ended(Result<Exit, Failure>),
}

type Header = [u8; size_of::<u32>()];

/// Sends `message`.
pub(super) fn send(stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let (header, body) = frame(message)?;
    // One write, so that a reader that has seen the header need not wait for the rest.
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
    // The header is so small that it goes as a whole.
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

/// Paths of any bytes: serde's own form of a path must be UTF-8.
pub(super) mod os_path {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}

/// Lists of such paths.
pub(super) mod os_paths {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        paths: &[PathBuf],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| path.as_os_str()))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<OsString>::deserialize(deserializer)?.into_iter().map(PathBuf::from).collect())
    }
}

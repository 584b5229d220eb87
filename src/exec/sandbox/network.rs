//! The loopback device of a new network namespace, which is down at first.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// The kernel creates it first, so its index is always this one.
const LOOPBACK: i32 = 1;

// From <linux/netlink.h>, <linux/rtnetlink.h> and <linux/if.h>.
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;
/// The size of an `nlmsghdr`, and also of an `ifinfomsg`.
const HEADER: u8 = 16;

/// Brings the loopback device up; the kernel then gives it 127.0.0.1 and `::1`.
pub(super) fn bring_up_loopback() -> io::Result<()> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(socket.as_raw_fd(), &request(), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut reply = [0; 256];
    let length = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    acknowledged(&reply[..length])
}

/// An `nlmsghdr` and the `ifinfomsg` that sets one flag of one device.
fn request() -> Vec<u8> {
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    let length = 2 * u32::from(HEADER);
    let (sequence, port) = (1_u32, 0_u32);
    let (family, device_type) = (0_u16, 0_u16);
    [
        length.to_ne_bytes().as_slice(),
        &RTM_NEWLINK.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence.to_ne_bytes(),
        &port.to_ne_bytes(),
        &family.to_ne_bytes(),
        &device_type.to_ne_bytes(),
        &LOOPBACK.to_ne_bytes(),
        &IFF_UP.to_ne_bytes(), // the flags
        &IFF_UP.to_ne_bytes(), // which of them to change
    ]
    .concat()
}

/// The answer is an `nlmsghdr` of type error with a negative error number, zero for success.
fn acknowledged(reply: &[u8]) -> io::Result<()> {
    let kind = reply.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = reply
        .get(usize::from(HEADER)..)
        .and_then(|body| body.get(..4))
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(Errno::EPROTO.into()),
    }
}

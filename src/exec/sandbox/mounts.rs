//! The mounts of this namespace: listing and restricting them.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};

use super::failure::{During, Failure, SetupPart};
use super::raw;

/// Flags of mounts that steps may write to: neither devices nor set-user-id programs work there.
pub(super) const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Flags of mounts that steps may only read.
pub(super) const READ_ONLY: MsFlags = HARMLESS.union(MsFlags::MS_RDONLY);

/// The source name of our tmpfs mounts.
const OURS: &str = "kiln";

/// Binds `from`, with everything mounted below it, to `to`, and adds `flags` to each of these mounts.
pub(super) fn bind(from: &Path, to: &Path, flags: MsFlags) -> Result<(), Failure> {
    bind_only(from, to)?;
    restrict(to, flags)
}

/// Binds `from`, with everything mounted below it, to `to`; to be followed by [`restrict_all`].
pub(super) fn bind_only(from: &Path, to: &Path) -> Result<(), Failure> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .during(SetupPart::Mount, || format!("bind-mount {}", to.display()))
}

/// Shows files with mapped owners: those that a user namespace maps them to.
#[derive(Clone, Copy)]
pub(super) struct Shift<'a>(pub(super) BorrowedFd<'a>);

/// A mount that is not attached anywhere.
pub(super) struct Detached(OwnedFd);

impl Detached {
    /// A copy of the mount that shows `from`, and of those below, with additional flags and mapped owners. `None` where the kernel or
    /// the file system does not support that.
    pub(super) fn shifted(from: &Path, flags: MsFlags, shift: Shift<'_>) -> Result<Option<Self>, Failure> {
        let operation = || format!("show {} with other owners", from.display());
        let tree = match raw::open_tree(&c_path(from).during(SetupPart::Mount, operation)?) {
            // Linux before 5.2.
            Err(Errno::ENOSYS) => return Ok(None),
            result => result.during(SetupPart::Mount, operation)?,
        };
        let attributes = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_IDMAP | attributes(flags),
            attr_clr: 0,
            propagation: 0,
            userns_fd: u64::try_from(shift.0.as_raw_fd()).expect("descriptors are not negative"),
        };
        match raw::set_mount_attributes(&tree, &attributes) {
            // Linux before 5.12; an unsupported file system; a mount whose owners are mapped already.
            Err(Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => Ok(None),
            result => result.map(|()| Some(Self(tree))).during(SetupPart::Mount, operation),
        }
    }

    /// Attaches it.
    pub(super) fn attach(&self, to: &Path) -> Result<(), Failure> {
        c_path(to)
            .and_then(|to| raw::move_mount(&self.0, &to).map_err(Into::into))
            .during(SetupPart::Mount, || format!("mount on {}", to.display()))
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The flags of `mount_setattr`.
fn attributes(flags: MsFlags) -> u64 {
    [
        (MsFlags::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
        (MsFlags::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
        (MsFlags::MS_NODEV, libc::MOUNT_ATTR_NODEV),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .fold(0, |all, (_, attribute)| all | attribute)
}

/// Adds `flags` to the mount at `top` and to those below it.
///
/// The kernel applies the flags of a bind mount only to its top, so that a tree bound read-only would have writable parts.
/// (`mount_setattr` does it in one call, but only since Linux 5.12.)
pub(super) fn restrict(top: &Path, flags: MsFlags) -> Result<(), Failure> {
    restrict_those(|path| path.starts_with(top), |path| path == top, flags)
}

/// Adds `flags` to each mount whose path is one of `these`.
pub(super) fn restrict_all(these: impl Fn(&Path) -> bool, flags: MsFlags) -> Result<(), Failure> {
    restrict_those(&these, |_| true, flags)
}

/// Adds `flags` to each mount among `these`. Mounts that steps can't reach are skipped, unless they `must` be within reach.
fn restrict_those(
    these: impl Fn(&Path) -> bool,
    must: impl Fn(&Path) -> bool,
    flags: MsFlags,
) -> Result<(), Failure> {
    let text = fs::read("/proc/self/mountinfo")
        .during(SetupPart::Proc, || "read /proc/self/mountinfo".to_owned())?;
    for mounted in parse(&text).filter(|mounted| these(&mounted.path)) {
        // Omitted flags would be removed, which a user namespace refuses for flags that were set outside.
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | mounted.flags | flags;
        match mount(None::<&str>, &mounted.path, None::<&str>, flags, None::<&str>) {
            // Another mount covers it, or a directory on the way is inaccessible: steps can't reach it either.
            Err(Errno::ENOENT | Errno::EINVAL | Errno::EACCES) if !must(&mounted.path) => {}
            result => {
                result.during(SetupPart::Mount, || format!("restrict mount {}", mounted.path.display()))?;
            }
        }
    }
    Ok(())
}

/// Mounts a new tmpfs with the given options.
pub(super) fn tmpfs(at: &Path, flags: MsFlags, options: &str) -> Result<(), Failure> {
    mount(Some(OURS), at, Some("tmpfs"), flags, Some(options))
        .during(SetupPart::Mount, || format!("mount a tmpfs on {}", at.display()))
}

/// Stops the propagation of mounts between the host's namespace and this one.
pub(super) fn make_private() -> io::Result<()> {
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// A mount of a namespace.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::exec) struct Mounted {
    /// Its path.
    pub(in crate::exec) path: PathBuf,
    /// Whether it is the sandbox's own tmpfs or part of it, and so shows nothing of the host.
    pub(in crate::exec) ours: bool,
    /// Flags of the mount that a remount must repeat. The update mode of access times is kept unless it is given.
    flags: MsFlags,
}

/// Parses `mountinfo` (see proc(5)): the fifth field is the path, the sixth the flags, the second after `-` the source.
pub(in crate::exec) fn parse(text: &[u8]) -> impl Iterator<Item = Mounted> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(4);
        let (path, flags) = (unescape(fields.next()?), flags(fields.next()?));
        let mut what = fields.skip_while(|&field| field != b"-").skip(1);
        let ours = what.next() == Some(b"tmpfs") && what.next() == Some(OURS.as_bytes());
        Some(Mounted { path, ours, flags })
    })
}

fn flags(options: &[u8]) -> MsFlags {
    options
        .split(|&byte| byte == b',')
        .map(|option| match option {
            b"ro" => MsFlags::MS_RDONLY,
            b"nosuid" => MsFlags::MS_NOSUID,
            b"nodev" => MsFlags::MS_NODEV,
            b"noexec" => MsFlags::MS_NOEXEC,
            _ => MsFlags::empty(),
        })
        .collect()
}

/// Decodes octal escapes (`\040` is a space).
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = if first == b'\\' { tail.get(..3).and_then(octal) } else { None };
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_give_path_and_flags() {
        let text =
            b"36 35 98:0 /mnt1 /a\\040b\\134 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                     37 35 0:5 / /src ro,nosuid,nodev,noexec,relatime - tmpfs kiln rw\n";
        let mounts: Vec<_> = parse(text).collect();
        let all = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        assert_eq!(
            mounts,
            [
                Mounted { path: "/a b\\".into(), ours: false, flags: MsFlags::empty() },
                Mounted { path: "/src".into(), ours: true, flags: all },
            ]
        );
    }

    #[test]
    fn what_is_no_escape_is_left_alone() {
        assert_eq!(unescape(b"/a\\9x\\04"), PathBuf::from("/a\\9x\\04"));
    }
}

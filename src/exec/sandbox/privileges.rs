//! Who we are and what we may: gaining what building a sandbox takes, and giving up everything after.

use std::fs;
use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::error::{During, Failure, Stage};

/// What gives kiln the right to build a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Root's own privileges.
    Root,
    /// A user namespace, as an ordinary user has it (or root of a container that grants no `CAP_SYS_ADMIN`).
    UserNamespace,
}

impl Mode {
    /// The mode that this process has to use.
    pub(super) fn current() -> Result<Self, Failure> {
        let administrator = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
            .map_err(as_io)
            .during(Stage::Other, || "read own capabilities".to_owned())?;
        Ok(if geteuid().is_root() && administrator { Self::Root } else { Self::UserNamespace })
    }

    /// Becomes user and group 0, in full possession of the privileges that building a sandbox takes.
    pub(super) fn enter(self) -> Result<(), Failure> {
        match self {
            Self::Root => become_plain_root(),
            Self::UserNamespace => enter_user_namespace(),
        }
    }
}

/// Groups and a real user other than root's (as `sudo` and setuid programs leave them) would show inside.
fn become_plain_root() -> Result<(), Failure> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    match setgroups(&[]) {
        // Root of a user namespace that forbids it: there they stay, as in the other mode, without a name.
        Err(Errno::EPERM) => {}
        result => result.during(Stage::Other, || "give up supplementary groups".to_owned())?,
    }
    setresgid(group, group, group).during(Stage::Other, || "become group 0".to_owned())?;
    setresuid(user, user, user).during(Stage::Other, || "become user 0".to_owned())
}

fn enter_user_namespace() -> Result<(), Failure> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .during(Stage::UserNamespace, || "create a user namespace".to_owned())?;
    // The kernel lets an ordinary user map a group only after `setgroups` is off for good: with it, a process could
    // drop a group that a file's mode denies.
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        fs::write(file, text).during(Stage::UserNamespace, || format!("write {file}"))?;
    }
    Ok(())
}

/// Gives up every capability, for good: this process and all it executes, user 0 or not, hold none and get none.
pub(super) fn drop_all() -> Result<(), Failure> {
    // The bounding set first, for changing it takes a capability; the permitted set last, for it limits the others.
    let sets = [CapSet::Ambient, CapSet::Bounding, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted];
    for set in sets {
        caps::clear(None, set)
            .map_err(as_io)
            .during(Stage::Other, || format!("clear the {set:?} capability set"))?;
    }
    prctl::set_no_new_privs().during(Stage::Other, || "set no_new_privs".to_owned())
}

/// The crate tells errors as text alone; refusal is the one reason the kernel has for these calls.
fn as_io(error: CapsError) -> io::Error {
    drop(error);
    io::Error::from_raw_os_error(Errno::EPERM as i32)
}

//! Users and capabilities: gaining those that building a sandbox needs, and dropping all of them.

use std::collections::HashSet;
use std::fs;
use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::failure::{During, Failure, SetupPart};
use super::{RunAs, SandboxSpec, ids};

/// The privileges with which kiln builds a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Root's own privileges. Steps are users that own nothing on the host.
    Root,
    /// A user namespace of an ordinary user (or of root in a container that grants no `CAP_SYS_ADMIN`, or not all ids). Steps are
    /// the user who runs kiln, and see none of that user's other files.
    UserNamespace,
}

impl Mode {
    /// The mode that this process has to use.
    pub(super) fn current() -> Result<Self, Failure> {
        let administrator = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
            .map_err(as_io)
            .during(SetupPart::Other, || "read own capabilities".to_owned())?;
        let is_root = geteuid().is_root() && administrator && rules_the_host()?;
        Ok(if is_root { Self::Root } else { Self::UserNamespace })
    }

    /// Becomes user and group 0, with all capabilities that building a sandbox needs.
    pub(super) fn enter(self, spec: &SandboxSpec) -> Result<(), Failure> {
        match self {
            Self::Root => become_plain_root(),
            Self::UserNamespace if spec.has_users() => {
                ids::enter(spec.run_as)?;
                become_plain_root()
            }
            Self::UserNamespace => enter_user_namespace(),
        }
    }
}

/// Other groups and another real user (as left by `sudo` and set-user-id programs) would be visible inside.
pub(super) fn become_plain_root() -> Result<(), Failure> {
    become_plain(0).during(SetupPart::Other, || "become user and group 0".to_owned())
}

/// Becomes a user and the group of the same number, without further groups.
fn become_plain(id: u32) -> nix::Result<()> {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    match setgroups(&[]) {
        // A user namespace may forbid it: the groups then stay, without names.
        Err(Errno::EPERM) => {}
        result => result?,
    }
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Makes all permitted capabilities effective again, after a change of user has dropped some.
pub(super) fn regain_effective() -> Result<(), Failure> {
    let permitted = caps::read(None, CapSet::Permitted).during_set(CapSet::Permitted)?;
    caps::set(None, CapSet::Effective, &permitted).during_set(CapSet::Effective)
}

fn enter_user_namespace() -> Result<(), Failure> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .during(SetupPart::UserNamespace, || "create a user namespace".to_owned())?;
    // The kernel lets an ordinary user map a group only after `setgroups` is disabled for good: otherwise a process could drop a
    // group that a file's mode denies.
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        fs::write(file, text).during(SetupPart::UserNamespace, || format!("write {file}"))?;
    }
    Ok(())
}

/// Whether this process is in the host's initial user namespace, whose root alone may use loop devices and the kernel's
/// squashfs.
pub(super) fn rules_the_host() -> Result<bool, Failure> {
    let map = fs::read_to_string("/proc/self/uid_map")
        .during(SetupPart::Proc, || "read /proc/self/uid_map".to_owned())?;
    // All ids, each mapped to itself.
    Ok(map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// The capabilities for installing packages: making files of any owner and mode, and becoming other users.
const INSTALLING: [Capability; 7] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETFCAP,
];

/// Becomes the user of the steps, for good: neither this process nor what it executes has more privileges.
///
/// Only init keeps the capability to kill processes of other users, which is not passed on to what it executes.
pub(super) fn become_user(run_as: RunAs) -> Result<(), Failure> {
    let granted: HashSet<Capability> = match run_as {
        RunAs::Stripped | RunAs::User { .. } => HashSet::new(),
        RunAs::Installer => INSTALLING.into(),
    };
    let mut kept = granted.clone();
    if run_as != RunAs::Stripped {
        kept.insert(Capability::CAP_KILL);
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).during_set(set)?;
    }
    // First, because it needs a capability.
    for capability in caps::read(None, CapSet::Bounding).during_set(CapSet::Bounding)? {
        if !granted.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).during_set(CapSet::Bounding)?;
        }
    }
    if let RunAs::User { id } = run_as {
        let changed = || format!("become user {id}");
        prctl::set_keepcaps(true).during(SetupPart::Other, changed)?;
        become_plain(id).during(SetupPart::Other, changed)?;
    }
    // The permitted set last, because it limits the others.
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).during_set(set)?;
    }
    prctl::set_no_new_privs().during(SetupPart::Other, || "set no_new_privs".to_owned())
}

trait DuringSet<T> {
    fn during_set(self, set: CapSet) -> Result<T, Failure>;
}

impl<T> DuringSet<T> for Result<T, CapsError> {
    fn during_set(self, set: CapSet) -> Result<T, Failure> {
        self.map_err(as_io).during(SetupPart::Other, || format!("change the {set:?} capability set"))
    }
}

/// The crate only gives errors as text. Refusal is the only error that the kernel has for these calls.
fn as_io(error: CapsError) -> io::Error {
    drop(error);
    io::Error::from_raw_os_error(Errno::EPERM as i32)
}

//! Who we are and what we may: gaining what building a sandbox takes, and giving up everything after.

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

use super::error::{During, Failure, Stage};
use super::{RunAs, SandboxSpec, ids};

/// What gives kiln the right to build a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Root's own privileges. Steps are users that own nothing on the host.
    Root,
    /// A user namespace, as an ordinary user has it (or root of a container that grants no `CAP_SYS_ADMIN`, or not all
    /// ids). Steps are the user who runs kiln, in a root where they see none of that user's other files.
    UserNamespace,
}

impl Mode {
    /// The mode that this process has to use.
    pub(super) fn current() -> Result<Self, Failure> {
        let administrator = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
            .map_err(as_io)
            .during(Stage::Other, || "read own capabilities".to_owned())?;
        let is_root = geteuid().is_root() && administrator && rules_the_host()?;
        Ok(if is_root { Self::Root } else { Self::UserNamespace })
    }

    /// Becomes user and group 0, in full possession of the privileges that building a sandbox takes.
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

/// Groups and a real user other than root's (as `sudo` and setuid programs leave them) would show inside.
pub(super) fn become_plain_root() -> Result<(), Failure> {
    become_plain(0).during(Stage::Other, || "become user and group 0".to_owned())
}

/// Becomes a user and a group of the same number, and nobody else.
fn become_plain(id: u32) -> nix::Result<()> {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    match setgroups(&[]) {
        // Root of a user namespace that forbids it: there they stay, as with one id alone, without a name.
        Err(Errno::EPERM) => {}
        result => result?,
    }
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Makes all capabilities that this process may have effective again, after a change of user has taken some away.
pub(super) fn regain_effective() -> Result<(), Failure> {
    let permitted = caps::read(None, CapSet::Permitted).during_set(CapSet::Permitted)?;
    caps::set(None, CapSet::Effective, &permitted).during_set(CapSet::Effective)
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

/// Whether this process is in the host's own user namespace, whose root alone has loop devices and the kernel's
/// squashfs.
pub(super) fn rules_the_host() -> Result<bool, Failure> {
    let map = fs::read_to_string("/proc/self/uid_map")
        .during(Stage::Proc, || "read /proc/self/uid_map".to_owned())?;
    // All ids, each to itself.
    Ok(map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// What installing packages takes: files of any owner and mode, and other users to do it as.
const INSTALLING: [Capability; 7] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETFCAP,
];

/// Becomes who steps are, for good: neither this process nor what it executes gets more than that.
///
/// Init alone keeps the right to kill what runs as another user, which is not handed on to what it executes.
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
    // Before the others, for changing it takes a capability.
    for capability in caps::read(None, CapSet::Bounding).during_set(CapSet::Bounding)? {
        if !granted.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).during_set(CapSet::Bounding)?;
        }
    }
    if let RunAs::User { id } = run_as {
        let changed = || format!("become user {id}");
        prctl::set_keepcaps(true).during(Stage::Other, changed)?;
        become_plain(id).during(Stage::Other, changed)?;
    }
    // The permitted set last, for it limits the other.
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).during_set(set)?;
    }
    prctl::set_no_new_privs().during(Stage::Other, || "set no_new_privs".to_owned())
}

trait DuringSet<T> {
    fn during_set(self, set: CapSet) -> Result<T, Failure>;
}

impl<T> DuringSet<T> for Result<T, CapsError> {
    fn during_set(self, set: CapSet) -> Result<T, Failure> {
        self.map_err(as_io).during(Stage::Other, || format!("change the {set:?} capability set"))
    }
}

/// The crate tells errors as text alone; refusal is the one reason the kernel has for these calls.
fn as_io(error: CapsError) -> io::Error {
    drop(error);
    io::Error::from_raw_os_error(Errno::EPERM as i32)
}

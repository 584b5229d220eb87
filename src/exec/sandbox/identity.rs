//! Who steps are on the host, where root starts kiln: users that own nothing there.
//!
//! Init builds the sandbox with root's power, and then joins a user namespace whose ids are all mapped to a range of
//! the host's ids that nobody has. The namespaces of the sandbox stay root's: steps have no power over them, whatever
//! capabilities they hold in theirs. What of the host steps read is shown to them as theirs by id-mapped mounts, and
//! what they write belongs to the range.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, lchown};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid, pipe, setfsgid, setfsuid};

use super::error::{During, Failure, Stage};
use super::mounts::Shift;
use super::{Access, RunAs, SandboxSpec, privileges, raw};

/// The first of the host's ids that steps get. No distribution, container manager or systemd gives out any between
/// 1879048192 and 2147352575.
pub const FIRST_ID: u32 = 1_900_000_000;

/// How many there are: all that a root of images has, up to `nobody`.
const COUNT: u32 = 65536;

/// The ids of one sandbox's steps, and how files of the host are shown to them.
pub(super) struct Identity {
    /// What steps live in.
    namespace: OwnedFd,
    /// Whether it has all ids, and not only 0.
    has_range: bool,
    /// Shows files of an owner as the steps' own. `None`: the namespace itself does.
    own: BTreeMap<Owner, Option<OwnedFd>>,
}

/// A user and a group of the host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    fn of(metadata: &Metadata) -> Self {
        Self { user: metadata.uid(), group: metadata.gid() }
    }
}

impl Identity {
    /// Makes the namespaces, and gives steps what they are to write.
    pub(super) fn prepare(spec: &SandboxSpec) -> Result<Self, Failure> {
        let has_range = spec.has_users();
        let count = if has_range { COUNT } else { 1 };
        let namespace = user_namespace(Owner { user: 0, group: 0 }, FIRST_ID, count)?;
        let mut identity = Self { namespace, has_range, own: BTreeMap::new() };
        let user = id_on_host(spec.run_as);
        for mount in &spec.mounts {
            match mount.access {
                Access::ReadOnly => identity.add_owner(&mount.from, user)?,
                Access::ReadWrite => {
                    give_tree(&mount.from, user)
                        .during(Stage::Input, || format!("give {} to the steps", mount.from.display()))?;
                }
            }
        }
        for writable in spec.writables() {
            for dir in [&writable.upper, &writable.work] {
                shift_tree(dir).during(Stage::Input, || format!("give {} to the steps", dir.display()))?;
            }
        }
        // Programs open their standard streams by name, too (/dev/stdout).
        for fd in [1, 2].into_iter().chain(spec.inherit.iter().copied()) {
            give_stream(fd, user).during(Stage::Other, || format!("give descriptor {fd} to the steps"))?;
        }
        Ok(identity)
    }

    /// Prepares for showing what the owner of `path` has.
    fn add_owner(&mut self, path: &Path, user: u32) -> Result<(), Failure> {
        // What is missing is told by whoever mounts it.
        let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
        let owner = Owner::of(&metadata);
        // What steps made is theirs already.
        if is_mapped(owner.user) || self.own.contains_key(&owner) {
            return Ok(());
        }
        let same = owner == Owner { user: 0, group: 0 } && user == FIRST_ID && !self.has_range;
        let shown = if same { None } else { Some(user_namespace(owner, user, 1)?) };
        self.own.insert(owner, shown);
        Ok(())
    }

    /// Files that this process makes from now on are the steps' user 0's, with no less power over those of others.
    pub(super) fn make_files() -> Result<(), Failure> {
        setfsgid(Gid::from_raw(FIRST_ID));
        setfsuid(Uid::from_raw(FIRST_ID));
        privileges::regain_effective()
    }

    /// What shows files of the owner of `source` as the steps' own.
    pub(super) fn shift_of(&self, source: &Metadata) -> Option<Shift<'_>> {
        let namespace = self.own.get(&Owner::of(source))?;
        Some(Shift(namespace.as_ref().unwrap_or(&self.namespace).as_fd()))
    }

    /// What shows files of an image with the ids that they have in it.
    pub(super) fn shift_of_images(&self) -> Shift<'_> {
        Shift(self.namespace.as_fd())
    }

    /// Becomes user and group 0 of the steps' namespace, with all capabilities there and none on the host.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        setns(self.namespace.as_fd(), CloneFlags::CLONE_NEWUSER)
            .during(Stage::UserNamespace, || "enter the user namespace of the steps".to_owned())?;
        privileges::become_plain_root()
    }
}

/// The host's number of the user that steps are.
pub(super) fn id_on_host(run_as: RunAs) -> u32 {
    FIRST_ID
        + match run_as {
            RunAs::Stripped | RunAs::Installer => 0,
            RunAs::User { id } => id,
        }
}

/// The host's number of a group that steps know by `id`.
pub(super) const fn group_on_host(id: u32) -> u32 {
    FIRST_ID + id
}

/// Makes a user namespace in which `count` ids, from those of `first` on, are the host's from `outside` on.
fn user_namespace(first: Owner, outside: u32, count: u32) -> Result<OwnedFd, Failure> {
    let operation = || "create the user namespace of the steps".to_owned();
    // It lives as long as a process is in it or a descriptor leads to it: the child waits until we have one. Should we
    // die, the pipe closes, and it ends as well.
    let (reader, writer) = pipe().during(Stage::UserNamespace, operation)?;
    let child = raw::wait_in_user_namespace(&reader, &writer).during(Stage::UserNamespace, operation)?;
    let proc = PathBuf::from(format!("/proc/{child}"));
    let map = |inside: u32| format!("{inside} {outside} {count}");
    let namespace = fs::write(proc.join("uid_map"), map(first.user))
        .and_then(|()| fs::write(proc.join("gid_map"), map(first.group)))
        .and_then(|()| File::open(proc.join("ns/user")));
    drop((reader, writer));
    waitpid(child, None).during(Stage::UserNamespace, operation)?;
    namespace.map(OwnedFd::from).during(Stage::UserNamespace, operation)
}

/// Whether an id is one of those that steps have.
const fn is_mapped(id: u32) -> bool {
    id >= FIRST_ID && id - FIRST_ID < COUNT
}

/// Gives a tree to a user: all of it where its top is another's, and otherwise what is no other user's of the steps.
fn give_tree(top: &Path, user: u32) -> io::Result<()> {
    let all = fs::symlink_metadata(top)?.uid() != user;
    each(top, &mut |path, metadata| {
        let gives = all || !is_mapped(metadata.uid()) || !is_mapped(metadata.gid());
        let owned = metadata.uid() == user && metadata.gid() == user;
        if gives && !owned { lchown(path, Some(user), Some(user)) } else { Ok(()) }
    })
}

/// Gives what is owned by users of the host to those that steps know by the same numbers.
fn shift_tree(top: &Path) -> io::Result<()> {
    let shifted = |id: u32| if is_mapped(id) || id >= COUNT { id } else { FIRST_ID + id };
    each(top, &mut |path, metadata| {
        let (user, group) = (shifted(metadata.uid()), shifted(metadata.gid()));
        if (user, group) == (metadata.uid(), metadata.gid()) {
            return Ok(());
        }
        lchown(path, Some(user), Some(group))
    })
}

/// Calls `visit` with a path and all below it. Without recursion, as steps decide how deep it is.
fn each(top: &Path, visit: &mut dyn FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        visit(&path, &metadata)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

fn give_stream(fd: RawFd, user: u32) -> io::Result<()> {
    let stream = format!("/proc/self/fd/{fd}");
    let metadata = fs::metadata(&stream)?;
    let is_kilns = metadata.is_file() || metadata.file_type().is_fifo();
    if is_kilns && metadata.uid() != user { chown(stream, Some(user), Some(user)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_ids_are_a_range_of_their_own() {
        assert!(is_mapped(id_on_host(RunAs::Stripped)) && is_mapped(id_on_host(RunAs::User { id: 65535 })));
        assert!(!is_mapped(0) && !is_mapped(65534) && !is_mapped(FIRST_ID + COUNT) && !is_mapped(u32::MAX));
    }
}

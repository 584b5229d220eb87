//! The users of steps where root runs kiln: users that own nothing on the host.
//!
//! Init builds the sandbox with root's privileges, and then joins a user namespace whose ids are mapped to a range of host ids that
//! nobody has. The other namespaces of the sandbox belong to root: steps have no power over them, whatever capabilities they have in
//! their own. Files of the host that steps read are shown as theirs by id-mapped mounts; what they write belongs to the range.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, lchown};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid, pipe, setfsgid, setfsuid};

use super::failure::{During, Failure, SetupPart};
use super::mounts::Shift;
use super::{Access, RunAs, SandboxSpec, privileges, raw};

/// The first host id of the steps. No distribution, container manager or systemd assigns ids between 1879048192 and 2147352575.
pub const FIRST_ID: u32 = 1_900_000_000;

/// The number of ids: all that a root of images uses, up to `nobody`.
const COUNT: u32 = 65536;

/// The ids of one sandbox's steps, and how files of the host are shown to them.
pub(super) struct Identity {
    /// The user namespace of the steps.
    namespace: OwnedFd,
    /// Whether all ids are mapped, and not only 0.
    has_range: bool,
    /// Shows files of an owner as the steps' own. `None`: the namespace does that itself.
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
    /// Makes the namespaces, and gives steps the directories that they write.
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
                        .during(SetupPart::Input, || format!("give {} to the steps", mount.from.display()))?;
                }
            }
        }
        for writable in spec.writables() {
            for dir in [&writable.upper, &writable.work] {
                shift_tree(dir)
                    .during(SetupPart::Input, || format!("give {} to the steps", dir.display()))?;
            }
        }
        // Programs also open their standard streams by name (/dev/stdout).
        for fd in [1, 2].into_iter().chain(spec.inherit.iter().copied()) {
            give_stream(fd, user)
                .during(SetupPart::Other, || format!("give descriptor {fd} to the steps"))?;
        }
        Ok(identity)
    }

    /// Prepares for showing files of the owner of `path`.
    fn add_owner(&mut self, path: &Path, user: u32) -> Result<(), Failure> {
        // A missing file is reported by whoever mounts it.
        let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
        let owner = Owner::of(&metadata);
        // Files that steps made are theirs already.
        if is_mapped(owner.user) || self.own.contains_key(&owner) {
            return Ok(());
        }
        let same = owner == Owner { user: 0, group: 0 } && user == FIRST_ID && !self.has_range;
        let shown = if same { None } else { Some(user_namespace(owner, user, 1)?) };
        self.own.insert(owner, shown);
        Ok(())
    }

    /// Files that this process makes from now on belong to the steps' user 0; its power over other files stays.
    pub(super) fn make_files() -> Result<(), Failure> {
        setfsgid(Gid::from_raw(FIRST_ID));
        setfsuid(Uid::from_raw(FIRST_ID));
        privileges::regain_effective()
    }

    /// Shows files of the owner of `source` as the steps' own.
    pub(super) fn shift_of(&self, source: &Metadata) -> Option<Shift<'_>> {
        let namespace = self.own.get(&Owner::of(source))?;
        Some(Shift(namespace.as_ref().unwrap_or(&self.namespace).as_fd()))
    }

    /// Shows files of an image with the ids that they have in it.
    pub(super) fn shift_of_images(&self) -> Shift<'_> {
        Shift(self.namespace.as_fd())
    }

    /// Becomes user and group 0 of the steps' namespace, with all capabilities there and none on the host.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        setns(self.namespace.as_fd(), CloneFlags::CLONE_NEWUSER)
            .during(SetupPart::UserNamespace, || "enter the user namespace of the steps".to_owned())?;
        privileges::become_plain_root()
    }
}

/// The host id of the steps' user.
pub(super) fn id_on_host(run_as: RunAs) -> u32 {
    FIRST_ID
        + match run_as {
            RunAs::Stripped | RunAs::Installer => 0,
            RunAs::User { id } => id,
        }
}

/// The host id of a group that steps know by `id`.
pub(super) const fn group_on_host(id: u32) -> u32 {
    FIRST_ID + id
}

/// Makes a user namespace that maps `count` ids, from `first` on, to host ids from `outside` on.
fn user_namespace(first: Owner, outside: u32, count: u32) -> Result<OwnedFd, Failure> {
    let operation = || "create the user namespace of the steps".to_owned();
    // It lives as long as a process or a descriptor refers to it: the child waits until we have a descriptor. If we die, the pipe
    // is closed, and the child ends.
    let (reader, writer) = pipe().during(SetupPart::UserNamespace, operation)?;
    let child = raw::wait_in_user_namespace(&reader, &writer).during(SetupPart::UserNamespace, operation)?;
    let proc = PathBuf::from(format!("/proc/{child}"));
    let map = |inside: u32| format!("{inside} {outside} {count}");
    let namespace = fs::write(proc.join("uid_map"), map(first.user))
        .and_then(|()| fs::write(proc.join("gid_map"), map(first.group)))
        .and_then(|()| File::open(proc.join("ns/user")));
    drop((reader, writer));
    waitpid(child, None).during(SetupPart::UserNamespace, operation)?;
    namespace.map(OwnedFd::from).during(SetupPart::UserNamespace, operation)
}

/// Whether an id is one of the steps'.
const fn is_mapped(id: u32) -> bool {
    id >= FIRST_ID && id - FIRST_ID < COUNT
}

/// Gives a tree to a user: all of it if its top belongs to somebody else, otherwise what belongs to no other user of the steps.
fn give_tree(top: &Path, user: u32) -> io::Result<()> {
    let all = fs::symlink_metadata(top)?.uid() != user;
    each(top, &mut |path, metadata| {
        let gives = all || !is_mapped(metadata.uid()) || !is_mapped(metadata.gid());
        let owned = metadata.uid() == user && metadata.gid() == user;
        if gives && !owned { lchown(path, Some(user), Some(user)) } else { Ok(()) }
    })
}

/// Gives files of host users to the users that steps know by the same numbers.
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

/// Calls `visit` with a path and everything below it. Not recursive: steps decide how deep it is.
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

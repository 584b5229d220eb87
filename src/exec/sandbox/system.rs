//! The system's directories: the host's, or those of a tree of images.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::SandboxSpec;
use super::error::{During, Failure, Stage};
use super::mounts::tmpfs;
use super::points::{RESERVED, bind_to, directory, on_host, stays_inside};
use super::root::{HARMLESS, READ_ONLY};

/// What of the host's root programs need to run at all.
pub const SYSTEM_DIRS: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"];

/// What a root of images does not bring: the kernel's, and what a sandbox has of its own.
const OWN: [&str; 5] = ["proc", "dev", "sys", "tmp", "kiln"];

/// The host's, by paths that no symlink on the host can bend.
pub(super) struct HostSystem(Vec<(PathBuf, Entry)>);

/// An entry of the host's root.
enum Entry {
    /// A symlink to somewhere in another of them, as `/bin` is on hosts with a merged `/usr`.
    Link(PathBuf),
    Directory(PathBuf),
}

impl HostSystem {
    /// Finds it, while paths mean what they mean on the host.
    pub(super) fn find() -> Result<Self, Failure> {
        let mut system = Vec::new();
        for path in SYSTEM_DIRS.map(PathBuf::from) {
            match fs::canonicalize(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    let real = result.during(Stage::Input, || format!("find {}", path.display()))?;
                    let elsewhere =
                        SYSTEM_DIRS.iter().any(|other| Path::new(other) != path && real.starts_with(other));
                    let entry = match fs::read_link(&path) {
                        Ok(target) if elsewhere => Entry::Link(target),
                        _ => Entry::Directory(real),
                    };
                    system.push((path, entry));
                }
            }
        }
        Ok(Self(system))
    }

    pub(super) fn show(&self) -> Result<(), Failure> {
        self.0.iter().try_for_each(|(path, entry)| match entry {
            Entry::Link(target) => link(target, path),
            Entry::Directory(source) => bind_to(&on_host(source), path, READ_ONLY),
        })
    }
}

/// Shows what is at the top of a tree.
///
/// The root itself stays a tmpfs: what a sandbox has of its own needs mount points, and an image may lack them.
pub(super) fn show_tree(tree: &Path, spec: &SandboxSpec, writable: bool) -> Result<(), Failure> {
    let flags = if writable { HARMLESS } else { READ_ONLY };
    let covered: BTreeSet<&Path> = spec.covered().collect();
    for name in names(tree).during(Stage::Image, || "read the root's directory".to_owned())? {
        let path = Path::new("/").join(&name);
        let reserved = RESERVED.iter().any(|reserved| path == Path::new(reserved));
        let replaced = writable && name == "run";
        if reserved || replaced || OWN.iter().any(|own| name == *own) || covered.contains(&*path) {
            continue;
        }
        let from = tree.join(&name);
        let metadata =
            fs::symlink_metadata(&from).during(Stage::Image, || format!("look at {}", path.display()))?;
        if metadata.is_symlink() {
            let target = fs::read_link(&from).during(Stage::Image, || format!("read {}", path.display()))?;
            link(&target, &path)?;
        } else if metadata.is_dir() || metadata.is_file() {
            bind_to(&from, &path, flags)?;
        }
    }
    if writable { private_directories() } else { Ok(()) }
}

fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let names: io::Result<BTreeSet<_>> =
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    Ok(names?.into_iter().collect())
}

/// What a running system keeps nothing in from one start to the next.
fn private_directories() -> Result<(), Failure> {
    directory(Path::new("/run"))?;
    tmpfs(Path::new("/run"), HARMLESS, "mode=0755")?;
    // Where programs put files to lock, Portage among them.
    let locks = Path::new("/run/lock");
    directory(locks)?;
    fs::set_permissions(locks, std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .during(Stage::Mount, || "open /run/lock to all".to_owned())?;
    let temporary = Path::new("/var/tmp");
    if temporary.is_dir() {
        stays_inside(temporary)?;
        tmpfs(temporary, HARMLESS, "mode=1777")?;
    }
    Ok(())
}

fn link(target: &Path, path: &Path) -> Result<(), Failure> {
    symlink(target, path).during(Stage::Mount, || format!("create symlink {}", path.display()))
}

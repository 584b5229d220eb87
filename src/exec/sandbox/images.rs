//! Trees of images: mounted in milliseconds, because nothing is unpacked.
//!
//! An image is squashfs. It is mounted by the kernel where kiln is root, and by `squashfuse` otherwise. Several images, or a
//! writable tree, are an overlay, always with `userxattr`: then an upper directory has the same form whoever ran kiln, and can serve
//! as a layer for any user.
//!
//! (From Linux 6.12 on, erofs can be mounted from a file without a loop device; but its images of a root are one and a half times as
//! large, and packing one takes several times as long.)

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{
    FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, fstatfs,
};

use super::failure::{During, Failure, SetupPart};
use super::loop_device::LoopDevice;
use super::mounts::{Detached, Shift};
use super::mounts::{HARMLESS, READ_ONLY};
use super::{Images, Root, SandboxSpec, privileges, squashfuse};

/// "hsqs", little-endian, at the start of an image.
const MAGIC: [u8; 4] = *b"hsqs";

/// The offset of an image's size in bytes. (Format: `fs/squashfs/squashfs_fs.h` of Linux.)
const SIZE: usize = 40;
const SUPERBLOCK: usize = 96;

/// The trees of a specification, opened while paths mean what they mean on the host.
pub(super) struct Trees(Vec<(String, Tree)>);

struct Tree {
    /// The lowest first.
    layers: Vec<Layer>,
    written: Option<Written>,
}

struct Layer {
    path: PathBuf,
    file: File,
}

/// The directories of [`Writable`](super::Writable).
struct Written {
    path: PathBuf,
    upper: OwnedFd,
    work: OwnedFd,
}

impl Trees {
    pub(super) fn open(spec: &SandboxSpec) -> Result<Self, Failure> {
        let mut trees = Vec::new();
        if let Root::Images(images) = &spec.root {
            trees.push((ROOT.to_owned(), Tree::open(images)?));
        }
        for (index, shown) in spec.shown.iter().enumerate() {
            trees.push((index.to_string(), Tree::open(&shown.images)?));
        }
        Ok(Self(trees))
    }

    /// Mounts each tree in a directory of its own below `dir`. `shift` maps the owners of files.
    pub(super) fn mount(&self, dir: &Path, shift: Option<Shift<'_>>) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        make(dir)?;
        let with = Mounter::of_this_process(shift)?;
        self.0.iter().try_for_each(|(name, tree)| tree.mount(with, &dir.join(name)))
    }

    /// The path of the tree that is the sandbox's root, below `dir`.
    pub(super) fn root(dir: &Path) -> PathBuf {
        dir.join(ROOT)
    }

    /// The path of a tree that is shown, below `dir`.
    pub(super) fn shown(dir: &Path, index: usize) -> PathBuf {
        dir.join(index.to_string())
    }

    /// Unmounts the trees below `dir`, once they are bound to their final paths.
    pub(super) fn let_go(dir: &Path, spec: &SandboxSpec) -> Result<(), Failure> {
        let root = matches!(spec.root, Root::Images(_)).then(|| Self::root(dir));
        let mut any = false;
        for tree in root.into_iter().chain((0..spec.shown.len()).map(|index| Self::shown(dir, index))) {
            detach(&tree)?;
            any = true;
        }
        if any {
            fs::remove_dir(dir).during(SetupPart::Mount, || format!("remove {}", dir.display()))
        } else {
            Ok(())
        }
    }
}

/// The name of the tree that is the sandbox's root; others have numbers.
const ROOT: &str = "root";

impl Tree {
    fn open(Images { layers, writable }: &Images) -> Result<Self, Failure> {
        let layers = layers.iter().map(|path| Layer::open(path)).collect::<Result<_, _>>()?;
        let written = match writable {
            Some(writable) => Some(Written {
                path: writable.upper.clone(),
                upper: handle(&writable.upper)?,
                work: handle(&writable.work)?,
            }),
            None => None,
        };
        Ok(Self { layers, written })
    }

    fn mount(&self, with: Mounter<'_>, at: &Path) -> Result<(), Failure> {
        make(at)?;
        if let ([layer], None) = (&*self.layers, &self.written) {
            return layer.mount(with, at);
        }
        let mut points = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let point = at.with_extension(index.to_string());
            make(&point)?;
            layer.mount(with, &point)?;
            points.push(point);
        }
        self.overlay(&points, at)?;
        // The overlay holds the layers itself.
        points.iter().try_for_each(|point| detach(point))
    }

    fn overlay(&self, points: &[PathBuf], at: &Path) -> Result<(), Failure> {
        let below = points.iter().map(|point| handle(point)).collect::<Result<Vec<_>, _>>()?;
        // By descriptors: paths may contain the characters that separate options.
        let named = |handle: &OwnedFd| format!("/proc/self/fd/{}", handle.as_raw_fd());
        let lower: Vec<String> = below.iter().rev().map(named).collect();
        let mut options = format!("userxattr,lowerdir={}", lower.join(":"));
        let mut flags = READ_ONLY;
        if let (Some(written), Some(top)) = (&self.written, points.last()) {
            let (upper, work) = (named(&written.upper), named(&written.work));
            copy_attributes(top, Path::new(&upper))
                .during(SetupPart::Mount, || format!("give {} its owner and mode", written.path.display()))?;
            options.push_str(&format!(",upperdir={upper},workdir={work}"));
            flags = HARMLESS;
        }
        mount(Some("kiln"), at, Some("overlay"), flags, Some(&*options))
            .during(SetupPart::Overlay, || self.overlaying())
    }

    /// The operation, for an error.
    fn overlaying(&self) -> String {
        let layers: Vec<_> = self.layers.iter().map(|layer| layer.path.display().to_string()).collect();
        let on = self.written.as_ref().map_or_else(String::new, |written| {
            let kind = fstatfs(&written.upper).map(|stat| kind(stat.filesystem_type()));
            let kind = kind.map(|kind| format!(" on {kind}")).unwrap_or_default();
            format!(", with what is written in {}{kind}", written.path.display())
        });
        format!("lay an overlay over {}{on}", layers.join(", "))
    }
}

/// A file system by name, if it supports an overlay's upper layer rarely or never.
fn kind(kind: FsType) -> String {
    let names = [
        (OVERLAYFS_SUPER_MAGIC, "another overlay"),
        (NFS_SUPER_MAGIC, "NFS"),
        (FUSE_SUPER_MAGIC, "FUSE"),
        (TMPFS_MAGIC, "tmpfs"),
    ];
    let named = names.iter().find(|(known, _)| *known == kind);
    named.map_or_else(|| format!("a file system of type {:#x}", kind.0), |(_, name)| (*name).to_owned())
}

impl Layer {
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut file =
            File::open(path).during(SetupPart::Input, || format!("open image {}", path.display()))?;
        let mut head = Vec::with_capacity(SUPERBLOCK);
        let has = file
            .by_ref()
            .take(SUPERBLOCK as u64)
            .read_to_end(&mut head)
            .and_then(|_| file.metadata())
            .during(SetupPart::Input, || format!("read image {}", path.display()))?
            .len();
        match damage(&head, has) {
            Some(reason) => Err(Failure::Refused {
                part: SetupPart::Damaged,
                operation: format!("mount image {}", path.display()),
                reason,
            }),
            None => Ok(Self { path: path.to_owned(), file }),
        }
    }

    fn mount(&self, with: Mounter<'_>, at: &Path) -> Result<(), Failure> {
        match with {
            Mounter::Kernel(shift) => {
                let device = LoopDevice::of(&self.file).during(SetupPart::Loop, || {
                    format!("attach image {} to a loop device", self.path.display())
                })?;
                mount(Some(&device.path), at, Some("squashfs"), READ_ONLY, None::<&str>)
                    .during(SetupPart::Image, || format!("mount image {}", self.path.display()))?;
                shift.map_or(Ok(()), |shift| self.shift(at, shift))
            }
            Mounter::Fuse => squashfuse::mount(&self.file, &self.path, at),
        }
    }
}

impl Layer {
    /// Replaces the mount by one with mapped owners.
    fn shift(&self, at: &Path, shift: Shift<'_>) -> Result<(), Failure> {
        let operation = || format!("show image {} with the ids of steps", self.path.display());
        let shifted = Detached::shifted(at, READ_ONLY, shift)?.ok_or_else(|| Failure::Refused {
            part: SetupPart::Shift,
            operation: operation(),
            reason: "the kernel can't mount squashfs with other owners".to_owned(),
        })?;
        umount2(at, MntFlags::MNT_DETACH).during(SetupPart::Mount, operation)?;
        shifted.attach(at)
    }
}

/// What is wrong with an image, by its beginning and its size.
fn damage(head: &[u8], has: u64) -> Option<String> {
    if !head.starts_with(&MAGIC) || head.len() < SUPERBLOCK {
        return Some("it is no squashfs image".to_owned());
    }
    let size = head.get(SIZE..SIZE + 8)?.try_into().map(u64::from_le_bytes).ok()?;
    (has < size).then(|| format!("it is cut short: {has} bytes of {size}"))
}

/// What mounts images.
#[derive(Clone, Copy)]
enum Mounter<'a> {
    /// The kernel's squashfs, with loop devices: for root of the host only. With mapped owners.
    Kernel(Option<Shift<'a>>),
    /// A process in user space for each.
    Fuse,
}

impl<'a> Mounter<'a> {
    fn of_this_process(shift: Option<Shift<'a>>) -> Result<Self, Failure> {
        Ok(if privileges::rules_the_host()? { Self::Kernel(shift) } else { Self::Fuse })
    }
}

fn make(dir: &Path) -> Result<(), Failure> {
    fs::create_dir(dir).during(SetupPart::Mount, || format!("create mount point {}", dir.display()))
}

/// Unmounts a path and removes it. Users of the mount keep it.
fn detach(point: &Path) -> Result<(), Failure> {
    umount2(point, MntFlags::MNT_DETACH)
        .map_err(Into::into)
        .and_then(|()| fs::remove_dir(point))
        .during(SetupPart::Mount, || format!("take {} away", point.display()))
}

fn handle(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).during(SetupPart::Input, || format!("open {}", path.display()))
}

/// Owner, mode and time of the root directory, which are those of the upper layer.
fn copy_attributes(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let stat = fs::metadata(from)?;
    chown(to, Some(stat.uid()), Some(stat.gid()))?;
    fs::set_permissions(to, stat.permissions())?;
    File::open(to)?.set_modified(stat.modified()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_seen_by_beginning_and_size() {
        let mut head = vec![0; SUPERBLOCK];
        head[..4].copy_from_slice(&MAGIC);
        head[SIZE..SIZE + 8].copy_from_slice(&5000_u64.to_le_bytes());
        assert_eq!(damage(&head, 8192), None);
        assert_eq!(damage(&head, 4096).unwrap(), "it is cut short: 4096 bytes of 5000");
        for bad in [&b""[..], b"hsqs", &[0; SUPERBLOCK]] {
            assert_eq!(damage(bad, 8192).unwrap(), "it is no squashfs image");
        }
    }
}

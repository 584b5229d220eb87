//! Images below an overlay, in a mount namespace of one's own.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use super::device::Device;
use super::{DEVICE, ImageError, MOUNT, OVERLAY};

/// Device nodes of a root are there and open nothing, and its set-id programs run as whoever runs them: nobody in there
/// is to have more of the host than they came with.
const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// The images of a root, the base first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers(Vec<PathBuf>);

impl Layers {
    /// A root of a base and what was added to it, in the order in which it was.
    pub fn new(base: PathBuf, deltas: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(std::iter::once(base).chain(deltas).collect())
    }

    /// Mounts the layers at `at`, with an overlay on top that takes what is written. `scratch` is an empty directory on a
    /// file system of the host's; the mount points of the layers are made in it, and `upper`, which holds what was
    /// written and makes the next delta.
    ///
    /// Only for a mount namespace of one's own ([`own_mounts`]): nothing here is undone but by its end.
    pub fn mount(&self, scratch: &Path, at: &Path) -> Result<(), ImageError> {
        let make = |name: &str| {
            let path = scratch.join(name);
            fs::create_dir(&path).map_err(ImageError::at("make", &path))?;
            Ok(path)
        };
        let mut below = Vec::new();
        for (index, image) in self.0.iter().enumerate() {
            let point = make(&format!("layer-{index}"))?;
            mount_image(image, &point)?;
            below.push(handle(&point)?);
        }
        // The upper layer's directory becomes that of the root.
        let top = scratch.join(format!("layer-{}", self.0.len() - 1));
        let (upper, work) = (make("upper")?, make("work")?);
        copy_attributes(&top, &upper)?;
        let (upper_handle, work_handle) = (handle(&upper)?, handle(&work)?);
        // By descriptors, as names could hold what separates options.
        let by_handle = |handle: &OwnedFd| format!("/proc/self/fd/{}", handle.as_raw_fd());
        let lower = below.iter().rev().map(by_handle).collect::<Vec<_>>().join(":");
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={}",
            by_handle(&upper_handle),
            by_handle(&work_handle)
        );
        mount(Some("kiln"), at, Some("overlay"), HARMLESS, Some(&*options))
            .map_err(|errno| ImageError::at(OVERLAY, scratch)(errno.into()))?;
        // The overlay has its own hold on the layers: their mount points are not needed any more.
        for index in 0..self.0.len() {
            let point = scratch.join(format!("layer-{index}"));
            umount2(&point, MntFlags::MNT_DETACH)
                .map_err(|errno| ImageError::at("unmount", &point)(errno.into()))?;
        }
        Ok(())
    }
}

/// Gives the calling thread a mount namespace of its own, of which the host learns nothing. What it mounts goes with the last
/// thread or process that is in there.
///
/// Other threads of the process stay where they are; programs that this one starts are in there with it.
pub fn own_mounts() -> Result<(), ImageError> {
    let failed = |what| move |errno: nix::errno::Errno| ImageError::at(what, Path::new("/"))(errno.into());
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).map_err(failed("have own mounts at"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(failed("make private"))
}

fn mount_image(image: &Path, at: &Path) -> Result<(), ImageError> {
    let file = File::open(image).map_err(ImageError::at("open", image))?;
    let device = Device::of(&file).map_err(ImageError::at(DEVICE, image))?;
    mount(Some(&device.path), at, Some("squashfs"), MsFlags::MS_RDONLY | HARMLESS, None::<&str>)
        .map_err(|errno| ImageError::at(MOUNT, image)(errno.into()))
}

fn handle(path: &Path) -> Result<OwnedFd, ImageError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|errno| ImageError::at("open", path)(errno.into()))
}

/// Owner, mode and times of the root's directory, which are those of the upper layer's.
fn copy_attributes(from: &Path, to: &Path) -> Result<(), ImageError> {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let copy = || {
        let stat = fs::metadata(from)?;
        chown(to, Some(stat.uid()), Some(stat.gid()))?;
        fs::set_permissions(to, stat.permissions())?;
        File::open(to)?.set_modified(stat.modified()?)
    };
    copy().map_err(ImageError::at("make", to))
}

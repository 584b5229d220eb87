//! Images without root's privileges: a process of `squashfuse` serves each.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::{During, Failure, Stage};
use super::mounts;
use crate::host::FIXED_DIRS;

/// The kernel minds owners and modes, and others than who mounted it may look.
const OPTIONS: &str = "ro,default_permissions,allow_other";

/// What the kernel talks to such processes through.
pub(super) const DEVICE: &str = "/dev/fuse";

pub(super) const PROGRAM: &str = "squashfuse";

/// How often is looked whether it is mounted: it takes some milliseconds.
const TICK: Duration = Duration::from_millis(1);

/// As much of what the program says as is shown.
const SHOWN: usize = 500;

/// Mounts an image. The process is a child of this one, in its PID namespace and mount namespace, and ends with them.
pub(super) fn mount(image: &File, name: &Path, at: &Path) -> Result<(), Failure> {
    let operation = || format!("mount image {} by {PROGRAM}", name.display());
    File::options()
        .read(true)
        .write(true)
        .open(DEVICE)
        .during(Stage::FuseDevice, || format!("open {DEVICE}"))?;
    // A file, as nobody reads a pipe later on, when it may have more to say.
    let said = memfd_create(c"squashfuse", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from);
    let mut said = said.map(File::from).during(Stage::Other, || "create a file in memory".to_owned())?;
    let (stdin, stderr) =
        image.try_clone().and_then(|image| Ok((image, said.try_clone()?))).during(Stage::Other, operation)?;
    let mut child = Command::new(PROGRAM)
        .args(["-f", "-o", OPTIONS])
        // The image's name may be hidden by now.
        .args([OsStr::new("/proc/self/fd/0"), at.as_os_str()])
        .env_clear()
        .envs([("PATH", &*FIXED_DIRS.join(":")), ("LC_ALL", "C")])
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .during(Stage::Squashfuse, operation)?;
    while !is_mounted(at)? {
        if let Some(status) = child.try_wait().during(Stage::Other, operation)? {
            let mut reason = String::new();
            let _ = said.rewind().and_then(|()| said.read_to_string(&mut reason));
            let reason: String = reason.trim().chars().take(SHOWN).collect();
            let reason = format!("{reason} ({status})");
            return Err(Failure::Refused { stage: Stage::Damaged, operation: operation(), reason });
        }
        thread::sleep(TICK);
    }
    // Answers when the process does.
    fs::metadata(at).map(drop).during(Stage::Damaged, operation)
}

fn is_mounted(at: &Path) -> Result<bool, Failure> {
    let text =
        fs::read("/proc/self/mountinfo").during(Stage::Proc, || "read /proc/self/mountinfo".to_owned())?;
    Ok(mounts::parse(&text).any(|mounted| mounted.path == at))
}

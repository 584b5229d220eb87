//! Images without root's privileges: a `squashfuse` process serves each.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::failure::{During, Failure, SetupPart};
use super::mounts;
use crate::host::FIXED_DIRS;

/// The kernel checks owners and modes, and other users than the one who mounted may look.
const OPTIONS: &str = "ro,default_permissions,allow_other";

/// The device through which such processes talk to the kernel.
pub(super) const DEVICE: &str = "/dev/fuse";

pub(super) const PROGRAM: &str = "squashfuse";

/// The interval of checks whether it is mounted, which takes some milliseconds.
const TICK: Duration = Duration::from_millis(1);

/// How much of the program's output an error shows, in bytes.
const SHOWN: usize = 500;

/// Mounts an image. The process is a child in the same PID and mount namespaces, and ends with them.
pub(super) fn mount(image: &File, name: &Path, at: &Path) -> Result<(), Failure> {
    let operation = || format!("mount image {} by {PROGRAM}", name.display());
    File::options()
        .read(true)
        .write(true)
        .open(DEVICE)
        .during(SetupPart::FuseDevice, || format!("open {DEVICE}"))?;
    // A file, not a pipe: nobody reads the output later on.
    let said = memfd_create(c"squashfuse", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from);
    let mut said = said.map(File::from).during(SetupPart::Other, || "create a file in memory".to_owned())?;
    let (stdin, stderr) = image
        .try_clone()
        .and_then(|image| Ok((image, said.try_clone()?)))
        .during(SetupPart::Other, operation)?;
    let mut child = Command::new(PROGRAM)
        .args(["-f", "-o", OPTIONS])
        // The path of the image may be hidden by now.
        .args([OsStr::new("/proc/self/fd/0"), at.as_os_str()])
        .env_clear()
        .envs([("PATH", &*FIXED_DIRS.join(":")), ("LC_ALL", "C")])
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .during(SetupPart::Squashfuse, operation)?;
    while !is_mounted(at)? {
        if let Some(status) = child.try_wait().during(SetupPart::Other, operation)? {
            let mut reason = String::new();
            let _ = said.rewind().and_then(|()| said.read_to_string(&mut reason));
            let reason: String = reason.trim().chars().take(SHOWN).collect();
            let reason = format!("{reason} ({status})");
            return Err(Failure::Refused { part: SetupPart::Damaged, operation: operation(), reason });
        }
        thread::sleep(TICK);
    }
    // This is answered when the process is ready.
    fs::metadata(at).map(drop).during(SetupPart::Damaged, operation)
}

fn is_mounted(at: &Path) -> Result<bool, Failure> {
    let text = fs::read("/proc/self/mountinfo")
        .during(SetupPart::Proc, || "read /proc/self/mountinfo".to_owned())?;
    Ok(mounts::parse(&text).any(|mounted| mounted.path == at))
}

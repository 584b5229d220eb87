//! Tests whether this host can run sandboxes.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{End, HostFiles, Images, Mode, Output, Root, Sandbox, SandboxError, SandboxSpec, Shown, Step};
use crate::exec::host_files::files_of;
use crate::host::ToolIdentity;
use crate::source::FileDigests;

/// Small images with one file, in the forms of kiln's own images and of trees of ebuilds:
/// `mksquashfs DIR IMAGE -comp zstd -all-root -no-xattrs -no-exports`, and the same with `xz`.
const IMAGES: [&[u8]; 2] = [include_bytes!("probe.squashfs"), include_bytes!("probe-xz.squashfs")];

/// The kernel expects images to be a multiple of this size.
const BLOCK: usize = 4096;

/// What this host allows: an answer for `kiln doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Sandboxes work, with root's own privileges.
    Root,
    /// Sandboxes work, with user namespaces.
    UserNamespace,
    /// Sandboxes do not work.
    Unavailable {
        /// What fails.
        reason: String,
        /// How to fix it, where that is known.
        remedy: Option<String>,
    },
}

/// Runs `/bin/true` in a sandbox.
pub fn probe(sandbox: &Sandbox) -> Probe {
    attempt(sandbox, Vec::new(), &["/bin/true"])
}

/// Tests whether images work in sandboxes, by reading a file of a tree of two.
pub fn probe_images(sandbox: &Sandbox) -> Probe {
    let images: io::Result<Vec<_>> = IMAGES.iter().map(|image| written(image)).collect();
    let images = match images {
        Ok(images) => images,
        Err(error) => {
            return Probe::Unavailable { reason: format!("no image can be written: {error}"), remedy: None };
        }
    };
    let layers = images.iter().map(|image| image.path().to_owned()).collect();
    let shown = Shown { images: Images { layers, writable: None }, to: PathBuf::from("/kiln/root") };
    attempt(sandbox, vec![shown], &["/bin/cat", "/kiln/root/file"])
}

fn written(image: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    // It is not secret, and the helper may be another user.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile()?;
    let mut bytes = image.to_vec();
    bytes.resize(image.len().next_multiple_of(BLOCK), 0);
    file.write_all(&bytes)?;
    Ok(file)
}

fn attempt(sandbox: &Sandbox, shown: Vec<Shown>, argv: &[&str]) -> Probe {
    // The program, with what it needs and nothing else.
    let files = FileDigests::open(Path::new("/nonexistent"));
    let files = match ToolIdentity::resolve(argv[0], &[], &files) {
        Ok(tool) => files_of(&tool.closure),
        Err(error) => return Probe::Unavailable { reason: error.to_string(), remedy: None },
    };
    match run(sandbox, files, shown, argv) {
        Ok((Mode::Root, End::AllStepsPassed)) => Probe::Root,
        Ok((Mode::UserNamespace, End::AllStepsPassed)) => Probe::UserNamespace,
        Ok((_, end)) => {
            Probe::Unavailable { reason: format!("{} does not work: {end:?}", argv[0]), remedy: None }
        }
        Err(error) => {
            Probe::Unavailable { reason: error.to_string(), remedy: error.help().map(str::to_owned) }
        }
    }
}

fn run(
    sandbox: &Sandbox,
    files: HostFiles,
    shown: Vec<Shown>,
    argv: &[&str],
) -> Result<(Mode, End), SandboxError> {
    let argv = argv.iter().map(OsString::from).collect();
    let steps = vec![Step { argv, cwd: PathBuf::from("/") }];
    let mut running = sandbox.spawn(
        &SandboxSpec { root: Root::Host(files), shown, steps, ..SandboxSpec::default() },
        Output::Piped,
    )?;
    // Their output, and the content of the image, fit into the pipe.
    let exit = running.wait()?;
    Ok((running.mode(), exit.end))
}

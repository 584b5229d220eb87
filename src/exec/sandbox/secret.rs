//! Puts secret files into a sandbox.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};

use super::failure::{During, Failure, SetupPart};
use super::identity::id_on_host;
use super::mount_points::directory;
use super::secret_file::SecretFile;
use super::spec::RunAs;

/// Makes a secret file. `mapped`: whether steps have other ids on the host than in the sandbox.
pub(super) fn make(secret: &SecretFile, run_as: RunAs, mapped: bool) -> Result<(), Failure> {
    let path = secret.path();
    let operation = || format!("create {}", path.display());
    if let Some(parent) = path.parent() {
        directory(parent)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path);
    file.and_then(|mut file| file.write_all(secret.content())).during(SetupPart::Other, operation)?;
    match run_as {
        // Files made here belong to user 0 of the sandbox.
        RunAs::Stripped | RunAs::Installer => Ok(()),
        RunAs::User { id } => {
            let owner = if mapped { id_on_host(run_as) } else { id };
            chown(path, Some(owner), Some(owner)).during(SetupPart::Other, operation)
        }
    }
}

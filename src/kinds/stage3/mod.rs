//! Kind `Stage3`: the locked build of a stage3, as an image.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::mirrors::{self, LockedDir, ProjectLock, keyring, not_locked};
use crate::exec::{BuiltinAction, BuiltinResult, BuiltinRun};
use crate::gentoo::download;
use crate::gentoo::image::{FromTarError, ImageWriter, Limits};
use crate::gentoo::lock::LockedStage3;
use crate::gentoo::names::Stage3;
use crate::graph::Action;
use crate::plan::{PlanError, Projected};
use crate::spec::model::Spec;

/// The output.
const IMAGE: &str = "image";

/// Makes stage3 images.
pub(super) struct Stage3s<'a> {
    pub spec: &'a Spec,
    pub lock: Arc<ProjectLock<'a>>,
}

impl Stage3s<'_> {
    /// The key projection: the content of the locked build, whichever mirror it comes from.
    pub(super) fn projection(&self, action: &Action) -> Result<Projected, PlanError> {
        let (_, locked) = self.locked(action).map_err(|message| not_locked(action, message))?;
        let fields = vec![
            ("size".to_owned(), locked.size.to_string()),
            ("blake2b".to_owned(), locked.digests.blake2b()),
            ("sha512".to_owned(), locked.digests.sha512()),
        ];
        Ok(Projected { fields, ..Projected::default() })
    }

    /// The stage3 of a node and its locked build, or a message that says how to lock one.
    fn locked(&self, action: &Action) -> Result<(Stage3, &LockedStage3), String> {
        let name = action.bindings.text_of("root.stage3");
        let stage3 = Stage3::named(&name).map_err(|error| error.to_string())?;
        let locked = self.lock.stage3(&stage3)?;
        Ok((stage3, locked))
    }

    fn image(&self, making: &BuiltinRun<'_>) -> Result<(), BuiltinResult> {
        let (stage3, locked) = self.locked(making.action).map_err(BuiltinResult::infra)?;
        let dir = making.home.join("gentoo/stage3").join(stage3.name());
        let held = LockedDir::take(&dir, making)?;
        let name = format!("{}-{}.tar.xz", locked.date, &locked.digests.blake2b()[..16]);
        held.remove_except(&name)
            .map_err(|error| BuiltinResult::infra(format!("{}: {error}", dir.display())))?;
        let tarball = dir.join(name);
        let image = self.download(&stage3, locked, &tarball, making)?;
        let contents = image.finish().map_err(|error| match error {
            // The archive has the signed digests: another download would fail alike.
            FromTarError::Archive(error) => {
                BuiltinResult::failed(format!("the tarball of {stage3}: {error}"))
            }
            FromTarError::Image(error) => BuiltinResult::infra(error),
        })?;
        making.log(&format!("{} entries, {} bytes", contents.entries, contents.bytes));
        // The image replaces it.
        let _ = fs::remove_file(&tarball);
        Ok(())
    }

    /// Downloads the tarball and verifies digests and signature. Writes the image during the download; it is discarded if the
    /// verification fails.
    fn download(
        &self,
        stage3: &Stage3,
        locked: &LockedStage3,
        to: &Path,
        making: &BuiltinRun<'_>,
    ) -> Result<ImageWriter, BuiltinResult> {
        let Some(gentoo) = &self.spec.project.gentoo else {
            unreachable!("a root is of a project that says where stage3s come from")
        };
        let keys = keyring(&self.spec.root, &gentoo.signed_by).map_err(BuiltinResult::infra)?;
        let mirrors = mirrors::mirrors(gentoo).map_err(BuiltinResult::infra)?;
        let path = locked.path(stage3);
        let mut watch = mirrors::progress(making, &path, to, Some(locked.size));
        let image = making.out(IMAGE)?;
        let start = || ImageWriter::start(image.clone(), Limits::default(), making.cores);
        let got = download::stage3(&mirrors, stage3, locked, &keys, to, SystemTime::now(), start, &mut watch);
        let (signer, image) = got.map_err(|error| mirrors::failure(&error, making))?;
        making.log(&format!("{path} is signed by {}", signer.primary));
        Ok(image)
    }
}

impl BuiltinAction for Stage3s<'_> {
    fn run(&self, making: &BuiltinRun<'_>) -> BuiltinResult {
        self.image(making).map_or_else(|made| made, |()| BuiltinResult::passed(None))
    }
}

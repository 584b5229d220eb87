//! Kind `Stage3`: the build of a stage3 that is locked, as an image.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::coming;
use super::held::Held;
use super::locked::{ProjectLock, lacking};
use super::mirrors::{keyring, mirrors};
use crate::exec::{Made, Make, Making};
use crate::gentoo::image::{Fed, FromTarError, Limits};
use crate::gentoo::lock::Locked;
use crate::gentoo::names::Stage3;
use crate::gentoo::obtain;
use crate::graph::Action;
use crate::plan::{PlanError, Projected};
use crate::spec::model::Spec;

/// The output.
const IMAGE: &str = "image";

/// Stage3s as images.
pub(super) struct Stage3s<'a> {
    pub spec: &'a Spec,
    pub lock: Arc<ProjectLock<'a>>,
}

impl Stage3s<'_> {
    /// What such a node depends on: the content of the build that is locked, wherever it comes from.
    pub(super) fn projection(&self, action: &Action) -> Result<Projected, PlanError> {
        let (_, locked) = self.locked(action).map_err(|message| lacking(action, message))?;
        let fields = vec![
            ("size".to_owned(), locked.size.to_string()),
            ("blake2b".to_owned(), locked.digests.blake2b()),
            ("sha512".to_owned(), locked.digests.sha512()),
        ];
        Ok(Projected { fields, ..Projected::default() })
    }

    /// The stage3 of a node, and the build of it that is locked; or what is missing, and what to do.
    fn locked(&self, action: &Action) -> Result<(Stage3, &Locked), String> {
        let name = action.bindings.text_of("root.stage3");
        let stage3 = Stage3::named(&name).map_err(|error| error.to_string())?;
        let locked = self.lock.stage3(&stage3)?;
        Ok((stage3, locked))
    }

    fn image(&self, making: &Making<'_>) -> Result<(), Made> {
        let (stage3, locked) = self.locked(making.action).map_err(Made::infra)?;
        let dir = making.home.join("gentoo/stage3").join(stage3.name());
        let held = Held::take(&dir, making)?;
        let name = format!("{}-{}.tar.xz", locked.date, &locked.digests.blake2b()[..16]);
        held.forget_others(&name).map_err(|error| Made::infra(format!("{}: {error}", dir.display())))?;
        let tarball = dir.join(name);
        let image = self.download(&stage3, locked, &tarball, making)?;
        let contents = image.finish().map_err(|error| match error {
            // It is what was signed, and would be the same the next time.
            FromTarError::Archive(error) => Made::failed(format!("the tarball of {stage3}: {error}")),
            FromTarError::Image(error) => Made::infra(error),
        })?;
        making.log(&format!("{} entries, {} bytes", contents.entries, contents.bytes));
        // The image has all of it.
        let _ = fs::remove_file(&tarball);
        Ok(())
    }

    /// Gets the tarball, with the digests that are locked and a signature that counts. The image is made of it meanwhile,
    /// and is not used where one of them is wrong.
    fn download(
        &self,
        stage3: &Stage3,
        locked: &Locked,
        to: &Path,
        making: &Making<'_>,
    ) -> Result<Fed, Made> {
        let Some(gentoo) = &self.spec.project.gentoo else {
            unreachable!("a root is of a project that says where stage3s come from")
        };
        let gentoo = &gentoo.value;
        let keys = keyring(&self.spec.root, &gentoo.signed_by).map_err(Made::infra)?;
        let mirrors = mirrors(gentoo).map_err(Made::infra)?;
        let path = locked.path(stage3);
        let mut watch = coming::watch(making, &path, to, Some(locked.size));
        let image = making.out(IMAGE)?;
        let start = || Fed::start(image.clone(), Limits::default(), making.cores);
        let got = obtain::tarball(&mirrors, stage3, locked, &keys, to, SystemTime::now(), start, &mut watch);
        let (signer, image) = got.map_err(|error| coming::failed(&error, making))?;
        making.log(&format!("{path} is signed by {}", signer.primary));
        Ok(image)
    }
}

impl Make for Stage3s<'_> {
    fn make(&self, making: &Making<'_>) -> Made {
        self.image(making).map_or_else(|made| made, |()| Made::passed(None))
    }
}

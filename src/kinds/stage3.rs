//! Kind `Stage3`: the build of a stage3 that is locked, as an image.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use super::held::{Held, LOCK};
use super::mirrors::{keyring, mirrors};
use crate::exec::{Made, Make, Making};
use crate::gentoo::fetch::{self, FetchError};
use crate::gentoo::image::{Fed, FromTarError, Limits};
use crate::gentoo::lock::{Lock, Locked};
use crate::gentoo::lock_file;
use crate::gentoo::names::Stage3;
use crate::gentoo::obtain::{self, ObtainError};
use crate::graph::Action;
use crate::plan::{PlanError, Projected};
use crate::spec::model::Spec;

/// The output.
const IMAGE: &str = "image";

/// Stage3s as images.
pub(super) struct Stage3s<'a> {
    spec: &'a Spec,
    /// What is locked: read once, as a run must not see two states of it.
    lock: OnceLock<Result<Lock, String>>,
}

impl<'a> Stage3s<'a> {
    pub(super) const fn new(spec: &'a Spec) -> Self {
        Self { spec, lock: OnceLock::new() }
    }

    /// What such a node depends on: the content of the build that is locked, wherever it comes from.
    pub(super) fn projection(&self, action: &Action) -> Result<Projected, PlanError> {
        let (_, locked) = self.locked(action).map_err(|message| PlanError::Lacking {
            node: format!("{}:{}", action.rule.name, action.bindings.text_of("root")),
            message,
        })?;
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
        let lock =
            self.lock.get_or_init(|| lock_file::read(&self.spec.root).map_err(|error| error.to_string()));
        let lock = lock.as_ref().map_err(Clone::clone)?;
        let locked = lock.get(&stage3);
        let locked = locked.ok_or_else(|| {
            format!("no build of the stage3 {name} is locked: `kiln update {name}` asks the mirrors for the latest")
        })?;
        Ok((stage3, locked))
    }

    fn image(&self, making: &Making<'_>) -> Result<(), Made> {
        let (stage3, locked) = self.locked(making.action).map_err(Made::infra)?;
        let dir = making.home.join("gentoo/stage3").join(stage3.name());
        let _held = Held::take(&dir, making)?;
        let name = format!("{}-{}.tar.xz", locked.date, &locked.digests.blake2b()[..16]);
        forget_others(&dir, &name).map_err(|error| Made::infra(format!("{}: {error}", dir.display())))?;
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
        let told = making.fetching(locked.size);
        let mut here = fetch::is_here(to).min(locked.size);
        told.is_here(here);
        let mut mirror = String::new();
        let mut watch = |progress: fetch::Progress<'_>| {
            if mirror != progress.mirror {
                progress.mirror.clone_into(&mut mirror);
                making.log(&format!("getting {} from {mirror}", locked.path(stage3)));
            }
            match progress.done.checked_sub(here) {
                Some(more) => told.came(more),
                // Another mirror began anew.
                None => told.again(here - progress.done),
            }
            here = progress.done;
            if making.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let image = making.out(IMAGE)?;
        let start = || Fed::start(image.clone(), Limits::default(), making.cores);
        let got = obtain::tarball(&mirrors, stage3, locked, &keys, to, SystemTime::now(), start, &mut watch);
        let (signer, image) = got.map_err(|error| match error {
            _ if making.is_cancelled() => Made::CANCELLED,
            ObtainError::Fetch { source: FetchError::Mirrors { .. }, .. } => {
                Made::infra(format!("{error}; another mirror in `gentoo` may have it"))
            }
            ObtainError::Fetch { source: FetchError::Local { ref source, .. }, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Made::infra(format!("{error}; make room there, and run it again"))
            }
            ObtainError::Fetch { .. } | ObtainError::Signature { .. } => Made::infra(error),
        })?;
        making.log(&format!("{} is signed by {}", locked.path(stage3), signer.primary));
        Ok(image)
    }
}

impl Make for Stage3s<'_> {
    fn make(&self, making: &Making<'_>) -> Made {
        self.image(making).map_or_else(|made| made, |()| Made::passed(None))
    }
}

/// Removes what earlier runs left of other builds.
fn forget_others(dir: &Path, name: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let other = entry.file_name();
        if other != LOCK && !other.to_string_lossy().starts_with(name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

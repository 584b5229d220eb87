//! The records that kbuild keeps, for those who have to know what a build read.

use std::path::Path;

use crate::exec::{Recorded, Records};
use crate::kernel::kbuild;

/// kbuild's records.
pub(super) struct Kbuild;

impl Records for Kbuild {
    fn read(&self, out: &Path, inside: &Path, tree: &Path) -> Result<Recorded, String> {
        let records = kbuild::records(out, inside, tree).map_err(|error| error.to_string())?;
        match records.unreadable.first() {
            None => Ok(Recorded {
                files: records.files.into_iter().collect(),
                dirs: records.dirs.into_iter().collect(),
            }),
            Some((record, why)) => Err(format!("{}: {why}", record.display())),
        }
    }

    fn follows(&self, path: &[u8]) -> bool {
        kbuild::follows(path)
    }
}

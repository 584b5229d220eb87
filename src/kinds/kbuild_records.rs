//! Adapts kbuild's dependency records to the executor's input discovery.

use std::collections::BTreeSet;
use std::path::Path;

use crate::exec::{BuildRecords, FileUse, FileUses, RecordedReads};
use crate::kernel::kbuild;

/// Reads kbuild's records.
pub(super) struct KbuildRecords;

impl BuildRecords for KbuildRecords {
    fn read(&self, out: &Path, inside: &Path, tree: &Path) -> Result<RecordedReads, String> {
        let records = kbuild::records(out, inside, tree).map_err(|error| error.to_string())?;
        if let Some((record, why)) = records.unreadable.first() {
            return Err(format!("{}: {why}", record.display()));
        }
        let cover = kbuild::cover(&records, out, inside, tree).map_err(|error| error.to_string())?;
        if let Some(name) =
            records.unplaced.iter().find(|name| !cover.trees.iter().any(|tree| is_below(name, tree)))
        {
            return Err(format!("a record does not tell which file {} is", String::from_utf8_lossy(name)));
        }
        let kbuild::Cover { files, dirs, trees } = cover;
        let list = |paths: BTreeSet<Vec<u8>>| paths.into_iter().collect();
        Ok(RecordedReads { files: list(files), dirs: list(dirs), trees: list(trees) })
    }

    fn uses(&self, out: &Path, inside: &Path, tree: &Path) -> Result<FileUses, String> {
        let records = kbuild::records(out, inside, tree).map_err(|error| error.to_string())?;
        if let Some((record, why)) = records.unreadable.first() {
            return Err(format!("{}: {why}", record.display()));
        }
        Ok(Box::new(move |path| match records.used_for(path) {
            kbuild::Use::Compiled => FileUse::Compiled,
            kbuild::Use::Program => FileUse::Program,
            kbuild::Use::Makefile => FileUse::Makefile,
            kbuild::Use::Other => FileUse::Other,
        }))
    }

    fn stateful(&self, out: &Path) -> Result<Option<String>, String> {
        let setting =
            kbuild::stateful(out).map_err(|error| format!("its settings can't be read: {error}"))?;
        Ok(setting.map(|(setting, what)| format!("{setting} {what}")))
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.first() == Some(&b'/'))
}

//! Where a result came from.

use rusqlite::Row;

/// Where a result came from. Only a result of this machine may be signed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An action that ran here.
    Local,
    /// A remote or an imported bundle, by name.
    Remote(String),
}

impl Origin {
    /// The column `remote`.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Local => None,
            Self::Remote(name) => Some(name),
        }
    }

    pub(super) fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        let remote: Option<String> = row.get(column)?;
        Ok(remote.map_or(Self::Local, Self::Remote))
    }
}

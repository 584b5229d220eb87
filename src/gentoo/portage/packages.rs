//! `Packages`: the index of a directory or server of binary packages.
//!
//! ```text
//! ARCH: amd64
//! PACKAGES: 2
//! VERSION: 0
//!
//! BUILD_ID: 1
//! CPV: sys-devel/bc-1.07.1-r6
//! MD5: ...
//! PATH: sys-devel/bc/bc-1.07.1-r6-1.gpkg.tar
//! SIZE: 20480
//! ```
//!
//! The index is unsigned and its digests are weak, so it only serves to find packages. A package's content is verified by
//! its own manifest.

use std::collections::BTreeMap;

/// The largest index that is read, in bytes.
pub const MAX_INDEX: usize = 64 << 20;

/// Fields that a package inherits from the index header, with their defaults: from Portage's `bintree`.
const DEFAULTS: [(&str, &str); 3] = [("SLOT", "0"), ("USE", ""), ("BUILD_ID", "")];

/// What a package was built for. It fits a root with the same values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Category, name and version.
    pub cpv: String,
    /// Gentoo's name of the architecture.
    pub arch: String,
    /// The machine triple. Empty: not in the index.
    pub chost: String,
    /// Its USE flags, sorted.
    pub uses: Vec<String>,
    /// The profile. Empty: not in the index.
    pub profile: String,
    /// The repository of its ebuild.
    pub repo: String,
}

/// A package in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What it was built for.
    pub identity: Identity,
    /// The number of the build of this version.
    pub build: String,
    /// The path of its file, relative to the index.
    pub path: String,
    /// The file's size in bytes.
    pub size: u64,
}

/// A malformed index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the index of packages can't be read: line {line}: {problem}")]
pub struct IndexError {
    /// The line, from 1.
    pub line: usize,
    /// The problem.
    pub problem: &'static str,
}

/// Parses an index.
pub fn parse(text: &str) -> Result<Vec<Package>, IndexError> {
    if text.len() > MAX_INDEX {
        return Err(IndexError { line: 1, problem: "it is larger than any is" });
    }
    let mut stanzas = Vec::new();
    let (mut fields, mut start) = (BTreeMap::new(), 1);
    for (number, line) in (1..).zip(text.lines().chain([""])) {
        if line.is_empty() {
            if !fields.is_empty() {
                stanzas.push((start, std::mem::take(&mut fields)));
            }
            start = number + 1;
            continue;
        }
        let (key, value) =
            line.split_once(':').ok_or(IndexError { line: number, problem: "there is no colon in it" })?;
        if fields.insert(key, value.trim()).is_some() {
            return Err(IndexError { line: number, problem: "the field is there twice" });
        }
    }
    let mut stanzas = stanzas.into_iter();
    let Some((_, header)) = stanzas.next() else { return Ok(Vec::new()) };
    stanzas.map(|(line, fields)| package(&header, &fields, line)).collect()
}

fn package(
    header: &BTreeMap<&str, &str>,
    fields: &BTreeMap<&str, &str>,
    line: usize,
) -> Result<Package, IndexError> {
    let own = |key: &str| fields.get(key).copied();
    let needed = |key: &str, problem| own(key).ok_or(IndexError { line, problem });
    let or_default = |key: &str| {
        let default = DEFAULTS.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value);
        own(key).or_else(|| header.get(key).copied()).unwrap_or(default).to_owned()
    };
    let cpv = needed("CPV", "the package has no name (CPV)")?;
    let path = own("PATH").map_or_else(|| format!("{cpv}.tbz2"), str::to_owned);
    let is_inside = !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_inside {
        return Err(IndexError { line, problem: "the package's file is not below the index" });
    }
    let size = needed("SIZE", "the package has no size")?.parse();
    let size = size.map_err(|_| IndexError { line, problem: "the package's size is no number" })?;
    // The header's USE is that of the host that wrote the index, not of any package.
    let mut uses: Vec<_> = own("USE").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    uses.sort();
    uses.dedup();
    let identity = Identity {
        cpv: cpv.to_owned(),
        arch: or_default("ARCH"),
        chost: or_default("CHOST"),
        uses,
        profile: or_default("PROFILE"),
        repo: or_default("REPO"),
    };
    Ok(Package { identity, build: or_default("BUILD_ID"), path, size })
}

impl Identity {
    /// The first difference to the wanted identity, if any. Empty fields match anything.
    pub fn differs(&self, wanted: &Self) -> Option<String> {
        let texts = [
            ("version", &self.cpv, &wanted.cpv),
            ("ARCH", &self.arch, &wanted.arch),
            ("CHOST", &self.chost, &wanted.chost),
            ("profile", &self.profile, &wanted.profile),
            ("repository", &self.repo, &wanted.repo),
        ];
        let said = |(_, ours, theirs): &(_, &String, &String)| !ours.is_empty() && !theirs.is_empty();
        if let Some((what, ours, theirs)) =
            texts.into_iter().filter(said).find(|(_, ours, theirs)| ours != theirs)
        {
            return Some(format!("its {what} is {ours}, and {theirs} is wanted"));
        }
        (self.uses != wanted.uses).then(|| {
            format!("its USE is \"{}\", and \"{}\" is wanted", self.uses.join(" "), wanted.uses.join(" "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "ARCH: amd64\nCHOST: x86_64-pc-linux-gnu\nPACKAGES: 2\nREPO: gentoo\nTIMESTAMP: 1\nUSE: host flags\nVERSION: 0\n\n\
        BUILD_ID: 1\nCPV: sys-devel/bc-1.07.1-r6\nMD5: x\nPATH: sys-devel/bc/bc-1.07.1-r6-1.gpkg.tar\nSIZE: 20480\n\
        USE: elibc_glibc amd64\n\n\
        CHOST: i686-pc-linux-gnu\nCPV: virtual/libelf-3-r1\nPATH: virtual/libelf/libelf-3-r1-2.gpkg.tar\nREPO: local\nSIZE: 10\n";

    #[test]
    fn packages_inherit_header_fields() {
        let packages = parse(INDEX).unwrap();
        assert_eq!(packages.len(), 2);
        let bc = &packages[0];
        assert_eq!((&*bc.build, bc.size, &*bc.path), ("1", 20480, "sys-devel/bc/bc-1.07.1-r6-1.gpkg.tar"));
        assert_eq!(
            (&*bc.identity.arch, &*bc.identity.chost, &*bc.identity.repo),
            ("amd64", "x86_64-pc-linux-gnu", "gentoo")
        );
        assert_eq!(bc.identity.uses, ["amd64", "elibc_glibc"]);
        let libelf = &packages[1].identity;
        assert_eq!((&*libelf.chost, &*libelf.repo, libelf.uses.len()), ("i686-pc-linux-gnu", "local", 0));
    }

    #[test]
    fn a_mismatch_names_the_difference() {
        let wanted = parse(INDEX).unwrap()[0].identity.clone();
        assert_eq!(wanted.differs(&wanted), None);
        let other = |change: &dyn Fn(&mut Identity)| {
            let mut other = wanted.clone();
            change(&mut other);
            other.differs(&wanted).unwrap_or_default()
        };
        assert!(
            other(&|identity| identity.chost = "aarch64-unknown-linux-gnu".to_owned())
                .contains("CHOST is aarch64")
        );
        assert!(other(&|identity| identity.arch = "x86".to_owned()).contains("ARCH"));
        assert!(
            other(&|identity| identity.uses.push("static".to_owned())).contains("amd64 elibc_glibc static")
        );
        assert!(other(&|identity| identity.cpv = "sys-devel/bc-1".to_owned()).contains("version"));
        assert_eq!(other(&|identity| identity.profile = "default/linux".to_owned()), "");
    }

    #[test]
    fn a_malformed_index_names_the_line() {
        let cases = [
            (INDEX.replace("CPV: sys-devel", "CPX: sys-devel"), 9),
            (INDEX.replace("SIZE: 20480", "SIZE: many"), 9),
            (INDEX.replace("PATH: sys-devel", "PATH: ../sys-devel"), 9),
            (INDEX.replace("PATH: virtual", "PATH: /virtual"), 16),
            (INDEX.replace("MD5: x", "nonsense"), 11),
            (INDEX.replace("MD5: x", "SIZE: 1\nMD5: x"), 14),
        ];
        for (text, line) in cases {
            assert_eq!(parse(&text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(parse("").unwrap(), []);
    }
}

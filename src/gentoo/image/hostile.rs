//! Archives and trees for tests: hostile ones, and one of everything.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::EntryType;

/// An archive with one entry after another; names go in as they are, as the hostile ones must.
pub(super) struct Archive(Vec<u8>);

impl Archive {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    fn entry(self, kind: EntryType, name: &str, target: &str, content: &[u8]) -> Self {
        self.sized(kind, name, target, content, content.len() as u64)
    }

    fn sized(mut self, kind: EntryType, name: &str, target: &str, content: &[u8], size: u64) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let (major, minor) = target.split_once(' ').unwrap();
            header.as_old_mut().linkname.fill(0);
            header.set_device_major(major.parse().unwrap()).unwrap();
            header.set_device_minor(minor.parse().unwrap()).unwrap();
        }
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content)
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    fn pax(self, fields: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in fields {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            content.extend(format!("{length} {key}=").as_bytes());
            content.extend(*value);
            content.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", "", &content)
    }

    /// A file that says to be of one size, and is of another.
    pub(super) fn huge(size: u64, there: usize) -> Vec<u8> {
        let mut bytes = Self::new().sized(EntryType::Regular, "zeros", "", b"", size).0;
        bytes.resize(bytes.len() + there, 0);
        bytes
    }

    pub(super) fn bytes(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// Archives that mean harm or are damaged, each with what is said of it.
pub(super) fn hostile() -> Vec<(&'static str, Archive)> {
    let outside = "../outside";
    let huge = "8589934591";
    vec![
        ("leads out of the root (..)", Archive::new().file("../evil", b"x")),
        ("leads out of the root (..)", Archive::new().dir("a").file("a/../../evil", b"x")),
        ("absolute", Archive::new().file("/tmp/kiln-evil", b"x")),
        ("absolute", Archive::new().pax(&[("path", b"/tmp/kiln-evil")]).file("harmless", b"x")),
        (
            "(..)",
            Archive::new().entry(EntryType::GNULongName, "n", "", b"a/../../evil\0").file("harmless", b"x"),
        ),
        (
            "passes through something that is no directory",
            Archive::new().link("d", outside).file("d/evil", b"x"),
        ),
        ("passes through something that is no directory", Archive::new().link("d", outside).dir("d/evil")),
        (
            "passes through something that is no directory",
            Archive::new().link("d", ".").link("d/e", outside).file("d/e/evil", b"x"),
        ),
        (
            "passes through something that is no directory",
            Archive::new().dir("a").link("a/d", "../../outside").file("a/d/b/evil", b"x"),
        ),
        (
            "passes through something that is no directory",
            Archive::new().dir("in").link("d", "in").file("d/x", b"x"),
        ),
        ("there twice", Archive::new().link("d", outside).dir("d")),
        ("leads out of the root (..)", Archive::new().hard("h", "../secret")),
        ("absolute", Archive::new().hard("h", "/etc/passwd")),
        ("is not there", Archive::new().link("d", "..").hard("h", "d/secret")),
        ("is not there", Archive::new().hard("h", "nothing")),
        ("to a directory", Archive::new().dir("d").hard("h", "d")),
        ("to what is not there", Archive::new().hard("h", ".")),
        ("there twice", Archive::new().dir("d").file("d/x", b"x").file("d", b"x")),
        ("takes the place of the root", Archive::new().link(".", outside)),
        ("no directory", Archive::new().file("f", b"x").file("f/evil", b"x")),
        ("is cut off", Archive::new().sized(EntryType::Regular, "f", "", b"x", 5000)),
        ("too large", Archive::new().sized(EntryType::Regular, "f", "", b"x", 1 << 40)),
        ("two sizes", Archive::new().pax(&[("size", huge.as_bytes())]).file("f", b"x")),
        ("two sizes", Archive::new().pax(&[("size", b"0")]).file("f", b"x")),
        ("content where none belongs", Archive::new().entry(EntryType::Symlink, "l", "t", b"x")),
        ("without bounds", Archive::new().sized(EntryType::XHeader, "pax", "", b"x", 1 << 33)),
        ("without bounds", Archive::new().sized(EntryType::GNULongName, "l", "", b"x", 1 << 33)),
        ("can't be read", Archive::new().entry(EntryType::XHeader, "pax", "", b"nonsense\n").file("f", b"")),
        ("number that is none", Archive::new().pax(&[("uid", b"-1")]).file("f", b"")),
        ("owner that none can be", Archive::new().pax(&[("uid", b"4294967295")]).file("f", b"")),
        ("time that is none", Archive::new().pax(&[("mtime", b"soon")]).file("f", b"")),
        ("sparse", Archive::new().pax(&[("GNU.sparse.major", b"1")]).file("f", b"")),
        ("attributes in a form", Archive::new().pax(&[("LIBARCHIVE.xattr.user.a", b"YQ==")]).file("f", b"")),
        (
            "header for all entries",
            Archive::new().entry(EntryType::XGlobalHeader, "g", "", b"10 path=x\n").file("f", b""),
        ),
        ("sparse", Archive::new().entry(EntryType::GNUSparse, "f", "", b"")),
        ("unknown kind", Archive::new().entry(EntryType::new(b'V'), "label", "", b"")),
        ("byte that no name can have", Archive::new().pax(&[("path", b"a\0b")]).file("f", b"")),
        ("name that is too long", Archive::new().pax(&[("path", &[b'a'; 300])]).file("f", b"")),
        ("name that is too long", Archive::new().pax(&[("path", &[b'/'; 5000])]).file("f", b"")),
        ("steer an overlay", Archive::new().pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/")]).dir("d")),
        ("steer an overlay", Archive::new().pax(&[("SCHILY.xattr.user.overlay.opaque", b"y")]).dir("d")),
        ("whiteout", Archive::new().entry(EntryType::Char, "w", "0 0", b"")),
    ]
}

/// All that counts of a tree, by path, with times to the nanosecond or to the second.
pub(super) fn described(root: &Path, seconds: bool) -> BTreeMap<PathBuf, String> {
    let (mut all, mut waiting, mut links) = (BTreeMap::new(), vec![PathBuf::new()], BTreeMap::new());
    while let Some(relative) = waiting.pop() {
        let path = root.join(&relative);
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        let content = if kind.is_dir() {
            waiting
                .extend(fs::read_dir(&path).unwrap().map(|entry| relative.join(entry.unwrap().file_name())));
            String::new()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if kind.is_file() {
            crate::gentoo::digests::Hashing::of(File::open(&path).unwrap()).unwrap().0.blake2b()
        } else {
            format!("{} {} {}", kind.is_char_device(), kind.is_block_device(), stat.rdev())
        };
        let mut xattrs: Vec<_> = xattr::list(&path)
            .unwrap()
            .map(|name| (name.clone(), xattr::get(&path, name).unwrap()))
            .collect();
        xattrs.sort();
        let (mode, uid, gid, links_count) = (stat.mode(), stat.uid(), stat.gid(), stat.nlink());
        let times = if kind.is_symlink() {
            (0, 0)
        } else {
            (stat.mtime(), if seconds { 0 } else { stat.mtime_nsec() })
        };
        let text = format!("{mode:o} {uid}:{gid} {times:?} {content} {xattrs:?}");
        if !kind.is_dir() {
            links.entry(stat.ino()).or_insert_with(Vec::new).push((relative.clone(), links_count));
        }
        all.insert(relative, text);
    }
    for names in links.into_values() {
        let together: Vec<_> =
            names.iter().map(|(name, count)| format!("{} {count}", name.display())).collect();
        let mut together = together;
        together.sort();
        for (name, _) in &names {
            all.get_mut(name).unwrap().push_str(&together.join(","));
        }
    }
    all
}

/// A small root with one of everything. Takes root.
pub(super) fn make_root(root: &Path) {
    let script = r"
        set -e; mkdir -p usr/bin usr/lib var/empty dev etc; echo bin > usr/bin/a; chmod 4755 usr/bin/a
        ln usr/bin/a usr/lib/hard; ln -s ../bin/a usr/lib/soft; ln -s missing usr/dangling
        mknod dev/null c 1 3; chmod 666 dev/null; mknod dev/sda b 8 0; mknod dev/big c 300 70000; mkfifo dev/fifo
        chown 250:250 var/empty; chmod 2770 var/empty; chown -h 5:6 usr/lib/soft; chown 65534:65534 etc
        cp usr/bin/a usr/bin/ping; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin/ping
        setfattr -n user.note -v hello etc; mkdir -m 0 etc/closed; echo x > etc/closed/x; chmod 400 etc/closed/x
        chown 3000000000:70000 usr/bin/ping; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin/ping
        n=$(printf 'n%.0s' $(seq 200)); mkdir -p usr/$n/$n; echo long > usr/$n/$n/$n; ln usr/$n/$n/$n usr/$n/other
        printf x > 'usr/with space'; touch -d '2001-02-03 04:05:06.789012345' usr/bin/a usr var/empty etc usr/lib .
        chmod 711 .
    ";
    fs::create_dir(root).unwrap();
    assert!(Command::new("bash").args(["-c", script]).current_dir(root).status().unwrap().success());
    symlink("/etc/passwd", root.join("usr/absolute")).unwrap();
}

//! Finds what make reads because of a makefile.

/// A makefile of a directory.
pub(super) struct Makefile<'a> {
    pub(super) text: &'a [u8],
    pub(super) dir: &'a [u8],
}

/// Variables at the start of source paths, and whether each is the makefile's directory.
const ROOTS: [(&[u8], bool); 8] = [
    (b"$(srctree)/$(src)/", true),
    (b"$(srctree)/$(obj)/", true),
    (b"$(srctree)/", false),
    (b"$(abs_srctree)/", false),
    (b"$(src)/", true),
    (b"$(obj)/", true),
    (b"${srctree}/", false),
    (b"$(objtree)/", false),
];

/// Characters that end the literal part of a path.
const ENDS: &[u8] = b" \t\n\\$%*?[]{}()|;:,&<>=\"'`#";

impl Makefile<'_> {
    /// Whether make may enter subdirectories or include their makefiles because of it without a record.
    pub(super) fn enters_directories(&self) -> bool {
        self.lines().any(|line| {
            let line = line.trim_ascii_start();
            let included = line.strip_prefix(b"-").unwrap_or(line).strip_prefix(b"include");
            let is_elsewhere =
                |what: &[u8]| [&b"scripts/"[..], b"include/"].iter().any(|dir| what.starts_with(dir));
            match included.map(<[u8]>::trim_ascii) {
                Some(what) => !is_elsewhere(what.strip_prefix(b"$(srctree)/").unwrap_or(what)),
                None => enters(line) || contains(line, b"$(build)="),
            }
        })
    }

    /// The literal source paths that it names, which may contain `..`.
    pub(super) fn named(&self) -> Vec<Vec<u8>> {
        self.lines().flat_map(|line| self.named_in(line)).collect()
    }

    fn named_in(&self, line: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < line.len() {
            let rest = &line[at..];
            let Some((root, is_here)) = ROOTS.into_iter().find(|(root, _)| rest.starts_with(root)) else {
                at += 1;
                continue;
            };
            let path = &rest[root.len()..];
            let end = path.iter().position(|byte| ENDS.contains(byte)).unwrap_or(path.len());
            // The rest is unknown, so the directory counts.
            let is_cut = path.get(end).is_some_and(|byte| b"$%*?[".contains(byte));
            let known = &path[..end];
            let known = match known.iter().rposition(|&byte| byte == b'/') {
                Some(slash) if is_cut => &known[..slash],
                None if is_cut => &known[..0],
                _ => known,
            };
            // Include paths: headers that were found are in the records.
            let is_searched = line[..at].trim_ascii_end().ends_with(b"-I");
            if !is_searched && !known.is_empty() {
                found.push(if is_here { [self.dir, b"/", known].concat() } else { known.to_vec() });
            }
            at += root.len() + end;
        }
        found
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"))
    }
}

/// Whether it assigns directories, not flags for their files.
fn enters(line: &[u8]) -> bool {
    line.strip_prefix(b"subdir-")
        .is_some_and(|rest| !rest.starts_with(b"ccflags") && !rest.starts_with(b"asflags"))
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(text, wanted).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let found = Makefile { text: text.as_bytes(), dir: b"net/wireless" }.named();
        found.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn paths_of_the_source_are_told_as_far_as_they_are_known() {
        assert_eq!(named("x: $(wildcard $(srctree)/$(src)/certs/*.hex) FORCE"), ["net/wireless/certs"]);
        assert_eq!(
            named("$(obj)/a.h: $(src)/a.tbl $(srctree)/lib/b/c.txt"),
            ["net/wireless/a.h", "net/wireless/a.tbl", "lib/b/c.txt"]
        );
        assert_eq!(named("ccflags-y += -I$(srctree)/drivers/x -I $(src)/../y"), [""; 0]);
        assert_eq!(named("# $(srctree)/lib/a"), [""; 0]);
        assert_eq!(named("f := $(srctree)/$(CONFIG_X) $(src)/$(name).S"), [""; 0]);
    }

    #[test]
    fn makefiles_that_lead_below_are_told() {
        let enters = |text: &str| Makefile { text: text.as_bytes(), dir: b"a" }.enters_directories();
        for text in
            ["subdir-y += b", "subdir-$(CONFIG_X) := b", "include $(src)/b/Makefile", "-include $(X)/b.mk"]
        {
            assert!(enters(text), "{text}");
        }
        assert!(enters("\t$(Q)$(MAKE) $(build)=$(boot)/compressed all"));
        for text in [
            "obj-y += b/",
            "include $(srctree)/scripts/Makefile.lib",
            "# subdir-y",
            "subdir-ccflags-y += -DX",
            "-include include/config/x",
        ] {
            assert!(!enters(text), "{text}");
        }
    }
}

//! A root's toolchain, as the root reports it: the paths of its compiler and binutils, and the compiler's version.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;

/// The file that the step writes, with lines such as `version 13.2.1` and `program gcc /usr/bin/...`.
const FILE: &str = "about";

/// The largest file that is read, in bytes.
const MAX: u64 = 64 << 10;

/// Programs with the CHOST prefix come first: on Gentoo, the unprefixed names are links to them. Links are resolved inside
/// the root, where they have their meaning.
const SCRIPT: &str = r#"
chost=$(portageq envvar CHOST 2>/dev/null)
[ -n "$chost" ] || chost=$(gcc -dumpmachine) || exit
echo "chost $chost"
for name in gcc as ld ld.bfd ar nm objcopy objdump strip readelf ranlib; do
    file=$(command -v "$chost-$name" || command -v "$name") || continue
    echo "program $name $(readlink -f "$file")"
    [ "$name" != gcc ] || echo "version $("$file" -dumpfullversion -dumpversion)"
done
"#;

/// The parsed report, which becomes the output.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct ToolchainInfo {
    /// The root's machine triple: `aarch64-unknown-linux-gnu`.
    chost: String,
    /// The compiler's version.
    version: String,
    /// Program -> its path in the root, without links.
    programs: BTreeMap<String, String>,
}

/// The step that writes the report into a directory of the root.
pub(super) fn step(dir: &str) -> Vec<String> {
    let script = format!("exec >{dir}/{FILE}\n{SCRIPT}");
    ["sh", "-c", &script].map(str::to_owned).into()
}

/// The report as JSON.
pub(super) fn read(dir: &Path) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    let file = dir.join(FILE);
    File::open(&file)
        .and_then(|file| file.take(MAX).read_to_string(&mut text))
        .map_err(|error| format!("what the root tells of itself can't be read: {error}"))?;
    serde_json::to_vec_pretty(&parse(&text)?).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<ToolchainInfo, String> {
    let mut about = ToolchainInfo::default();
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["chost", chost] => chost.clone_into(&mut about.chost),
            ["version", version] => version.clone_into(&mut about.version),
            ["program", name, file] if needs_no_quoting(file) => {
                about.programs.insert(name.to_owned(), file.to_owned());
            }
            _ => return Err(format!("the root tells of itself what can't be read: {line:?}")),
        }
    }
    for needed in ["gcc", "as", "ld"] {
        if !about.programs.contains_key(needed) {
            return Err(format!("the root has no {needed}: it can't build anything"));
        }
    }
    Ok(about)
}

/// Whether a path needs no quoting in a shell script.
fn needs_no_quoting(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._".contains(&byte);
    path.starts_with('/') && path.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "chost x86_64-pc-linux-gnu\nprogram gcc /usr/bin/gcc-12\nversion 12.2.0\n\
        program as /usr/bin/as\nprogram ld /usr/bin/ld.bfd\n";

    #[test]
    fn a_report_is_parsed() {
        let about = parse(TEXT).unwrap();
        assert_eq!((&*about.chost, &*about.version), ("x86_64-pc-linux-gnu", "12.2.0"));
        assert_eq!(about.programs["ld"], "/usr/bin/ld.bfd");
    }

    #[test]
    fn paths_that_need_quoting_are_refused() {
        for file in ["relative", "/usr/bin/$(reboot)", "/usr/bin/a;b", "/a'b", ""] {
            let text = format!("{TEXT}program nm {file}\n");
            assert!(parse(&text).unwrap_err().contains("can't be read"), "{file}");
        }
        let without = TEXT.replace("program as /usr/bin/as\n", "");
        assert!(parse(&without).unwrap_err().contains("no as"));
    }
}

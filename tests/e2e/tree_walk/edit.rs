//! Edits of a tree: what they are, and which to make next.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::tree::{State, Thing, has_extension, long_ago, put, remove, set_time};
use crate::support::random::Random;

/// An edit. One that has nothing to work on does nothing, so that a walk can be shortened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// Writes a file, new or not.
    Write {
        path: String,
        text: String,
        time: Time,
    },
    Remove {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Chmod {
        path: String,
        executable: bool,
    },
    /// Puts a symbolic link in the place of whatever is there.
    Link {
        path: String,
        to: String,
    },
    /// A file goes, and a directory with a file in it comes.
    FileToDir {
        path: String,
    },
    /// The other way round.
    DirToFile {
        path: String,
    },
    /// Only the time changes.
    Touch {
        path: String,
        time: Time,
    },
    /// Back to the state after the step of that number, or to the beginning.
    Restore {
        step: Option<usize>,
        old_times: bool,
    },
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, text, time } => {
                let last = text.lines().last().unwrap_or_default();
                write!(f, "write {path} {time:?} ({} bytes, ending in {last:?})", text.len())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// The time a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Time {
    Now,
    /// Older than all that was built.
    Past,
    /// The one it had.
    Kept,
    /// Newer than anything that is built.
    Future,
}

impl Edit {
    /// Makes it. `states` are those after earlier steps.
    pub fn make(&self, root: &Path, states: &BTreeMap<Option<usize>, State>) {
        let at = |path: &str| root.join(path);
        let is_file = |path: &str| at(path).symlink_metadata().is_ok_and(|stat| stat.is_file());
        match self {
            Self::Write { path, text, time } => {
                let before = at(path).symlink_metadata().and_then(|stat| stat.modified()).ok();
                let executable =
                    matches!(State::read(root).0.get(path), Some((Thing::File { executable: true, .. }, _)));
                put(&at(path), &Thing::File { text: text.clone(), executable });
                set(&at(path), *time, before);
            }
            Self::Remove { path } => remove(&at(path)),
            Self::Rename { from, to } => {
                let holds = |dir: &str, path: &str| Path::new(path).starts_with(dir);
                if at(from).symlink_metadata().is_ok() && !holds(from, to) && !holds(to, from) {
                    remove(&at(to));
                    // What was removed may have held the other by a link.
                    if at(from).symlink_metadata().is_ok() && at(to).parent().is_some_and(Path::is_dir) {
                        std::fs::rename(at(from), at(to)).unwrap();
                    }
                }
            }
            Self::Chmod { path, executable } if is_file(path) => {
                let text = std::fs::read_to_string(at(path)).unwrap();
                let before = at(path).metadata().unwrap().modified().unwrap();
                put(&at(path), &Thing::File { text, executable: *executable });
                set_time(&at(path), before);
            }
            Self::Link { path, to } => put(&at(path), &Thing::Link { to: to.clone() }),
            Self::FileToDir { path } if is_file(path) => {
                let text = std::fs::read_to_string(at(path)).unwrap();
                remove(&at(path));
                put(&at(path).join("was"), &Thing::File { text, executable: false });
            }
            Self::DirToFile { path } => {
                if let Ok(text) = std::fs::read_to_string(at(path).join("was")) {
                    remove(&at(path));
                    put(&at(path), &Thing::File { text, executable: false });
                }
            }
            Self::Touch { path, time } if is_file(path) => set(&at(path), *time, None),
            Self::Restore { step, old_times } => {
                if let Some(state) = states.get(step) {
                    state.restore(root, *old_times);
                }
            }
            Self::Chmod { .. } | Self::FileToDir { .. } | Self::Touch { .. } => {}
        }
    }
}

fn set(path: &Path, time: Time, before: Option<SystemTime>) {
    match (time, before) {
        (Time::Past, _) => set_time(path, long_ago()),
        (Time::Future, _) => set_time(path, SystemTime::now() + Duration::from_hours(24)),
        (Time::Kept, Some(before)) => set_time(path, before),
        _ => {}
    }
}

/// Headers that are found in a later root and may be found in an earlier one.
const SHADOWS: &[(&str, &str)] = &[
    ("arch/x86/include/linux/types.h", "typedef int u64;\n"),
    ("arch/x86/include/linux/printk.h", "int printk(int x86);\n"),
    ("arch/x86/include/linux/serial.h", "struct uart { int x86; };\n"),
    ("arch/arm64/include/linux/virtio.h", "struct virtio_device { int arm; };\n"),
    ("arch/arm64/include/linux/types.h", "typedef int u64;\n"),
    ("arch/x86/include/compat/endian.h", "#define swab(x) (-x)\n"),
    ("arch/x86/include/uapi/linux/types.h", "typedef short u64;\n"),
    ("include/linux/types.h", "typedef char u64;\n"),
    ("include/asm/page.h", "#define PAGE_SIZE 1\n"),
    ("include/asm/syscalls.h", "#define __NR_none 0\n"),
    ("arch/x86/include/asm/cache.h", "#define CACHE_LINE 32\n"),
    ("arch/arm64/include/asm/page.h", "#define PAGE_SIZE 16384\n"),
    ("arch/x86/include/asm/syscalls.h", "#define __NR_all 1\n"),
    ("arch/x86/include/calls.h", "int calls_from_afar;\n"),
    ("arch/x86/include/digits.h", "int digits_from_afar;\n"),
    ("lib/digits.h", "int digits_from_here;\n"),
    ("lib/errata.h", "int erratum;\n"),
    ("include/errata.h", "int erratum_from_afar;\n"),
    ("arch/x86/include/linux/errata.h", "int linux_erratum;\n"),
    ("include/uapi/linux/errata.h", "int uapi_erratum;\n"),
];

/// Other files that count because they are there.
const PICKED: &[(&str, &str)] = &[
    ("drivers/plug_one.c", "#include <linux/types.h>\nu64 one;\n"),
    ("drivers/plug_two.c", "#include <linux/virtio.h>\nint two;\n"),
    ("Makefile.local", "ccflags-y := -DLOCAL\n"),
    ("Makefile.local", "# Nothing.\n"),
    ("localversion-next", "-next\n"),
    ("localversion2", "-2\n"),
    ("lib/feature_one", ""),
    ("lib/feature_two", "2\n"),
];

/// Rules of makefiles that make headers: new ones, and others in place of those that are there.
const RULES: &[(&str, &str, &str)] = &[
    ("lib/Makefile", "digit_&", "number_&"),
    ("lib/Makefile", "number_&", "digit_&"),
    ("lib/Makefile", "first", "second"),
    ("lib/Makefile", "$(obj)/digits.h: $(src)/digits.txt", "$(obj)/numbers.h: $(src)/digits.txt"),
    ("lib/Makefile", "$(obj)/numbers.h: $(src)/digits.txt", "$(obj)/digits.h: $(src)/digits.txt"),
    ("lib/Makefile", "feature_*", "feat*"),
    (
        "lib/Makefile",
        "obj-y := string.o",
        "obj-y := string.o\n$(obj)/string.o: $(obj)/made.h\n$(obj)/made.h:\n\t@mkdir -p $(@D) && echo 'int made;' >$@",
    ),
    ("lib/Makefile", "int made;", "int made_anew;"),
    ("lib/string.c", "#include \"digits.h\"", "#include \"made.h\""),
    ("lib/string.c", "#include \"made.h\"", "#include \"digits.h\""),
    ("init/main.c", "#include <asm/page.h>", "#include <asm/page.h>\n#include \"made.h\""),
    ("drivers/virtio.c", "#include", "#if __has_include(\"plug.h\")\n#include \"plug.h\"\n#endif\n#include"),
    ("drivers/Makefile", "virtio.o", "noisy.o"),
    ("drivers/Makefile", "noisy.o", "virtio.o"),
];

/// Files that do not count.
const UNRELATED: &[&str] = &[
    "Documentation/new.txt",
    "drivers/unused.c",
    "drivers/plug.txt",
    "include/linux/unused.h",
    "arch/x86/include/linux/unused.h",
    "arch/arm64/include/asm/unused.h",
    "lib/compat/unused.h",
    "init/Kconfig",
    "scripts/unused.sh",
];

/// One line more.
fn line(path: &str, random: &mut Random) -> String {
    let number = random.below(1000);
    let name = path.rsplit('/').next().unwrap();
    let comment = match name {
        _ if has_extension(name, "c") || has_extension(name, "h") => format!("// {number}\n"),
        _ => format!("# {number}\n"),
    };
    if random.percent(30) {
        return comment;
    }
    match name {
        _ if has_extension(name, "c") && random.percent(20) => {
            let header = [
                "<linux/smp.h>",
                "<linux/types.h>",
                "<asm/abi.h>",
                "<asm/page.h>",
                "\"calls.h\"",
                "<linux/unread.h>",
            ];
            format!("#include {}\n", random.of(&header))
        }
        _ if has_extension(name, "c") || has_extension(name, "h") => {
            let symbol = ["HZ", "NR_CPUS", "PHYSICAL_START", "LOCALVERSION"];
            match random.below(3) {
                0 => format!("int symbol_{number} = CONFIG_{};\n", random.of(&symbol)),
                1 => format!("#ifdef CONFIG_SMP\nint smp_{number};\n#endif\n"),
                _ => format!("int plain_{number};\n"),
            }
        }
        "Kconfig" => match random.below(3) {
            0 => format!("\nconfig NEW_{number}\n\tbool \"New\"\n\tdefault y\n"),
            1 => format!("\nconfig QUIET_{number}\n\tbool \"Not set\"\n"),
            _ => format!("\nconfig HIDDEN_{number}\n\tbool\n\tdefault y if SMP\n"),
        },
        _ if path.starts_with("drivers/Makefile") => {
            "obj-$(CONFIG_SMP) += broken_not.o\n".replace("broken_not", "noisy")
        }
        _ if name == "Makefile" && path.contains('/') => format!("ccflags-main.o := -DN{number}\n"),
        "digits.txt" => format!("{number}\n"),
        _ if has_extension(name, "tbl") => format!("{number}\tcall_{number}\n"),
        _ if name.ends_with("_defconfig") => {
            let lines =
                ["CONFIG_NOISY=y\n", "CONFIG_SMP=y\n", "# CONFIG_MODULES is not set\n", "CONFIG_NR_CPUS=3\n"];
            (*random.of(&lines)).to_owned()
        }
        _ if name == "setlocalversion" => format!("echo -{number}\n"),
        _ => comment,
    }
}

/// A changed text.
fn change(path: &str, text: &str, random: &mut Random) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let with_digits: Vec<usize> =
        (0..lines.len()).filter(|&at| lines[at].bytes().any(|byte| byte.is_ascii_digit())).collect();
    let code = !path.contains("scripts/") && path != "Makefile";
    match random.below(10) {
        0 if code && !lines.is_empty() => {
            lines.remove(random.below(lines.len()));
            lines.concat()
        }
        // As long as before.
        1..=3 if code && !with_digits.is_empty() => {
            let at = *random.of(&with_digits);
            let digit = char::from(b'1' + u8::try_from(random.below(8)).unwrap());
            let changed: String =
                lines[at].chars().map(|old| if old.is_ascii_digit() { digit } else { old }).collect();
            lines[at] = &changed;
            lines.concat()
        }
        // At the end, or, where order counts for less, at the beginning.
        4 if has_extension(path, "c") || has_extension(path, "h") => line(path, random) + text,
        _ => text.to_owned() + &line(path, random),
    }
}

/// The next edit of a tree in that state.
pub fn next(state: &State, beginning: &State, earlier: &[Option<usize>], random: &mut Random) -> Edit {
    let paths: Vec<&String> = state.0.keys().collect();
    let files: Vec<&String> = paths.iter().copied().filter(|path| state.text(path).is_some()).collect();
    let links: Vec<&String> =
        paths.iter().copied().filter(|path| matches!(state.0[*path].0, Thing::Link { .. })).collect();
    let added: Vec<&String> = paths.iter().copied().filter(|path| !beginning.0.contains_key(*path)).collect();
    let dirs: Vec<&str> = paths.iter().filter_map(|path| path.strip_suffix("/was")).collect();
    let time = match random.below(20) {
        0..4 => Time::Past,
        4 | 5 => Time::Kept,
        6 => Time::Future,
        _ => Time::Now,
    };
    // Half of the time code: there is less of it than of makefiles and the like.
    let code: Vec<&String> =
        files.iter().copied().filter(|path| has_extension(path, "c") || has_extension(path, "h")).collect();
    let among = if random.percent(50) && !code.is_empty() { &code } else { &files };
    let any = (*random.of(among)).clone();
    // make reads its configuration again for as long as that is older than a Kconfig file.
    let time = if time == Time::Future && any.contains("onfig") { Time::Now } else { time };
    match random.below(100) {
        0..10 => {
            let (path, from, to) = random.of(RULES);
            match state.text(path) {
                Some(text) if text.contains(from) => {
                    Edit::Write { path: (*path).to_owned(), text: text.replacen(from, to, 1), time }
                }
                _ => {
                    let text = change(&any, state.text(&any).unwrap_or_default(), random);
                    Edit::Write { path: any, text, time }
                }
            }
        }
        10..30 => {
            let text = change(&any, state.text(&any).unwrap_or_default(), random);
            Edit::Write { path: any, text, time }
        }
        30..46 => {
            let (path, text) = random.of(SHADOWS);
            Edit::Write { path: (*path).to_owned(), text: (*text).to_owned(), time }
        }
        46..52 => {
            let (path, text) = random.of(PICKED);
            Edit::Write { path: (*path).to_owned(), text: (*text).to_owned(), time }
        }
        52..56 => {
            let path = (*random.of(UNRELATED)).to_owned();
            Edit::Write { path, text: format!("// {}\n", random.below(100)), time }
        }
        56..64 if !added.is_empty() => Edit::Remove { path: (*random.of(&added)).clone() },
        56..66 => Edit::Remove { path: any },
        66..71 => {
            // In place of another, or under a new name.
            let other = (*random.of(&files)).clone();
            let to = if random.percent(30) { other } else { format!("{any}.old") };
            Edit::Rename { from: any, to }
        }
        71..76 => {
            let scripts: Vec<&&String> =
                files.iter().filter(|path| has_extension(path, "sh") || path.ends_with("version")).collect();
            let path =
                if random.percent(60) && !scripts.is_empty() { (**random.of(&scripts)).clone() } else { any };
            let executable = matches!(state.0[&path].0, Thing::File { executable: true, .. });
            Edit::Chmod { path, executable: !executable }
        }
        76..80 => {
            // To a neighbour of the same kind, so that much of it still builds.
            let name = |path: &str| match path.rsplit_once('/') {
                Some((dir, name)) => (dir.to_owned(), name.to_owned()),
                None => (String::new(), path.to_owned()),
            };
            let (dir, own) = name(&any);
            let kind = own.rsplit('.').next().unwrap_or_default().to_owned();
            let near: Vec<String> = files
                .iter()
                .map(|path| name(path))
                .filter(|(other, neighbour)| *other == dir && *neighbour != own && neighbour.ends_with(&kind))
                .map(|(_, neighbour)| neighbour)
                .collect();
            let to = if near.is_empty() { "nowhere".to_owned() } else { random.of(&near).clone() };
            Edit::Link { path: any, to }
        }
        80..83 if !links.is_empty() => {
            let to = ["../lib/compat", "../arch/x86/include/compat", "uapi", "../lib/compat2", "."];
            Edit::Link { path: (*random.of(&links)).clone(), to: (*random.of(&to)).to_owned() }
        }
        80..83 => Edit::Write {
            path: "lib/compat2/endian.h".to_owned(),
            text: "#define swab(x) (x + 2)\n".to_owned(),
            time,
        },
        83..85 => Edit::FileToDir { path: any },
        85..88 if !dirs.is_empty() => Edit::DirToFile { path: (*random.of(&dirs)).to_owned() },
        85..92 => Edit::Restore { step: *random.of(earlier), old_times: random.percent(50) },
        _ => {
            let time = match random.below(10) {
                0..6 => Time::Now,
                9 if !any.contains("onfig") => Time::Future,
                _ => Time::Past,
            };
            Edit::Touch { path: any, time }
        }
    }
}

//! Programs of other machines, which the kernel has QEMU run: what is registered with `binfmt_misc`.
//!
//! Each handler is a file that says which programs it is for, by bytes at their beginning, and what runs them
//! (`Documentation/admin-guide/binfmt-misc.rst` of Linux). Only one with flag F serves inside another root: the kernel
//! has opened its interpreter when it was registered, where without F it looks for it in the root of who runs the program.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use machine::{HEAD, TYPES};

pub use machine::Machine;

use super::tools::FIXED_DIRS;

/// Where the kernel shows what is registered.
const DIR: &str = "/proc/sys/fs/binfmt_misc";

/// What runs programs of some machine, in any root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// What it is registered as.
    pub name: String,
    /// The program that runs the programs, QEMU's.
    pub interpreter: PathBuf,
    /// Letters, F among them: see the kernel's `binfmt-misc.rst`.
    pub flags: String,
}

/// Programs of a machine can't be run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("programs for {machine} can't be run: {fault}; to mend it: `{}`", fault.remedy())]
pub struct BinfmtError {
    /// Whose programs.
    pub machine: Machine,
    /// Why.
    pub fault: Fault,
}

/// What is wrong with `binfmt_misc`, or with the handler for a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no `binfmt_misc`.
    #[error("binfmt_misc is not mounted on {DIR}")]
    NotMounted,
    /// Nothing is registered for the machine.
    #[error("no handler for them is registered with binfmt_misc")]
    NotRegistered {
        /// Whether QEMU for it is there all the same.
        installed: bool,
    },
    /// It is registered and switched off, or all of `binfmt_misc` is.
    #[error("{what} is disabled")]
    Disabled {
        /// Handler or whole.
        what: String,
        /// The file that switches it.
        file: String,
    },
    /// It serves on the host alone.
    #[error(
        "the handler {name} has no flag F, without which it is of no use in a root of their own (its flags: {})",
        if flags.is_empty() { "none" } else { flags }
    )]
    NotFixed {
        /// What it is registered as.
        name: String,
        /// The flags it has.
        flags: String,
    },
    /// The program that would run them is gone.
    #[error("{}, which the handler {name} runs, is not there", interpreter.display())]
    NoInterpreter {
        /// What it is registered as.
        name: String,
        /// What is missing.
        interpreter: PathBuf,
    },
}

impl Fault {
    /// The command that mends it, for root of the host, on Debian.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotMounted => format!("mount -t binfmt_misc binfmt_misc {DIR}"),
            Self::NotRegistered { installed: false } => {
                "apt-get install qemu-user-static binfmt-support".to_owned()
            }
            Self::NotRegistered { installed: true } => "update-binfmts --enable".to_owned(),
            Self::Disabled { file, .. } => format!("echo 1 > {DIR}/{file}"),
            // The package registers its own, with F, where there is none of that name.
            Self::NotFixed { name, .. } => {
                format!("echo -1 > {DIR}/{name}; apt-get install --reinstall qemu-user-static binfmt-support")
            }
            Self::NoInterpreter { .. } => "apt-get install --reinstall qemu-user-static".to_owned(),
        }
    }
}

/// What runs programs of `machine` in any root on this host. For those that are not [native](Machine::is_native).
pub fn handler(machine: &Machine) -> Result<Handler, BinfmtError> {
    handler_in(Path::new(DIR), *machine).map_err(|fault| BinfmtError { machine: *machine, fault })
}

fn handler_in(dir: &Path, machine: Machine) -> Result<Handler, Fault> {
    let Ok(status) = fs::read_to_string(dir.join("status")) else { return Err(Fault::NotMounted) };
    let not_registered = || Fault::NotRegistered {
        installed: FIXED_DIRS
            .iter()
            .any(|dir| Path::new(dir).join(format!("qemu-{machine}-static")).exists()),
    };
    let Registered { name, entry, .. } = newest(dir, machine).ok_or_else(not_registered)?;
    if status.trim() != "enabled" {
        return Err(Fault::Disabled { what: "binfmt_misc".to_owned(), file: "status".to_owned() });
    }
    if !entry.enabled {
        return Err(Fault::Disabled { what: format!("the handler {name}"), file: name });
    }
    if !entry.flags.contains('F') {
        return Err(Fault::NotFixed { name, flags: entry.flags });
    }
    if !entry.interpreter.exists() {
        return Err(Fault::NoInterpreter { name, interpreter: entry.interpreter });
    }
    Ok(Handler { name, interpreter: entry.interpreter, flags: entry.flags })
}

struct Registered {
    name: String,
    entry: Entry,
    at: SystemTime,
}

/// The handler that the kernel would take: of those that fit, one that is on, and then the last to be registered.
fn newest(dir: &Path, machine: Machine) -> Option<Registered> {
    let registered = fs::read_dir(dir).ok()?.flatten().filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        let entry = Entry::parse(&fs::read_to_string(file.path()).ok()?)?;
        let at = file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        entry.fits(machine).then_some(Registered { name, entry, at })
    });
    registered.max_by(|a, b| (a.entry.enabled, a.at, &a.name).cmp(&(b.entry.enabled, b.at, &b.name)))
}

/// What the kernel says of a handler.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    enabled: bool,
    interpreter: PathBuf,
    flags: String,
    /// Where the bytes are in a program, which they are, and which of their bits count.
    offset: usize,
    magic: Vec<u8>,
    mask: Option<Vec<u8>>,
}

impl Entry {
    /// `None` for what goes by the names of programs, and for what is no handler.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let enabled = match lines.next()? {
            "enabled" => true,
            "disabled" => false,
            _ => return None,
        };
        let field = |name: &str| {
            lines.clone().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start_matches(' '))
        };
        let mask = match field("mask") {
            Some(mask) => Some(bytes(mask)?),
            None => None,
        };
        Some(Self {
            enabled,
            interpreter: PathBuf::from(field("interpreter ")?),
            flags: field("flags:").unwrap_or_default().to_owned(),
            offset: field("offset ")?.parse().ok()?,
            magic: bytes(field("magic ")?)?,
            mask,
        })
    }

    fn fits(&self, machine: Machine) -> bool {
        TYPES.iter().all(|&kind| {
            let head = machine.header(kind);
            self.offset < HEAD
                && self.magic.iter().enumerate().all(|(index, &magic)| {
                    let bits = self.mask.as_ref().map_or(0xff, |mask| mask.get(index).copied().unwrap_or(0));
                    head.get(self.offset + index).is_some_and(|byte| (byte ^ magic) & bits == 0)
                })
        })
    }
}

/// Bytes written as pairs of hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const AARCH64: &str = "enabled\ninterpreter /bin/sh\nflags: PF\noffset 0\n\
                           magic 7f454c460201010000000000000000000200b700\n\
                           mask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn machine(name: &str) -> Machine {
        Machine::named(name).unwrap()
    }

    /// A directory as the kernel's.
    fn registered(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("status"), "enabled\n").unwrap();
        fs::write(dir.path().join("register"), "").unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn error(dir: &Path, name: &str) -> String {
        let machine = machine(name);
        let fault = handler_in(dir, machine).unwrap_err();
        BinfmtError { machine, fault }.to_string()
    }

    #[test]
    fn a_handler_is_found_by_the_bytes_it_is_for() {
        let java = "enabled\ninterpreter /usr/bin/jexec\nflags: \noffset 0\nmagic 504b0304\n";
        let by_name = "enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n";
        let dir =
            registered(&[("jar", java), ("qemu-aarch64", AARCH64), ("wine", by_name), ("odd", "what\n")]);
        let found = handler_in(dir.path(), machine("aarch64")).unwrap();
        let expected =
            Handler { name: "qemu-aarch64".into(), interpreter: "/bin/sh".into(), flags: "PF".into() };
        assert_eq!(found, expected);
        for other in ["aarch64_be", "arm", "riscv64", "alpha"] {
            let text = error(dir.path(), other);
            assert!(
                text.contains("no handler")
                    && text.contains(&format!("for {other} "))
                    && text.contains("to mend it"),
                "{text}"
            );
        }
    }

    /// As QEMU's own script registers them: the ABIs of MIPS differ in a flag.
    #[test]
    fn abis_are_told_apart() {
        let mips = |magic: &str| {
            format!(
                "enabled\ninterpreter /bin/sh\nflags: F\noffset 0\nmagic 7f454c46010201{}000200080000000000000000\
                 0000000000000000{magic}\nmask ffffffffffffff00fefffffffffffffffffeffff0000000000000000\
                 0000000000000000000000{}\n",
                "00".repeat(9),
                "20"
            )
        };
        let dir = registered(&[("o32", &mips("00000000")), ("n32", &mips("00000020"))]);
        assert_eq!(handler_in(dir.path(), machine("mips")).unwrap().name, "o32");
        assert_eq!(handler_in(dir.path(), machine("mipsn32")).unwrap().name, "n32");
    }

    #[test]
    fn each_fault_has_its_remedy() {
        let nowhere = tempfile::tempdir().unwrap();
        let text = error(nowhere.path(), "aarch64");
        assert!(text.contains("not mounted") && text.contains("mount -t binfmt_misc"), "{text}");

        let dir = registered(&[("qemu-aarch64", &AARCH64.replace("PF", "P"))]);
        let text = error(dir.path(), "aarch64");
        assert!(
            text.contains("no flag F, ")
                && text.contains("(its flags: P)")
                && text.contains("qemu-user-static"),
            "{text}"
        );

        let dir = registered(&[("qemu-aarch64", &AARCH64.replace("/bin/sh", "/no/such/qemu"))]);
        let text = error(dir.path(), "aarch64");
        assert!(text.contains("/no/such/qemu") && text.contains("--reinstall"), "{text}");

        let dir = registered(&[("qemu-aarch64", &AARCH64.replace("enabled", "disabled"))]);
        let text = error(dir.path(), "aarch64");
        assert!(text.contains("handler qemu-aarch64 is disabled"), "{text}");
        assert!(text.contains("echo 1 > /proc/sys/fs/binfmt_misc/qemu-aarch64"), "{text}");

        let dir = registered(&[("qemu-aarch64", AARCH64)]);
        fs::write(dir.path().join("status"), "disabled\n").unwrap();
        let text = error(dir.path(), "aarch64");
        assert!(text.contains("binfmt_misc is disabled") && text.contains("/status"), "{text}");
    }

    #[test]
    fn of_several_the_one_that_the_kernel_takes_counts() {
        let plain = AARCH64.replace("PF", "P");
        let dir = registered(&[("a-new", AARCH64), ("z-old", &plain)]);
        let old = File::open(dir.path().join("z-old")).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(handler_in(dir.path(), machine("aarch64")).unwrap().name, "a-new");
        fs::write(dir.path().join("b-off"), AARCH64.replace("enabled", "disabled")).unwrap();
        assert_eq!(handler_in(dir.path(), machine("aarch64")).unwrap().name, "a-new");
    }

    #[test]
    fn what_is_no_handler_is_none() {
        for text in ["", "enabled\n", "enabled\ninterpreter /x\noffset 0\nmagic 7f4\n", "enabled\nmagic zz\n"]
        {
            assert_eq!(Entry::parse(text), None, "{text}");
        }
        let far = AARCH64.replace("offset 0", "offset 127");
        assert!(!Entry::parse(&far).unwrap().fits(machine("aarch64")));
    }
}

//! What programs are made for.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// As much of a program as the kernel compares with.
pub(super) const HEAD: usize = 64;

const ELF: [u8; 4] = *b"\x7fELF";

/// `ET_EXEC` and `ET_DYN`: a program at a fixed place, and one that can be anywhere. Roots hold both.
pub(super) const TYPES: [u16; 2] = [2, 3];

/// `EF_MIPS_ABI2`: what tells the ABI n32 from o32.
const MIPS_N32: u32 = 0x20;

const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;

/// Names as QEMU has them in the names of its programs, with class, bytes' order, machine and flags of ELF headers.
#[rustfmt::skip]
const NAMES: [(&str, bool, bool, u16, u32); 29] = [
    // name, 64 bits, big-endian, e_machine, e_flags
    ("aarch64", true, false, 183, 0),
    ("aarch64_be", true, true, 183, 0),
    ("alpha", true, false, 0x9026, 0),
    ("arm", false, false, 40, 0),
    ("armeb", false, true, 40, 0),
    ("hppa", false, true, 15, 0),
    ("i386", false, false, EM_386, 0),
    ("loongarch64", true, false, 258, 0),
    ("m68k", false, true, 4, 0),
    ("mips", false, true, 8, 0),
    ("mips64", true, true, 8, 0),
    ("mips64el", true, false, 8, 0),
    ("mipsel", false, false, 8, 0),
    ("mipsn32", false, true, 8, MIPS_N32),
    ("mipsn32el", false, false, 8, MIPS_N32),
    ("or1k", false, true, 92, 0),
    ("ppc", false, true, 20, 0),
    ("ppc64", true, true, 21, 0),
    ("ppc64le", true, false, 21, 0),
    ("riscv32", false, false, 243, 0),
    ("riscv64", true, false, 243, 0),
    ("s390x", true, true, 22, 0),
    ("sh4", false, false, 42, 0),
    ("sh4eb", false, true, 42, 0),
    ("sparc", false, true, 2, 0),
    ("sparc32plus", false, true, 18, 0),
    ("sparc64", true, true, 43, 0),
    ("x32", false, false, EM_X86_64, 0),
    ("x86_64", true, false, EM_X86_64, 0),
];

/// What a program is made for, as its ELF header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine {
    is_64: bool,
    is_big_endian: bool,
    /// `e_machine`.
    number: u16,
    /// Of `e_flags`, what tells ABIs apart.
    flags: u32,
}

impl Machine {
    /// The machine of a name as QEMU has it: `aarch64`, `ppc64le`, `mipsn32`. `None` if there is no such.
    pub fn named(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(known, ..)| *known == name)?;
        let &(_, is_64, is_big_endian, number, flags) = found;
        Some(Self { is_64, is_big_endian, number, flags })
    }

    /// All that have a name.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().filter_map(|(name, ..)| Self::named(name))
    }

    /// The machine of the program with this beginning, of at least 64 bytes. `None` if it is no ELF file.
    pub fn of_header(head: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = head.get(..HEAD)?.try_into().ok()?;
        let (is_64, is_big_endian) = match (head.starts_with(&ELF), head[4], head[5]) {
            (true, class @ (1 | 2), order @ (1 | 2)) => (class == 2, order == 2),
            _ => return None,
        };
        let number = [head[18], head[19]];
        let number = if is_big_endian { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
        let at = flags_at(is_64);
        let flags = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let flags = if is_big_endian { u32::from_be_bytes(flags) } else { u32::from_le_bytes(flags) };
        let is_mips = Self::named("mips").is_some_and(|mips| mips.number == number);
        let flags = if is_mips && !is_64 { flags & MIPS_N32 } else { 0 };
        Some(Self { is_64, is_big_endian, number, flags })
    }

    /// The machine of the program at `path`; `None` if it is no ELF file.
    pub fn of_program(path: &Path) -> io::Result<Option<Self>> {
        let mut head = Vec::with_capacity(HEAD);
        File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
        Ok(Self::of_header(&head))
    }

    /// Whether this host runs its programs without help.
    pub fn is_native(self) -> bool {
        let own = Self::of_program(Path::new("/proc/self/exe")).ok().flatten();
        own.is_some_and(|own| {
            own == self || (own.number == EM_X86_64 && self.number == EM_386 && !self.is_64)
        })
    }

    /// The beginning of such a program.
    pub(super) fn header(self, kind: u16) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&ELF);
        head[4] = if self.is_64 { 2 } else { 1 };
        head[5] = if self.is_big_endian { 2 } else { 1 };
        head[6] = 1;
        let order =
            |number: u32| if self.is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        let half = |number: u16| if self.is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        head[16..18].copy_from_slice(&half(kind));
        head[18..20].copy_from_slice(&half(self.number));
        head[20..24].copy_from_slice(&order(1));
        let at = flags_at(self.is_64);
        head[at..at + 4].copy_from_slice(&order(self.flags));
        head
    }
}

/// Where `e_flags` is: behind addresses, which are of the class's size.
fn flags_at(is_64: bool) -> usize {
    if is_64 { 48 } else { 36 }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(name, ..)| Self::named(name) == Some(*self)) {
            Some((name, ..)) => formatter.write_str(name),
            None => {
                let (bits, order) =
                    (if self.is_64 { 64 } else { 32 }, if self.is_big_endian { "big" } else { "little" });
                write!(formatter, "ELF machine {} ({bits} bits, {order}-endian)", self.number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_headers_say() {
        for (name, ..) in NAMES {
            let machine = Machine::named(name).unwrap();
            assert_eq!(machine.to_string(), name);
            for kind in TYPES {
                assert_eq!(Machine::of_header(&machine.header(kind)), Some(machine), "{name}");
            }
        }
        assert_eq!(Machine::named("vax"), None);
        assert_eq!(Machine::of_header(b"#!/bin/sh\n"), None);
        assert_eq!(Machine::of_header(&[0; 64]), None);
        let s390x = Machine::named("s390x").unwrap();
        let own = Machine::of_program(Path::new("/proc/self/exe")).unwrap().unwrap();
        assert!(own.is_native());
        assert!(!s390x.is_native() || own == s390x);
        let unknown = Machine { number: 9999, ..Machine::named("aarch64").unwrap() };
        assert_eq!(unknown.to_string(), "ELF machine 9999 (64 bits, little-endian)");
    }
}

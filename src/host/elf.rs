//! What an ELF file says it needs.

use std::fs::File;
use std::path::Path;

use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef};

/// What an ELF file asks the dynamic loader for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// Only a library of the same kind is loaded; others of the same name are passed over.
    pub kind: ElfKind,
    pub interpreter: Option<Vec<u8>>,
    pub needed: Vec<Vec<u8>>,
    /// Directories to search first; `rpath` counts only where there is no `runpath`.
    pub rpath: Vec<u8>,
    pub runpath: Vec<u8>,
    /// The name under which programs load it.
    pub soname: Option<Vec<u8>>,
}

/// Class and machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElfKind {
    pub is_64: bool,
    pub machine: u16,
}

impl Elf {
    /// Reads the headers of the file at `path`; `None` if it is no ELF file. Only what is looked at is read.
    pub fn read(path: &Path) -> Option<Self> {
        let cache = ReadCache::new(File::open(path).ok()?);
        match FileKind::parse(&cache).ok()? {
            FileKind::Elf32 => Self::parse::<FileHeader32<Endianness>, _>(&cache),
            FileKind::Elf64 => Self::parse::<FileHeader64<Endianness>, _>(&cache),
            _ => return None,
        }
        .ok()
    }

    fn parse<'data, E, R>(data: R) -> object::Result<Self>
    where
        E: FileHeader<Endian = Endianness>,
        R: ReadRef<'data>,
    {
        let header = E::parse(data)?;
        let endian = header.endian()?;
        let kind = ElfKind { is_64: header.is_type_64(), machine: header.e_machine(endian).0 };
        let mut elf = Self { kind, ..Self::default() };
        for segment in header.program_headers(endian, data)? {
            if let Some(interpreter) = segment.interpreter(endian, data)? {
                elf.interpreter = Some(interpreter.to_vec());
            }
        }
        let sections = header.sections(endian, data)?;
        let table = sections.dynamic_table(endian, data)?;
        for entry in &table {
            match entry.tag {
                DT_NEEDED => elf.needed.push(table.string(entry)?.to_vec()),
                DT_RPATH => elf.rpath = table.string(entry)?.to_vec(),
                DT_SONAME => elf.soname = Some(table.string(entry)?.to_vec()),
                DT_RUNPATH => elf.runpath = table.string(entry)?.to_vec(),
                _ => {}
            }
        }
        Ok(elf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_read() {
        let elf = Elf::read(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(elf.kind.is_64, cfg!(target_pointer_width = "64"));
        assert!(elf.needed.iter().any(|name| name.starts_with(b"libc.so")), "{elf:?}");
        assert!(elf.interpreter.is_some());
        assert_eq!(Elf::read(Path::new("/etc/passwd")), None);
    }
}

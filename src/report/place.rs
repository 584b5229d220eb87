//! Where in a file an offset lies, in words: the section and symbol of an ELF file, the compressed part of another.

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// The first bytes of compressed files, by format: RFC 1952, RFC 8878, the .xz, bzip2 and LZ4 formats, and LZMA as the
/// kernel's own tools write it.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
];

/// Where an offset into a file lies; `None` where nothing is known of the file.
pub(super) fn place(bytes: &[u8], offset: u64) -> Option<String> {
    if let Some(format) = compressed(bytes) {
        return Some(format!("in {format} data: compare what was compressed"));
    }
    elf(bytes, offset).or_else(|| x86_image(bytes, offset))
}

fn compressed(bytes: &[u8]) -> Option<&'static str> {
    MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, format)| *format)
}

fn elf(bytes: &[u8], offset: u64) -> Option<String> {
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let file = object::File::parse(bytes).ok()?;
    let holds = |(start, size): (u64, u64)| (start..start.saturating_add(size)).contains(&offset);
    let section = file.sections().find(|section| section.file_range().is_some_and(holds));
    let Some(section) = section else { return Some("outside all sections of an ELF file".to_owned()) };
    let (start, _) = section.file_range()?;
    let address = section.address() + (offset - start);
    let named = file.symbols().filter(|symbol| {
        symbol.section_index() == Some(section.index())
            && symbol.address() <= address
            && !matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File)
            && symbol.name().is_ok_and(|name| !name.is_empty())
    });
    let name = section.name().unwrap_or("without a name");
    Some(match named.max_by_key(ObjectSymbol::address) {
        Some(symbol) => {
            let past = address - symbol.address();
            format!("in section {name}, at {}+{past:#x}", symbol.name().unwrap_or_default())
        }
        None => format!("in section {name}, at {:#x} of it", offset - start),
    })
}

/// The kernel in an x86 boot image: see "The Linux/x86 Boot Protocol" in the kernel's documentation.
fn x86_image(bytes: &[u8], offset: u64) -> Option<String> {
    const PAYLOAD_SINCE: u64 = 0x208;
    let number = |at: usize, size: usize| {
        let bytes = bytes.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte)))
    };
    if bytes.get(0x202..0x206)? != b"HdrS" || number(0x206, 2)? < PAYLOAD_SINCE {
        return None;
    }
    // None means four, for the sake of the oldest boot loaders.
    let sectors = Some(number(0x1f1, 1)?).filter(|&sectors| sectors != 0).unwrap_or(4);
    let start = (sectors + 1) * 512 + number(0x248, 4)?;
    let payload = bytes.get(usize::try_from(start).ok()?..)?;
    if !(start..start + number(0x24c, 4)?).contains(&offset) {
        return Some("in what an x86 boot image has around the kernel".to_owned());
    }
    let format = compressed(payload).map_or_else(String::new, |format| format!(", as {format} data"));
    Some(format!("in the kernel of an x86 boot image{format}: compare vmlinux"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_data_is_known_by_its_first_bytes() {
        assert_eq!(place(b"\x1f\x8b\x08...", 5).unwrap(), "in gzip data: compare what was compressed");
        assert!(place(b"\xfd7zXZ\0...", 5).unwrap().starts_with("in xz data"));
        assert_eq!(place(b"plain text", 5), None);
        assert_eq!(place(b"", 0), None);
    }

    #[test]
    fn the_kernel_in_a_boot_image_is_found() {
        let mut image = vec![0; 4096];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&100_u32.to_le_bytes());
        image[1024 + 16..1024 + 20].copy_from_slice(b"\x28\xb5\x2f\xfd");
        let kernel = "in the kernel of an x86 boot image, as zstd data: compare vmlinux";
        assert_eq!(place(&image, 1024 + 16).unwrap(), kernel);
        assert_eq!(place(&image, 1024 + 115).unwrap(), kernel);
        let around = "in what an x86 boot image has around the kernel";
        assert_eq!(place(&image, 1024 + 116).unwrap(), around);
        assert_eq!(place(&image, 3).unwrap(), around);
    }

    #[test]
    fn an_image_that_ends_too_early_is_no_image() {
        let mut image = vec![0; 0x206];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(place(&image, 3), None);
        assert_eq!(place(b"\x7fELF", 3), None);
    }
}

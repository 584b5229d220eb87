//! Make variables that name programs: what they name is run, so it is among the action's tools.

/// Variables of kbuild whose values are commands.
const COMMANDS: [&str; 40] = [
    "AR",
    "AWK",
    "BASH",
    "BINDGEN",
    "BISON",
    "CC",
    "CHECK",
    "CLIPPY_DRIVER",
    "CPP",
    "DEPMOD",
    "DTC",
    "FLEX",
    "HOSTAR",
    "HOSTCC",
    "HOSTCXX",
    "HOSTLD",
    "HOSTPKG_CONFIG",
    "HOSTRUSTC",
    "KBZIP2",
    "KGZIP",
    "KLZOP",
    "LD",
    "LEX",
    "LZ4",
    "LZMA",
    "MKIMAGE",
    "NM",
    "OBJCOPY",
    "OBJDUMP",
    "PAHOLE",
    "PERL",
    "PYTHON3",
    "READELF",
    "RUSTC",
    "RUSTDOC",
    "RUSTFMT",
    "STRIP",
    "XZ",
    "YACC",
    "ZSTD",
];

/// The programs that `LLVM=` stands for.
const LLVM: [&str; 8] =
    ["clang", "ld.lld", "llvm-ar", "llvm-nm", "llvm-objcopy", "llvm-objdump", "llvm-readelf", "llvm-strip"];

/// The programs that these variables, `NAME=VALUE`, make a build run.
pub fn programs(variables: &[String]) -> Vec<String> {
    let mut programs = Vec::new();
    for (name, value) in variables.iter().filter_map(|variable| variable.split_once('=')) {
        if name == "LLVM" {
            programs.extend(llvm(value));
        } else if COMMANDS.contains(&name) {
            // `ccache gcc -std=gnu11`: what runs another program comes before it, and options after.
            let words = value.split_whitespace().take_while(|word| !word.starts_with('-'));
            programs.extend(words.map(str::to_owned));
        }
    }
    programs
}

/// `LLVM=1`, `LLVM=/path/` and `LLVM=-15`, as kbuild has them.
fn llvm(value: &str) -> Vec<String> {
    let (prefix, suffix) = match value {
        "" | "0" => return Vec::new(),
        prefix if prefix.ends_with('/') => (prefix, ""),
        suffix if suffix.starts_with('-') => ("", suffix),
        _ => ("", ""),
    };
    LLVM.iter().map(|program| format!("{prefix}{program}{suffix}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_name_programs_are_read_as_kbuild_does() {
        let of = |variable: &str| programs(&[variable.to_owned()]);
        assert_eq!(of("CC=ccache gcc-12 -pipe x"), ["ccache", "gcc-12"]);
        assert_eq!(of("PAHOLE=/opt/pahole/pahole"), ["/opt/pahole/pahole"]);
        assert_eq!(of("LLVM=-15")[..2], ["clang-15", "ld.lld-15"]);
        assert_eq!(of("LLVM=/opt/llvm/")[0], "/opt/llvm/clang");
        assert_eq!(of("LLVM=1")[0], "clang");
        assert!(of("KCFLAGS=-O2").is_empty() && of("LLVM=").is_empty() && of("W=1").is_empty());
    }
}

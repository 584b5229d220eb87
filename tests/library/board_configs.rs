//! Twelve machines that QEMU emulates, and the final `.config` of a small kernel for each, as Linux 6.1's own Kconfig
//! wrote it: which boots where.
//!
//! `tests/fixtures/configs/BOARD.config` is of a kernel that was booted on that board and on no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kiln::kernel::config::KConfig;
use kiln::kernel::matching::{boots, match_boards};
use kiln::kernel::predicate::Predicate;

/// What the user space of the boot test needs of any kernel.
const USER_SPACE: &str = "TTY && BLK_DEV_INITRD && RD_GZIP && BINFMT_ELF";

/// What each board needs besides.
const BOARDS: [(&str, &str); 12] = [
    ("alpha-clipper", "(ALPHA_GENERIC || ALPHA_DP264) && SERIAL_8250_CONSOLE"),
    (
        "arm-virt",
        "CPU_V7 && AEABI && ARM_PATCH_PHYS_VIRT && ARM_GIC && ARM_ARCH_TIMER && ARM_PSCI && SERIAL_AMBA_PL011_CONSOLE",
    ),
    ("arm64-virt", "ARM64 && SERIAL_AMBA_PL011_CONSOLE && CPU_LITTLE_ENDIAN"),
    ("hppa-b160l", "PARISC && PA7100LC && GSC && PCI && GSC_DINO && SERIAL_8250_CONSOLE"),
    ("i386-pc", "X86_32 && SERIAL_8250_CONSOLE"),
    ("m68k-q800", "M68KCLASSIC && M68040 && MAC && SERIAL_PMACZILOG_CONSOLE"),
    ("mips-malta", "MIPS_MALTA && CPU_MIPS32_R2 && CPU_BIG_ENDIAN && 32BIT && SERIAL_8250_CONSOLE"),
    ("ppc32-g3beige", "PPC32 && PPC_PMAC && SERIAL_PMACZILOG_CONSOLE && PPC_OF_BOOT_TRAMPOLINE"),
    ("ppc64-pseries", "PPC64 && PPC_PSERIES && CPU_BIG_ENDIAN && HVC_CONSOLE && PPC_OF_BOOT_TRAMPOLINE"),
    ("riscv64-virt", "ARCH_RV64I && MMU && SIFIVE_PLIC && SERIAL_8250_CONSOLE && SERIAL_OF_PLATFORM"),
    ("sparc64-sun4u", "SPARC64 && PCI && SERIAL_SUNSU_CONSOLE"),
    ("x86_64-pc", "X86_64 && SERIAL_8250_CONSOLE"),
];

fn boards() -> Vec<(&'static str, Predicate)> {
    let requires = |(name, own)| (name, Predicate::parse(&format!("{own} && {USER_SPACE}")).unwrap());
    BOARDS.map(requires).into()
}

fn text(board: &str) -> Vec<u8> {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/configs");
    fs::read(configs.join(format!("{board}.config"))).unwrap()
}

/// The boards that boot a `.config`.
fn booting(text: &[u8]) -> Vec<&'static str> {
    let boards = boards();
    let named: Vec<_> = boards.iter().map(|(name, requires)| (*name, requires)).collect();
    boots(&KConfig::parse(text).0, &named).collect()
}

#[test]
fn kconfig_writes_nothing_that_is_not_understood() {
    for (board, _) in BOARDS {
        let text = text(board);
        let (config, problems) = KConfig::parse(&text);
        assert_eq!(problems, [], "{board}");
        let named = String::from_utf8(text.clone()).unwrap();
        let setting = |line: &&str| line.starts_with("CONFIG_") || line.ends_with(" is not set");
        assert_eq!(config.len(), named.lines().filter(setting).count(), "{board}");
    }
}

#[test]
fn each_board_boots_its_own_kernel_and_no_other() {
    for (board, _) in BOARDS {
        assert_eq!(booting(&text(board)), [board]);
    }
    let example = include_bytes!("../../src/kernel/testdata/x86_64-tiny-pc.config");
    assert_eq!(booting(example), ["x86_64-pc"], "the example project's own");
}

/// Whatever the name of a `.config`, or its architecture: one symbol less decides.
#[test]
fn without_any_symbol_that_its_board_requires_a_kernel_boots_nowhere() {
    for (board, requires) in boards() {
        let whole = String::from_utf8(text(board)).unwrap();
        for symbol in requires.symbols().into_iter().filter(|symbol| !symbol.starts_with("ALPHA_")) {
            let on = format!("CONFIG_{symbol}=y\n");
            assert!(whole.contains(&on), "{board}: {symbol}");
            for (other, found) in [("", "not set"), ("m", "m"), ("n", "not set")] {
                let other =
                    if other.is_empty() { String::new() } else { format!("CONFIG_{symbol}={other}\n") };
                let text = whole.replace(&format!("\n{on}"), &format!("\n{other}"));
                let (config, _) = KConfig::parse(text.as_bytes());
                let verdict = match_boards(&config, &[(board, &requires)]);
                assert_eq!(verdict, [(board, Err(format!("{symbol}=y (is {found})")))]);
                assert_eq!(booting(text.as_bytes()), [""; 0], "{board} without {symbol}");
            }
        }
    }
}

#[test]
fn of_two_machines_that_will_do_one_is_enough() {
    let whole = String::from_utf8(text("alpha-clipper")).unwrap();
    let without = |generic: &str| whole.replace("\nCONFIG_ALPHA_GENERIC=y\n", generic);
    let dp264 = without("\n").replace("\n# CONFIG_ALPHA_DP264 is not set\n", "\nCONFIG_ALPHA_DP264=y\n");
    assert_eq!(booting(dp264.as_bytes()), ["alpha-clipper"]);
    assert_eq!(booting(without("\nCONFIG_ALPHA_MIATA=y\n").as_bytes()), [""; 0]);
}

/// The other end of the line, and another order, are another text and the same configuration.
#[test]
fn line_ends_and_order_decide_nothing() {
    for (board, _) in BOARDS {
        let whole = String::from_utf8(text(board)).unwrap();
        assert_eq!(booting(whole.replace('\n', "\r\n").as_bytes()), [board]);
        let sorted: BTreeSet<&str> = whole.lines().collect();
        assert_eq!(booting(Vec::from_iter(sorted).join("\n").as_bytes()), [board]);
    }
}

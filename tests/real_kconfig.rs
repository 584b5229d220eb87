//! The Kconfig files of a real kernel: all of them are understood, for every arch.
//!
//! The tree is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use kiln::kernel::config::KConfig;
use kiln::kernel::kconfig::{Kconfig, variables};

fn tree() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join(env::var_os("KILN_TEST_TREE").unwrap_or_else(|| "cache/sources/linux-6.1".into()))
}

#[test]
#[ignore = "needs a kernel tree in KILN_TEST_TREE or cache/sources/linux-6.1"]
fn every_line_of_every_arch_is_understood() {
    let archs = fs::read_dir(tree().join("arch")).unwrap().map(|entry| entry.unwrap());
    let archs = archs.filter(|entry| entry.path().join("Kconfig").is_file());
    let mut count = 0;
    for arch in archs.map(|entry| entry.file_name().into_string().unwrap()) {
        let kconfig = Kconfig::read(&tree(), &variables(&arch)).unwrap();
        assert!(kconfig.files() > 1000 && kconfig.symbols().count() > 10_000, "{arch}");
        // User-mode Linux includes another arch's file, and which depends on the host.
        let most = usize::from(arch == "um");
        assert!(kconfig.skipped().lines <= most, "{arch}: {:?}", kconfig.skipped());
        count += 1;
    }
    assert!(count > 10);
}

#[test]
#[ignore = "needs a kernel tree in KILN_TEST_TREE or cache/sources/linux-6.1"]
fn what_a_small_configuration_lacks_is_told() {
    let kconfig = Kconfig::read(&tree(), &variables("x86_64")).unwrap();
    let (config, _) = KConfig::parse(include_bytes!("../src/kernel/testdata/x86_64-tiny-pc.config"));
    let why = |symbol: &str, wanted: &str| {
        kconfig.explain(symbol, wanted, &config).map_or_else(String::new, |reason| reason.to_string())
    };
    assert_eq!(why("EXT4_FS", "y"), "depends on BLOCK, which is n");
    assert_eq!(why("EXT4_FS", "m"), "can't be a module, as MODULES is n");
    assert_eq!(why("HZ_1000", "y"), "is one of a choice, and HZ_250 was taken");
    assert_eq!(why("LOG_BUF_SHIFT", "99"), "must be from 12 to 25");
    assert!(why("VIRTO", "y").ends_with("did you mean VIRTIO?"));
    // All that is as it is could be so.
    for symbol in ["X86_64", "TTY", "SERIAL_8250_CONSOLE", "BLK_DEV_INITRD", "BINFMT_ELF"] {
        let why = why(symbol, "y");
        assert!(!why.starts_with("depends on") && !why.starts_with("no Kconfig"), "{symbol}: {why}");
    }
}

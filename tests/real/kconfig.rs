//! The Kconfig files of a real kernel: all of them are understood, for every arch; and every kind of configuration.
//!
//! The tree is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln::kernel::config::KConfig;
use kiln::kernel::kconfig::{Kconfig, variables};

use crate::support::project::kernel_tree;

#[test]
#[ignore = "needs a kernel tree in KILN_TEST_TREE or cache/sources/linux-6.1"]
fn every_line_of_every_arch_is_understood() {
    let archs = fs::read_dir(kernel_tree().join("arch")).unwrap().map(|entry| entry.unwrap());
    let archs = archs.filter(|entry| entry.path().join("Kconfig").is_file());
    let mut count = 0;
    for arch in archs.map(|entry| entry.file_name().into_string().unwrap()) {
        let kconfig = Kconfig::read(&kernel_tree(), &variables(&arch)).unwrap();
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
    let kconfig = Kconfig::read(&kernel_tree(), &variables("x86_64")).unwrap();
    let (config, _) = KConfig::parse(include_bytes!("../../src/kernel/testdata/x86_64-tiny-pc.config"));
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

/// Configures for `x86_64` as the rule does, below `target/tmp`: the final `.config`.
fn configured(name: &str, base: &[&str], seed: &str, fragment: &str) -> String {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-config").join(name);
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).unwrap();
    let (source, asked) = (fs::canonicalize(kernel_tree()).unwrap(), out.join("fragment"));
    fs::write(&asked, fragment).unwrap();
    let run = |command: &mut Command| {
        command.env("KCONFIG_ALLCONFIG", &asked).env("KCONFIG_SEED", seed).env_remove("MAKEFLAGS");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let make = |targets: &[&str]| {
        let mut make = Command::new("make");
        make.arg("-C").arg(&source).arg(format!("O={}", out.display())).arg("ARCH=x86_64").args(targets);
        run(&mut make);
    };
    make(base);
    let mut merge = Command::new(source.join("scripts/kconfig/merge_config.sh"));
    run(merge.args(["-m", "-O"]).args([&out, &out.join(".config"), &asked]).current_dir(&out));
    make(&["olddefconfig"]);
    fs::read_to_string(out.join(".config")).unwrap()
}

#[test]
#[ignore = "needs a kernel tree in KILN_TEST_TREE or cache/sources/linux-6.1"]
fn every_kind_of_configuration_comes_out_as_asked() {
    let own = "CONFIG_LOCALVERSION=\"-own\"\nCONFIG_PRINTK=y\n";
    let has = |text: &str, lines: &[&str]| {
        for line in
            lines.iter().chain(&["CONFIG_LOCALVERSION=\"-own\"", "CONFIG_PRINTK=y", "CONFIG_X86_64=y"])
        {
            assert!(text.lines().any(|other| other == *line), "no {line}");
        }
    };
    // allnoconfig makes an i386 kernel unless it is told otherwise.
    has(
        &configured("allno", &["allnoconfig"], "", &format!("{own}CONFIG_64BIT=y\n")),
        &["# CONFIG_NET is not set"],
    );
    has(&configured("allmod", &["allmodconfig"], "", own), &["CONFIG_EXT4_FS=m"]);
    has(
        &configured("tiny", &["tinyconfig"], "", &format!("{own}CONFIG_64BIT=y\n")),
        &["CONFIG_CC_OPTIMIZE_FOR_SIZE=y"],
    );
    let plain = configured("plain", &["defconfig"], "", own);
    has(&plain, &["CONFIG_EXT4_FS=y", "CONFIG_SUSPEND=y"]);
    // In turn: what each adds is there.
    has(
        &configured("turn", &["defconfig", "kvm_guest.config", "nopm.config"], "", own),
        &["CONFIG_VIRTIO_BLK=y", "CONFIG_EXT4_FS=y", "# CONFIG_SUSPEND is not set"],
    );
    // A whole file comes out as it went in.
    assert_eq!(configured("whole", &["alldefconfig"], "", &plain), plain);
}

#[test]
#[ignore = "needs a kernel tree in KILN_TEST_TREE or cache/sources/linux-6.1"]
fn a_seed_decides_what_chance_comes_to() {
    let seven = configured("random", &["randconfig"], "7", "CONFIG_64BIT=y\n");
    assert_eq!(configured("random", &["randconfig"], "7", "CONFIG_64BIT=y\n"), seven);
    assert_ne!(configured("random", &["randconfig"], "8", "CONFIG_64BIT=y\n"), seven);
}

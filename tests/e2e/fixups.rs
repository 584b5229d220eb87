//! Fixups that the final `.config` does not have: Kconfig drops them without a word, and kiln does not.

use crate::support::project::{CONFIG, KERNEL, OUT, Project};

/// A project whose one build has these fixups.
fn with_fixups(fixups: &str) -> Project {
    let project = Project::new();
    project.edit("graph.ron", "fixups: [\"HZ=100\"]", &format!("fixups: [{fixups}]"));
    project
}

const TOLD: &str = "\
fixups are not in the final .config as asked:
  CONFIG_VIRTIO_BLK: asked for y, got n (not set): depends on VIRTIO, which is n
  CONFIG_PRINKT: asked for y, got n (not set): no Kconfig file of this tree knows it for this arch; did you mean PRINTK?
  CONFIG_SERIAL_AMBA_PL011: asked for m, got n (not set): depends on ARM64, which is n; no Kconfig file of this tree knows ARM64 for this arch
  CONFIG_X86: asked for n, got y: has no prompt: its defaults alone decide
";

#[test]
fn fixups_that_are_dropped_fail_the_configuration_and_are_all_told() {
    let project = with_fixups(
        r#""HZ=100", "VIRTIO=n", "VIRTIO_BLK=y", "SMP=n", "PRINKT=y", "SERIAL_AMBA_PL011=m", "X86=n""#,
    );
    let said = project.kiln("build -j2").exits(1).complains(&format!("fail {CONFIG}")).complains(TOLD);
    assert!(!project.exists(&format!("{OUT}/bzImage")), "{said}");

    project.edit(
        "graph.ron",
        r#""VIRTIO_BLK=y", "SMP=n", "PRINKT=y", "SERIAL_AMBA_PL011=m", "X86=n""#,
        r#""SMP=n""#,
    );
    project.build("").exits(0);
    project.plan("").has_nothing_to_do();
}

#[test]
fn an_optional_fixup_is_asked_for_and_may_be_dropped() {
    let project = with_fixups(r#""HZ=100", "VIRTIO=n", Optional("VIRTIO_BLK=y"), Optional("NOISY=y")"#);
    project.build("").exits(0);
    let config = project.read(&format!("{OUT}/config"));
    assert!(config.contains("CONFIG_NOISY=y\n") && !config.contains("CONFIG_VIRTIO_BLK"), "{config}");
}

#[test]
fn a_fixup_that_is_no_longer_optional_is_looked_at_again() {
    let project = with_fixups(r#""HZ=100", "VIRTIO=n", Optional("VIRTIO_BLK=y")"#);
    project.build("").exits(0);
    project.edit("graph.ron", r#"Optional("VIRTIO_BLK=y")"#, r#""VIRTIO_BLK=y""#);
    let reasons = project.plan("").reasons(CONFIG);
    assert!(reasons.contains("fixups.required"), "{reasons}");
    project
        .kiln("build")
        .exits(1)
        .complains("CONFIG_VIRTIO_BLK: asked for y, got n (not set): depends on VIRTIO, which is n");

    // What it needs is asked for too.
    project.edit("graph.ron", "VIRTIO=n", "VIRTIO=y");
    let build = project.build("").exits(0);
    assert!(build.ran().contains(&KERNEL), "{}", build.said);
}

#[test]
fn a_tree_without_kconfig_files_is_only_less_told_of() {
    let project = with_fixups(r#""HZ=100", "VIRTIO_BLK=y""#);
    let makefile = "%:\n\tprintf 'CONFIG_HZ=100\\n' >$(O)/.config\n\
        \tmkdir -p $(O)/include/config $(O)/include/generated\n\
        \ttouch $(O)/include/config/auto.conf $(O)/include/generated/autoconf.h\n";
    project.write("linux/Makefile", makefile);
    project.remove("linux/Kconfig");
    let said = project.kiln("build");
    assert!(said.err.contains("CONFIG_VIRTIO_BLK: asked for y, got n (not set)\n"), "{said}");
}

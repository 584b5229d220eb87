//! Configurations of every kind: targets in turn, fragments of the tree, chance with a seed, a whole file.

use crate::support::project::{CONFIG, OUT, Project};

/// A project whose config `pc` is this.
fn with_config(config: &str) -> Project {
    let project = Project::new();
    let pc = "(base: \"x86_64_defconfig\", fragments: [\"configs/pc.config\"])";
    project.edit("graph.ron", pc, &format!("({config})"));
    project
}

fn config(project: &Project) -> String {
    project.build("config:").exits(0);
    project.read(&format!("{OUT}/config"))
}

#[test]
fn targets_are_made_in_turn_then_fragments_then_fixups() {
    let project = with_config(
        r#"base: ["defconfig", "kvm_guest.config"], fragments: ["configs/pc.config"], fixups: ["NOISY=y"]"#,
    );
    project.write("configs/pc.config", "CONFIG_SMP=y\nCONFIG_NOISY=n\n");
    let text = config(&project);
    // The defconfig has a module of it.
    for line in ["CONFIG_TTY=y", "CONFIG_VIRTIO_BLK=y", "CONFIG_SMP=y", "CONFIG_NOISY=y", "CONFIG_HZ=100"] {
        assert!(text.contains(&format!("{line}\n")), "{line} in\n{text}");
    }
    project.plan("").node(CONFIG);

    project.edit("graph.ron", "[\"defconfig\", \"kvm_guest.config\"]", "\"defconfig\"");
    assert!(config(&project).contains("CONFIG_VIRTIO_BLK=m\n"));
}

/// As a target it is looked for in two directories, by names that are never listed.
#[test]
fn a_fragment_that_is_new_in_another_directory_is_not_overlooked() {
    let project = with_config(r#"base: ["allnoconfig", "kvm_guest.config"]"#);
    assert!(!config(&project).contains("CONFIG_NOISY=y"));
    project.write("linux/arch/x86/configs/kvm_guest.config", "CONFIG_NOISY=y\n");
    assert!(config(&project).contains("CONFIG_NOISY=y"));
}

#[test]
fn a_random_configuration_is_the_same_for_the_same_seed() {
    let project = with_config(r#"base: "randconfig", seed: 7"#);
    let seven = config(&project);
    project.build("config:").exits(0).runs(&[]);
    let again = with_config(r#"base: "randconfig", seed: 7"#);
    assert_eq!(config(&again), seven);
    project.kiln("verify config:").exits(0);

    // Of a handful of seeds, at least one has another opinion of a dozen symbols.
    let others = (8..12).map(|seed| config(&with_config(&format!(r#"base: "randconfig", seed: {seed}"#))));
    assert!(others.into_iter().any(|other| other != seven), "{seven}");
}

#[test]
fn a_random_configuration_without_a_seed_is_refused() {
    let project = with_config(r#"base: "randconfig""#);
    project.kiln("plan").exits(2).complains("another configuration each time").complains("seed: 7");
}

#[test]
fn a_whole_config_file_is_a_fragment_of_alldefconfig() {
    let project = Project::new();
    let whole = config(&project);
    let project = with_config(r#"base: "alldefconfig", fragments: ["my.config"]"#);
    project.write("my.config", &whole);
    assert_eq!(config(&project), whole);
}

/// What the tree's Kconfig knows of modules that are signed.
const SIGNED: &str = "\nconfig MODULE_SIG_KEY\n\tstring \"Key\"\n\tdefault \"certs/signing_key.pem\"\n";

#[test]
fn settings_that_make_other_kernels_each_time_are_told_with_what_mends_them() {
    let project = Project::new();
    let kconfig = project.read("linux/Kconfig");
    project.write("linux/Kconfig", &(kconfig + SIGNED));
    let said = "equal inputs make other kernels:\n  CONFIG_MODULE_SIG_KEY: every build from nothing generates another key";
    project.kiln("build").exits(0).complains(said).complains("set MODULE_SIG_KEY=\"/kiln/in/module_key\"");

    // A spec may refuse them.
    project.edit("graph.ron", "version: 1,", "version: 1, repeatable: true,");
    let reasons = project.plan("").reasons(CONFIG);
    assert!(reasons.contains("repeatable"), "{reasons}");
    project.kiln("build").exits(1).complains(&format!("fail {CONFIG}")).complains(said);

    project.edit("graph.ron", "\"HZ=100\"", "\"HZ=100\", \"MODULE_SIG_KEY=\\\"\\\"\"");
    project.kiln("build").exits(0).never_says("equal inputs");
}

#[test]
fn a_token_that_signs_is_refused() {
    let project = Project::new();
    let kconfig = project.read("linux/Kconfig");
    project.write("linux/Kconfig", &(kconfig + &SIGNED.replace("certs/signing_key.pem", "pkcs11:token=a")));
    project.kiln("build").exits(1).complains("CONFIG_MODULE_SIG_KEY names a PKCS#11 token");
}

//! Configurations and fixups.

use std::fs;

use super::{PER, complaints, expect, matrix};
use crate::spec::load::load;

/// The complaints about one config, which the matrix uses.
fn about_config(config: &str) -> Vec<(&'static str, String)> {
    let graph = matrix("", &format!("configs: {{\"c\": ({config})}}")).replace("[\"defconfig\"]", "[\"c\"]");
    complaints(&graph, &[("r", PER)])
}

#[test]
fn a_config_starts_from_targets_of_kbuild_in_turn() {
    expect(&about_config("base: [\"defconfig\", \"kvm_guest.config\"]"), &[]);
    expect(&about_config("base: []"), &[("empty-list", "`base` is empty")]);
    expect(&about_config("base: 7"), &[("wrong-type", "a kbuild target, or a list of them")]);
    expect(&about_config("base: [\"defconfig\", \"all\"]"), &[("dangling-reference", "`all`")]);
    expect(
        &about_config("base: \"kvm_guest.config\""),
        &[(
            "bad-base",
            "there is nothing yet to merge it into | begin with a target that makes a configuration: `base: [\"defconfig\", \"kvm_guest.config\"]`",
        )],
    );
    let direct = matrix("", "").replace("[\"defconfig\"]", "[\"kvm_guest.config\"]");
    expect(
        &complaints(&direct, &[]),
        &[("bad-base", "write `\"kvm_guest\": (base: [\"defconfig\", \"kvm_guest.config\"])` in `configs`")],
    );
}

#[test]
fn a_random_configuration_has_a_seed_and_no_other_has() {
    expect(&about_config("base: \"randconfig\", seed: 7"), &[]);
    expect(&about_config("base: [\"randconfig\", \"kvm_guest.config\"], seed: 0"), &[]);
    expect(
        &about_config("base: \"randconfig\""),
        &[("missing-seed", "another configuration each time | write `seed: 7`")],
    );
    expect(
        &about_config("base: \"allnoconfig\", seed: 7"),
        &[("idle-seed", "only `randconfig` goes by a seed")],
    );
    expect(&about_config("base: \"randconfig\", seed: -1"), &[("out-of-range", "-1")]);
    let help = "write `\"random-7\": (base: \"randconfig\", seed: 7)` in `configs`";
    let direct = matrix("", "").replace("[\"defconfig\"]", "[\"randconfig\"]");
    expect(&complaints(&direct, &[]), &[("missing-seed", help)]);
    let include =
        "include: [(source: \"linux\", arch: \"amd64\", defconfig: \"randconfig\", toolchain: \"gcc\")]";
    expect(&complaints(&matrix(include, ""), &[]), &[("missing-seed", help)]);
    // To leave out is not to build.
    expect(&complaints(&matrix("exclude: [(defconfig: \"randconfig\")]", ""), &[]), &[("idle-exclude", "")]);
}

#[test]
fn one_list_does_not_contradict_itself() {
    let two = [("contradiction", "`A` is set to two values in one list | take one out")];
    expect(&complaints(&matrix("fixups: [\"A=y\", \"B=y\", \"CONFIG_A=n\"]", ""), &[]), &two);
    expect(&complaints(&matrix("fixups: [Optional(\"A=y\"), \"# CONFIG_A is not set\"]", ""), &[]), &two);
    expect(&about_config("base: \"defconfig\", fixups: [\"A=y\", \"A=m\"]"), &two);
    let named = |list: &str| matrix("fixups: [\"@l\", \"A=n\"]", &format!("fixups: {{\"l\": [{list}]}}"));
    expect(&complaints(&named("\"A=1\", \"A=2\""), &[]), &two);
    // Twice the same, and what comes after a list or over a preset.
    expect(&complaints(&named("\"A=y\", \"A=y\""), &[]), &[]);
    let preset = "presets: {\"p\": (fixups: [\"A=y\"])}";
    expect(&complaints(&matrix("extends: [\"p\"], fixups: [\"A=n\"]", preset), &[]), &[]);
}

#[test]
fn a_contradiction_shows_both_places() {
    let dir = tempfile::tempdir().unwrap();
    let graph = matrix("fixups: [\"A=y\", \"A=n\"]", "");
    fs::write(dir.path().join("graph.ron"), format!("(version: 1, {graph})")).unwrap();
    let found = load(dir.path()).diagnostics;
    let labels: Vec<&str> = found[0].labels.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(labels, ["`A=n` here", "`A=y` here"]);
}

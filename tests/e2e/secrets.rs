//! Private keys: a step that asks for one sees it, and it gets nowhere else.

use std::fs;
use std::path::Path;

use crate::support::project::Project;

/// No real one: random bytes in the form of a key.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB1L9RIvNEVUxTveLruM0rfj\n\
0WAK1jHDhaXXzOI8d4VFmtvBtMkA/+SNV1tdpcY4BAEl9l2w/j4kSUt26phkV9mG\n\
CE/tCLl4r019GWp0RqhrWACeY2thHbFiEbZamq3/KcXlLZxQjFAjRzRNjAetkcvW\n\
Bor8df9ikvBioJyjgcieced7mprp4wsNvbb1EKJk753ngVAde2uSronrBZxat0Pb\n\
Z1humPrSfaC5lovAOaHvNMk5ubjlI6i++J1HhgjF7PbKNYdY9tJ+bPRScpN5d6dI\n\
/Yg5HbZ5ztp9x78fAF7oeb7q13mUz1czQewXtYu/frNNJxHJk8HZdrEosxiNwYKa\n\
K0w0L1Qz6+WRodp34BPRtyR1Vi1IV43Ki4S6xmUcPLkBukcZyAtv6RGwkafAUSS2\n\
Tu7Olk4JwFjvj5gF2spUa+fPRqB4/tT6/QteOv8USAK4U/iuRZpPDBSt0zFLfMOm\n\
-----END PRIVATE KEY-----\n";

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nQUFBQQ==\n-----END CERTIFICATE-----\n";

const GRAPH: &str = r#"(
    version: 1,
    module_keys: { "release": (certificate: "keys/release.pem", key: Env("KEY_OF_MODULES")) },
    actions: { "it": (rule: "sign") },
)"#;

/// A project with an action that is shown the key.
fn project(script: &str, more: &str) -> Project {
    let project = Project::with_graph(GRAPH).with_variables([("KEY_OF_MODULES", KEY)]);
    project.write("keys/release.pem", CERTIFICATE);
    project.write(
        "rules/sign.ron",
        &format!(
            "(version: 1, inputs: {{ \"key\": ModuleKey(\"release\") }}, steps: [[\"sh\", \"-c\", {script:?}]], \
             outputs: {{ \"made\": File(\"made\") }}, export: \"it\", {more} \
             tools: [\"sh\", \"stat\", \"cat\", \"sed\", \"base64\", \"mkdir\", \"wc\"])"
        ),
    );
    project
}

/// A part of the key, as bytes and as text, is in none of the files below a directory.
#[track_caller]
fn is_nowhere_in(dir: &Path) {
    let line = KEY.lines().nth(2).unwrap();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.is_file() {
                let bytes = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(line) && !text.contains("PRIVATE KEY"), "{}", path.display());
            }
        }
    }
}

#[test]
fn a_step_sees_the_key_in_memory_and_its_public_part_alone_counts() {
    let look = "stat -c '%a %u %g' {in.key} >made; stat -f -c %T {in.key} >>made; sed 1d {in.key} | wc -l >>made; \
                sed -n '/CERTIFICATE/,$p' {in.key} >>made";
    let project = project(look, "");
    project.build("").exits(0).runs(&["sign:it"]);
    let lines = KEY.lines().count() + CERTIFICATE.lines().count() - 1;
    assert_eq!(project.read("out/it/made"), format!("400 0 0\ntmpfs\n{lines}\n{CERTIFICATE}"));
    is_nowhere_in(&project.path(""));

    // Another private key of the same certificate signs the same way; without one, what was made still counts.
    let project = project.with_variables([("KEY_OF_MODULES", "")]);
    project.plan("").has_nothing_to_do();
    project.write("keys/release.pem", &CERTIFICATE.replace("QUFB", "QkJC"));
    assert!(project.plan("").reasons("sign:it").contains("keys/release.pem"));
    let said = project.kiln("build").exits(4);
    said.complains("the private key is not here: KEY_OF_MODULES is not set");
}

#[test]
fn a_key_that_a_step_copies_goes_nowhere() {
    for (script, place) in [
        ("cat {in.key}; echo >made", "log"),
        ("cat {in.key} >made", "out/made"),
        (
            "echo >made; mkdir dir; sed -n '2,/^---/p' {in.key} | sed '/^---/d' | base64 -d >dir/bytes",
            "out/dir/bytes",
        ),
    ] {
        let project = project(script, "incremental: Kbuild,");
        let said = project.kiln("build").exits(1);
        said.complains(&format!("{place} holds the private key: nothing is kept of this run"));
        is_nowhere_in(&project.path("cache"));
        assert!(!project.exists("out/it/made"));
    }
}

#[test]
fn an_output_directory_with_a_generated_key_is_not_kept() {
    let script = format!("mkdir certs; echo '{}' >certs/signing_key.pem; echo >made", KEY.trim());
    let project = Project::with_rule(
        "kernel",
        &format!(
            "(version: 1, inputs: {{ \"file\": File(\"file\") }}, steps: [[\"sh\", \"-c\", {script:?}]], \
             outputs: {{ \"made\": File(\"made\") }}, incremental: Kbuild, tools: [\"sh\", \"mkdir\"])"
        ),
    );
    project.write("file", "");
    let said = project.kiln("build").exits(0);
    said.complains("its output directory is not kept: certs/signing_key.pem is a private key");
    assert_eq!(fs::read_dir(project.path("cache/kept")).map_or(0, Iterator::count), 0);
}

#[test]
fn what_can_not_be_a_key_is_told_without_showing_it() {
    let project = project("echo >made", "");
    let refuse = |key: &str, why: &str| {
        let run = project.command("build").env("KEY_OF_MODULES", key).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(4), "{said}");
        assert!(said.contains(why) && !said.contains("QUFB"), "{said}");
    };
    refuse("QUFBQQ==", "is none in PEM");
    refuse("pkcs11:token=QUFBQQ", "PKCS#11");
    refuse(&KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"), "passphrase");
    project.write("keys/release.pem", KEY);
    refuse(KEY, "it holds a private key");

    project.edit("graph.ron", "Env(\"KEY_OF_MODULES\")", "File(\"pkcs11:token=a\")");
    project.kiln("build").exits(2).complains("a PKCS#11 token can't sign modules here");
    project.edit("graph.ron", "File(\"pkcs11:token=a\")", "File(\"key\")");
    project.edit("rules/sign.ron", "ModuleKey(\"release\")", "ModuleKey(\"releese\")");
    project.kiln("build").exits(2).complains("there is no key of modules `releese`");
}

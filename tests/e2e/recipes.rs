//! The recipes for CI systems, as they are described.

use std::process::Command;

use crate::support::project::{Project, repository};

#[test]
fn the_recipes_do_what_they_say() {
    let project = Project::new();
    let mut script = Command::new(repository("scripts/try-recipes.sh"));
    script.arg(project.path("")).arg(env!("CARGO_BIN_EXE_kiln")).env_remove("MAKEFLAGS");
    let output = script.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout).matches(": as described").count(), 5);
}

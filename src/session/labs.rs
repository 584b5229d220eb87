//! The LAVA labs of a project, and the files that are published for them.

use std::time::SystemTime;

use super::secrets::Secrets;
use crate::kinds::lava_job::{Labs, OnInterrupt};
use crate::lab::publish::Publisher;
use crate::spec::model::Spec;

/// The LAVA labs of a project. None of them is contacted yet.
pub fn labs<'a>(
    spec: &'a Spec,
    secrets: Secrets<'a>,
    on_interrupt: impl Fn() -> OnInterrupt + Send + Sync + 'a,
) -> Labs<'a> {
    Labs::new(spec, move |lab| secrets.lab_token(lab), on_interrupt)
}

/// Removes files that were published for labs and have not been used for longer than the spec keeps them.
pub fn sweep_published(spec: &Spec) -> Result<(), String> {
    let Some(publish) = &spec.project.publish else { return Ok(()) };
    let publisher = Publisher::new(&spec.root.join(&publish.dir), &publish.url);
    publisher
        .sweep(publish.age, SystemTime::now())
        .map(|_| ())
        .map_err(|error| format!("old files that were published for labs stay: {error}"))
}

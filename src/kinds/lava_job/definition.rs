//! A job's definition: publishes the files that the lab fetches, and renders the template.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Booted;
use super::labs::LabClient;
use super::no_result::NoResult;
use crate::digest::Digest;
use crate::exec::Job;
use crate::graph::{Action, BuildId, Input};
use crate::lab::definition::{
    Content, Settings, Template, TestVariables, Variables, Visibility, git, inline, prompt, render,
};
use crate::lab::publish::Publisher;
use crate::spec::model::{self, AttrValue, DefinitionFrom, LavaLab, Spec, Test};
use crate::store::{Artifact, Blob, Store};

/// The longest job name that LAVA accepts, in bytes.
const MAX_NAME: usize = 200;

/// The job timeout without its test, where the template sets none.
const DEFAULT_JOB_TIMEOUT: Duration = Duration::from_mins(30);

/// A unique job name: the node for people, and a nonce by which kiln finds the job again.
pub(super) fn job_name(job: &Job<'_>) -> String {
    let mut nonce = [0; 8];
    // Without randomness the name could repeat; the key still separates different jobs.
    let _ = getrandom::fill(&mut nonce);
    let id = format!("{}-{:016x}", &job.key.to_string()[..12], u64::from_be_bytes(nonce));
    let room = MAX_NAME - id.len() - 6;
    let node: String = job.node.chars().take(room).collect();
    format!("kiln {node} {id}")
}

/// The definition of a job for a lab. Publishes the files that it names.
pub(super) fn define(
    spec: &Spec,
    job: &Job<'_>,
    booted: Booted<'_>,
    lab: &LabClient<'_>,
    name: &str,
) -> Result<String, NoResult> {
    let publisher = publisher(spec).map_err(NoResult::Infra)?;
    let publish = |file: &PublishedFile<'_>| {
        let PublishedFile { path, size, sha256, name } = *file;
        let url = publisher.put(path, size, sha256, name).map_err(|error| error.to_string())?;
        publisher.check(&url, size, lab.spec.timeout).map_err(|error| error.to_string())?;
        Ok(url)
    };
    let mut inputs = BTreeMap::new();
    for (input, declared) in &job.action.inputs {
        if let Input::Output(_) = declared {
            inputs.insert(&**input, (job.input)(input)?);
        }
    }
    let input = |name: &str| inputs.get(name).copied().unwrap_or(Artifact::Absent);
    let files = Files { store: job.store, input: &input, url: &publish };
    let subject = Subject { node: job.node, action: job.action, key: Some(job.action_key), name };
    definition(spec, &subject, booted, lab.spec, &files).map_err(NoResult::Infra)
}

/// A job to render without submitting it.
pub struct Draft<'a> {
    /// The node.
    pub node: &'a str,
    /// Its action.
    pub action: &'a Action,
    /// Its action key, if known.
    pub action_key: Option<&'a Digest>,
    /// The lab; by default the first of the board.
    pub lab: Option<&'a str>,
    /// The store with its files.
    pub store: &'a Store,
    /// The artifact of an input.
    pub input: &'a dyn Fn(&str) -> Artifact,
}

/// The definition that a lab would receive. Publishes nothing and sends no request.
pub fn draft(spec: &Spec, draft: &Draft<'_>) -> Result<String, String> {
    let booted = Booted::of(spec, draft.action).ok_or("its board or its test is not in the spec")?;
    let lab = draft.lab.or_else(|| booted.board.labs.first().map(String::as_str)).unwrap_or_default();
    let lab = match spec.project.labs.get(lab) {
        Some(model::Lab::Lava(lab))
            if booted.board.labs.iter().any(|of| Some(of.as_str()) == draft.lab) || draft.lab.is_none() =>
        {
            lab
        }
        _ => return Err(format!("{lab} is no LAVA lab of the board's")),
    };
    let publisher = publisher(spec)?;
    let url = |file: &PublishedFile<'_>| Ok(publisher.url(file.sha256, file.name));
    let files = Files { store: draft.store, input: draft.input, url: &url };
    let subject =
        Subject { node: draft.node, action: draft.action, key: draft.action_key, name: "kiln (a draft)" };
    definition(spec, &subject, booted, lab, &files)
}

/// The node that a definition is for.
struct Subject<'a> {
    node: &'a str,
    action: &'a Action,
    key: Option<&'a Digest>,
    name: &'a str,
}

/// The files of a job: where they are stored, and the URLs to publish them at.
struct Files<'a> {
    store: &'a Store,
    input: &'a dyn Fn(&str) -> Artifact,
    url: &'a dyn Fn(&PublishedFile<'_>) -> Result<String, String>,
}

/// A file that a lab fetches.
struct PublishedFile<'a> {
    path: &'a Path,
    size: u64,
    sha256: &'a str,
    name: &'a str,
}

fn definition(
    spec: &Spec,
    subject: &Subject<'_>,
    booted: Booted<'_>,
    lab: &LavaLab,
    files: &Files<'_>,
) -> Result<String, String> {
    let board = booted.board;
    let dtb = match &board.dtb {
        Some(path) => Some(files.dtb(path)?),
        None => None,
    };
    let variables = Variables {
        image: files.content("image", (files.input)("image"))?.ok_or("the kernel has made no such image")?,
        dtb,
        modules: files.content("modules", (files.input)("modules"))?,
        rootfs: files.content("rootfs", (files.input)("rootfs"))?,
        board: board.attrs.iter().map(|(name, value)| (name.clone(), attribute(value))).collect(),
        device_type: board.device_type.clone(),
        test: test_variables(spec, booted.test)?,
    };
    let path = subject.action.inputs.iter().find_map(|(name, input)| match input {
        Input::File(path) if &**name == "template" => Some(path),
        _ => None,
    });
    let path = path.ok_or("the rule has no input `template`, which is the board's `job`")?;
    let text = read(spec, path)?;
    let build = subject.action.build.as_ref().map(BuildId::to_string).unwrap_or_default();
    let mut metadata =
        BTreeMap::from([("kiln-node".to_owned(), subject.node.to_owned()), ("kiln-build".to_owned(), build)]);
    metadata.extend(subject.key.map(|key| ("kiln-action-key".to_owned(), key.to_string())));
    let settings = Settings {
        job_name: subject.name.to_owned(),
        priority: lab.priority,
        visibility: match &lab.visibility {
            model::Visibility::Public => Visibility::Public,
            model::Visibility::Personal => Visibility::Personal,
            model::Visibility::Group(group) => Visibility::Group(group.clone()),
        },
        tags: lab.tags.iter().cloned().chain(board.tags.iter().cloned()).collect(),
        metadata,
        queue: lab.queue,
        job: booted.test.time_limit() + DEFAULT_JOB_TIMEOUT,
    };
    let file = path.display().to_string();
    render(Template { file: &file, text: &text }, &variables, &settings).map_err(|error| error.to_string())
}

impl Files<'_> {
    /// An input that is a file. `None`: the input is absent.
    fn content(&self, name: &str, artifact: Artifact) -> Result<Option<Content>, String> {
        let (digest, size) = match artifact {
            Artifact::File { digest, size, .. } => (digest, size),
            Artifact::Absent => return Ok(None),
            Artifact::Tree { .. } => return Err(format!("{name} is a directory: a lab fetches files")),
        };
        let failed = |error: &dyn std::fmt::Display| format!("{name}: {error}");
        let sha256 = self.store.sha256(&digest, size).map_err(|error| failed(&error))?;
        let compression = compression(self.store, Blob { digest, size }).map_err(|error| failed(&error))?;
        let path = self.store.path_of(&digest);
        let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        // LAVA unpacks by file name suffix.
        let name = match compression {
            Some(suffix) if !name.ends_with(suffix) => format!("{name}.{suffix}"),
            _ => name.to_owned(),
        };
        let fetched = PublishedFile { path: &path, size, sha256: &sha256, name: &name };
        let url = (self.url)(&fetched).map_err(|error| failed(&error))?;
        Ok(Some(Content { url, sha256, compression }))
    }

    /// The board's device tree from the kernel's outputs.
    fn dtb(&self, path: &Path) -> Result<Content, String> {
        let missing = || format!("the kernel has made no device tree {}", path.display());
        let Artifact::Tree { digest, .. } = (self.input)("dtbs") else { return Err(missing()) };
        let file = self.store.file_in(&digest, path).map_err(|error| format!("dtbs: {error}"))?;
        let name = path.file_name().map_or_else(|| "dtb".into(), |name| name.to_string_lossy());
        self.content(&name, file.unwrap_or(Artifact::Absent))?.ok_or_else(missing)
    }
}

fn publisher(spec: &Spec) -> Result<Publisher, String> {
    let publish =
        spec.project.publish.as_ref().ok_or("graph.ron has no `publish`: labs can't fetch anything")?;
    Ok(Publisher::new(&spec.root.join(&publish.dir), &publish.url))
}

fn test_variables(spec: &Spec, test: &Test) -> Result<TestVariables, String> {
    let mut variables = TestVariables { seconds: test.time_limit().as_secs(), ..TestVariables::default() };
    match test {
        Test::Console { marker, .. } => variables.prompts.push(prompt(marker)),
        Test::Login { .. } => variables.prompts.push("login:".to_owned()),
        Test::Lava { definitions, .. } => {
            for definition in definitions {
                let (name, params) = (&definition.name, &definition.params);
                variables.definitions.push(match &definition.from {
                    DefinitionFrom::Inline { path } => {
                        let text = read(spec, path)?;
                        let file = path.display().to_string();
                        inline(name, &file, &text, params).map_err(|error| error.to_string())?
                    }
                    DefinitionFrom::Git { url, rev, path } => git(name, url, rev, path, params),
                });
            }
        }
    }
    Ok(variables)
}

fn read(spec: &Spec, path: &Path) -> Result<String, String> {
    fs::read_to_string(spec.root.join(path)).map_err(|error| format!("{}: {error}", path.display()))
}

fn attribute(value: &AttrValue) -> Json {
    match value {
        AttrValue::Text(text) => json!(text),
        AttrValue::List(list) => json!(list),
    }
}

/// A file's compression by its magic bytes, in LAVA's words.
fn compression(store: &Store, blob: Blob) -> Result<Option<&'static str>, String> {
    let file: File = store.open_blob(&blob).map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    file.take(6).read_to_end(&mut head).map_err(|error| error.to_string())?;
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => Some("gz"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [b'B', b'Z', b'h', ..] => Some("bz2"),
        _ => None,
    })
}

//! Renders LAVA job definitions from the project's templates.
//!
//! A template is [Jinja](https://docs.rs/minijinja) and renders to a YAML mapping: a LAVA job without its name. kiln then sets
//! its own keys in the mapping, so that no template can omit them. Keys are sorted: equal jobs have equal texts.
//! `docs/lava.md` lists the variables of templates.

mod error;
mod template;
mod yaml;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use error::{DefinitionError, Location};

/// A template of the project.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// Its path, for messages.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// A file that the lab fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Its URL.
    pub url: String,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// Its compression in LAVA's words (`gz`, `xz`, `zstd`), if any.
    pub compression: Option<&'static str>,
}

/// The variables of a template. Absent files are `none`, which a template may test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variables {
    /// The kernel.
    pub image: Content,
    /// The board's device tree, if it has one.
    pub dtb: Option<Content>,
    /// The modules, packed as in a root file system.
    pub modules: Option<Content>,
    /// The user space.
    pub rootfs: Option<Content>,
    /// The board's attributes: strings and lists of strings.
    pub board: BTreeMap<String, Value>,
    /// The board's device type.
    pub device_type: String,
    /// The test.
    pub test: TestVariables,
}

/// The variables of a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TestVariables {
    /// The texts that end the boot, as LAVA's `prompts`, made by [`prompt`]. Empty for tests with definitions. LAVA waits for one
    /// of them twice, the second time after an empty line.
    pub prompts: Vec<String>,
    /// LAVA's `definitions`, made by [`inline`] and [`git`]. Empty for a boot test.
    pub definitions: Vec<Value>,
    /// The time limit of the boot or the definitions, in seconds.
    pub seconds: u64,
}

/// Who may see a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// The submitter and the lab's administrators.
    Personal,
    /// The members of a group.
    Group(String),
}

/// The values that kiln sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The unique name of the job.
    pub job_name: String,
    /// From 0 to 100.
    pub priority: u32,
    /// Who may see it.
    pub visibility: Visibility,
    /// Tags that a device must have, in addition to the template's.
    pub tags: Vec<String>,
    /// Metadata in addition to the template's.
    pub metadata: BTreeMap<String, String>,
    /// The queue timeout.
    pub queue: Duration,
    /// The job timeout, unless the template sets one.
    pub job: Duration,
}

/// Keys that only kiln may set.
const RESERVED: [&str; 4] = ["device_type", "job_name", "priority", "visibility"];

/// Renders the definition as YAML.
pub fn render(
    template: Template<'_>,
    variables: &Variables,
    settings: &Settings,
) -> Result<String, DefinitionError> {
    let filled = template::fill(template, variables)?;
    let mut job = yaml::mapping(template.file, &filled)?;
    for key in RESERVED {
        if job.contains_key(key) {
            return Err(DefinitionError::Reserved { file: template.file.to_owned(), key: key.to_owned() });
        }
    }
    set(&mut job, template.file, &variables.device_type, settings)?;
    yaml::write(&Value::Object(job))
}

/// Sets kiln's keys.
fn set(
    job: &mut Map<String, Value>,
    file: &str,
    device_type: &str,
    settings: &Settings,
) -> Result<(), DefinitionError> {
    job.insert("device_type".to_owned(), json!(device_type));
    job.insert("job_name".to_owned(), json!(settings.job_name));
    job.insert("priority".to_owned(), json!(settings.priority));
    let visibility = match &settings.visibility {
        Visibility::Public => json!("public"),
        Visibility::Personal => json!("personal"),
        Visibility::Group(group) => json!({"group": [group]}),
    };
    job.insert("visibility".to_owned(), visibility);

    let wrong =
        |key: &str, expected| DefinitionError::Shape { file: file.to_owned(), key: key.to_owned(), expected };
    let mut tags = match job.remove("tags") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(tags)) => tags,
        Some(_) => return Err(wrong("tags", "a list")),
    };
    tags.extend(settings.tags.iter().map(|tag| json!(tag)));
    let mut seen = Vec::new();
    tags.retain(|tag| {
        !seen.contains(tag) && {
            seen.push(tag.clone());
            true
        }
    });
    if !tags.is_empty() {
        job.insert("tags".to_owned(), Value::Array(tags));
    }
    let metadata = part(job, "metadata").ok_or_else(|| wrong("metadata", "a mapping"))?;
    metadata.extend(settings.metadata.iter().map(|(name, value)| (name.clone(), json!(value))));
    let timeouts = part(job, "timeouts").ok_or_else(|| wrong("timeouts", "a mapping"))?;
    if timeouts.contains_key("queue") {
        return Err(DefinitionError::Reserved { file: file.to_owned(), key: "timeouts.queue".to_owned() });
    }
    timeouts.insert("queue".to_owned(), time(settings.queue));
    timeouts.entry("job").or_insert_with(|| time(settings.job));
    Ok(())
}

/// A nested mapping of the job, created if absent; `None` if the key has another type.
fn part<'j>(job: &'j mut Map<String, Value>, key: &str) -> Option<&'j mut Map<String, Value>> {
    match job.entry(key).or_insert_with(|| json!({})) {
        Value::Object(part) => Some(part),
        other if other.is_null() => {
            *other = json!({});
            other.as_object_mut()
        }
        _ => None,
    }
}

/// A duration in LAVA's form: whole seconds, at least one.
fn time(duration: Duration) -> Value {
    json!({"seconds": duration.as_secs().max(1)})
}

/// A test definition that is sent with the job, with values for its declared parameters.
pub fn inline(
    name: &str,
    file: &str,
    text: &str,
    params: &BTreeMap<String, String>,
) -> Result<Value, DefinitionError> {
    let mut definition = yaml::mapping(file, text)?;
    let shape =
        |key: &str, expected| DefinitionError::Shape { file: file.to_owned(), key: key.to_owned(), expected };
    if !definition.get("run").is_some_and(Value::is_object) {
        return Err(shape("run", "a mapping, with the `steps` of the test"));
    }
    // LAVA requires these keys.
    let metadata = part(&mut definition, "metadata").ok_or_else(|| shape("metadata", "a mapping"))?;
    for (key, value) in [("name", name), ("description", name), ("format", "Lava-Test Test Definition 1.0")] {
        metadata.entry(key).or_insert_with(|| json!(value));
    }
    let settings = assignments(&mut definition, file, params)?;
    for key in ["install", "run"] {
        if let Some(Value::Array(steps)) = definition.get_mut(key).and_then(|part| part.get_mut("steps")) {
            steps.splice(0..0, settings.iter().cloned());
        }
    }
    Ok(json!({
        "from": "inline",
        "name": name,
        "path": format!("inline/{name}.yaml"),
        "repository": definition,
    }))
}

/// Replaces the parameters of a definition by shell steps that set them. LAVA does the same, but its two schemas do not agree
/// on a key for the parameters of inline definitions.
fn assignments(
    definition: &mut Map<String, Value>,
    file: &str,
    params: &BTreeMap<String, String>,
) -> Result<Vec<Value>, DefinitionError> {
    let mut declared = BTreeMap::new();
    for key in ["params", "parameters"] {
        let wrong =
            |expected| DefinitionError::Shape { file: file.to_owned(), key: key.to_owned(), expected };
        match definition.remove(key) {
            None | Some(Value::Null) => {}
            Some(Value::Object(of_key)) => {
                for (param, default) in of_key {
                    let named = param.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    if !named || param.is_empty() || param.starts_with(|c: char| c.is_ascii_digit()) {
                        return Err(wrong("a mapping of names that a shell can have for variables"));
                    }
                    let default = match default {
                        Value::String(text) => text,
                        Value::Null => String::new(),
                        Value::Bool(_) | Value::Number(_) => default.to_string(),
                        Value::Array(_) | Value::Object(_) => {
                            return Err(wrong("a mapping of names to texts"));
                        }
                    };
                    declared.insert(param, default);
                }
            }
            Some(_) => return Err(wrong("a mapping")),
        }
    }
    for (param, value) in params {
        let Some(declared) = declared.get_mut(param) else {
            return Err(DefinitionError::Parameter { file: file.to_owned(), param: param.clone() });
        };
        declared.clone_from(value);
    }
    let quoted = |value: &str| value.replace('\'', r"'\''");
    Ok(declared.iter().map(|(param, value)| json!(format!("{param}='{}'", quoted(value)))).collect())
}

/// A test definition that the lab fetches from git at a commit.
pub fn git(name: &str, url: &str, rev: &str, path: &str, params: &BTreeMap<String, String>) -> Value {
    let mut entry = json!({"from": "git", "name": name, "path": path, "repository": url, "revision": rev});
    if !params.is_empty() {
        entry["parameters"] = json!(params);
    }
    entry
}

/// A text as a LAVA prompt, which is a regular expression.
pub fn prompt(text: &str) -> String {
    let mut prompt = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.^$*+?{}[]|()".contains(c) {
            prompt.push('\\');
        }
        prompt.push(c);
    }
    prompt
}

#[cfg(test)]
mod tests;

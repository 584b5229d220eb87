//! Job definitions: a template of the project, filled in with where the lab finds what it boots, and with what only kiln knows.
//!
//! A template is [Jinja](https://docs.rs/minijinja), and comes to a YAML mapping: a LAVA job without its name. What kiln sets in
//! it is set afterwards, in the mapping, so that no template can forget it. The result has a stable order: equal jobs are equal
//! texts. What a template may use is in `docs/lava.md`.

mod error;
mod template;
mod yaml;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use error::{DefinitionError, Place};

/// A template of the project.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// Where it is, for messages.
    pub file: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// Something that the lab fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Where from.
    pub url: String,
    /// What it must hash to, in hex.
    pub sha256: String,
    /// How it is packed, by LAVA's word (`gz`, `xz`, `zstd`); none for what is not.
    pub compression: Option<&'static str>,
}

/// What a template can use. What is not there is none, and a template may ask for that.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variables {
    /// The kernel.
    pub image: Content,
    /// Its device tree, of a board that has one.
    pub dtb: Option<Content>,
    /// Its modules, packed as a root file system has them.
    pub modules: Option<Content>,
    /// The user space.
    pub rootfs: Option<Content>,
    /// The board's attributes: texts and lists of texts.
    pub board: BTreeMap<String, Value>,
    /// The board's device type.
    pub device_type: String,
    /// The test.
    pub test: TestVariables,
}

/// What a template can use of a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TestVariables {
    /// What the boot has to come to, as LAVA's `prompts`, made by [`prompt`]: empty where the definitions tell. LAVA waits for
    /// one of them twice, the second time after an empty line.
    pub prompts: Vec<String>,
    /// As LAVA's `definitions`, made by [`inline`] and [`git`]: empty for a boot test.
    pub definitions: Vec<Value>,
    /// How long the boot, or the definitions, may take.
    pub seconds: u64,
}

/// Who sees a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Whoever submits it, and those who run the lab.
    Personal,
    /// The members of a group.
    Group(String),
}

/// What kiln sets, whatever the template says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By which the job is found again.
    pub job_name: String,
    /// From 0 to 100.
    pub priority: u32,
    /// Who sees it.
    pub visibility: Visibility,
    /// Tags that a device must have. Those of the template are added.
    pub tags: Vec<String>,
    /// What the job is of. Added to the template's.
    pub metadata: BTreeMap<String, String>,
    /// How long it may wait for a device.
    pub queue: Duration,
    /// How long all of it may take, where the template does not say.
    pub job: Duration,
}

/// What a template must leave to kiln.
const OURS: [&str; 4] = ["device_type", "job_name", "priority", "visibility"];

/// The definition, as YAML.
pub fn render(
    template: Template<'_>,
    variables: &Variables,
    settings: &Settings,
) -> Result<String, DefinitionError> {
    let filled = template::fill(template, variables)?;
    let mut job = yaml::mapping(template.file, &filled)?;
    for key in OURS {
        if job.contains_key(key) {
            return Err(DefinitionError::Ours { file: template.file.to_owned(), key: key.to_owned() });
        }
    }
    set(&mut job, template.file, &variables.device_type, settings)?;
    yaml::write(&Value::Object(job))
}

/// Sets what kiln sets.
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
        return Err(DefinitionError::Ours { file: file.to_owned(), key: "timeouts.queue".to_owned() });
    }
    timeouts.insert("queue".to_owned(), time(settings.queue));
    timeouts.entry("job").or_insert_with(|| time(settings.job));
    Ok(())
}

/// A part of the job that is a mapping, made where it is not there; `None` where it is something else.
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

/// A duration as LAVA has it: whole seconds, and at least one.
fn time(duration: Duration) -> Value {
    json!({"seconds": duration.as_secs().max(1)})
}

/// A test definition that is sent with the job, from the text of its file, with values for the parameters that it declares.
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
    // LAVA wants these, and they say nothing that is not known.
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

/// The parameters of a definition, taken out of it, as steps of the shell that set them. LAVA would do the same, but of what is sent
/// with a job its two schemas allow for no parameters that both know.
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

/// A test definition that the lab fetches, at a commit.
pub fn git(name: &str, url: &str, rev: &str, path: &str, params: &BTreeMap<String, String>) -> Value {
    let mut entry = json!({"from": "git", "name": name, "path": path, "repository": url, "revision": rev});
    if !params.is_empty() {
        entry["parameters"] = json!(params);
    }
    entry
}

/// A text as one of LAVA's prompts, which are regular expressions.
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

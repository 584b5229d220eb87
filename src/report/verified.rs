//! The result of `kiln verify`, as text and as JSON. The schema is in `docs/verify.md`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::difference::Differences;
use super::style::{Style, duration};
use crate::digest::Digest;

/// The version of the schema. It is raised when a field is removed or changes its meaning, not when one is added.
const VERSION: u32 = 1;

/// The verification of a node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifiedNode {
    /// Its name.
    pub name: String,
    /// The result.
    pub result: Comparison,
    /// An explanation in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last lines of the log, if the clean run did not pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
    /// The duration of the clean run, if there was one.
    #[serde(rename = "seconds", serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Its outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<VerifiedOutput>,
}

/// A recorded output and the same output of the clean run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifiedOutput {
    /// Its name.
    pub name: String,
    /// The digest of the recorded output, if there is one.
    pub recorded: Option<Digest>,
    /// The digest of the clean output, if there is one.
    pub clean: Option<Digest>,
    /// The differences, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Differences>,
}

/// The result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// The clean run made the same bits.
    Same,
    /// It made other bits.
    Differs,
    /// It failed.
    Failed,
    /// The machine failed, or the run was stopped.
    Infra,
    /// There is no result for the present inputs.
    Stale,
    /// It is not compared.
    Skipped,
}

impl Comparison {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Failed => "failed",
            Self::Infra => "infra",
            Self::Stale => "stale",
            Self::Skipped => "skipped",
        }
    }
}

/// All nodes as text: one line each, and the differences.
pub fn verified_text(nodes: &[VerifiedNode], quiet: bool, style: Style) -> String {
    let mut text = String::new();
    for node in nodes {
        let word = format!("{:<7}", node.result.as_str());
        let word = match node.result {
            Comparison::Same | Comparison::Skipped if quiet => continue,
            Comparison::Same => style.good(word),
            Comparison::Skipped => style.dim(word),
            Comparison::Stale => style.warn(word),
            Comparison::Differs | Comparison::Failed | Comparison::Infra => style.bad(word),
        };
        let time = node.duration.map_or_else(String::new, |time| format!(" in {}", duration(time)));
        let message = node.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        text.push_str(&format!("{word} {}{time}{message}\n", node.name));
        for line in &node.log_tail {
            text.push_str(&format!("        {} {line}\n", style.dim("|")));
        }
        for output in &node.outputs {
            let Some(differences) = &output.differences else { continue };
            text.push_str(&format!("        {}\n", style.bold(&output.name)));
            for line in differences.lines() {
                text.push_str(&format!("          {line}\n"));
            }
        }
    }
    text
}

/// The number of nodes by result: `2 same, 1 differs`.
pub fn verified_counts(nodes: &[VerifiedNode]) -> String {
    let parts = counts(nodes).into_iter().filter(|(_, count)| *count > 0);
    parts.map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// All nodes as JSON.
pub fn verified_json(nodes: &[VerifiedNode]) -> Value {
    let totals: serde_json::Map<String, Value> =
        counts(nodes).into_iter().map(|(word, count)| (word.to_owned(), count.into())).collect();
    json!({ "version": VERSION, "nodes": nodes, "totals": totals })
}

fn counts(nodes: &[VerifiedNode]) -> Vec<(&'static str, usize)> {
    use Comparison::{Differs, Failed, Infra, Same, Skipped, Stale};
    let count = |result| nodes.iter().filter(|node| node.result == result).count();
    [Same, Differs, Failed, Infra, Stale, Skipped].map(|result| (result.as_str(), count(result))).to_vec()
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0).serialize(serializer)
}

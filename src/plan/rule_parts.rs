//! The parts of a rule that decide what a run does: the first fields of the manifest of each of its nodes.

use crate::digest::{Digest, Domain, Hasher};
use crate::spec::model::{OutputShape, Rule, SystemCalls, Template};

/// The parts of a rule, and their digest.
#[derive(Debug)]
pub struct RuleParts {
    parts: Vec<(&'static str, String)>,
    digest: Digest,
}

impl RuleParts {
    /// The parts of a rule. Limits, retries and resources are none: a build that is given more time makes the same
    /// bits.
    pub fn of(rule: &Rule) -> Self {
        let parts = parts(rule);
        let mut hasher = Hasher::new(Domain::Rule);
        for (part, text) in &parts {
            hasher.text(part).text(text);
        }
        Self { digest: hasher.finish(), parts }
    }

    /// Each part by name, for explanations.
    pub fn parts(&self) -> &[(&'static str, String)] {
        &self.parts
    }

    /// The digest of all parts.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

fn parts(rule: &Rule) -> Vec<(&'static str, String)> {
    let steps = rule.steps.iter().map(|step| json(step.iter().map(Template::to_string)));
    let env = rule.env.iter().map(|(name, value)| json([name.clone(), value.to_string()]));
    let outputs = rule.outputs.iter().filter_map(|(name, output)| {
        let (shape, path) = match &output.shape {
            OutputShape::File(path) => ("file", path),
            OutputShape::Tree(path) => ("tree", path),
            OutputShape::Glob(path) => ("glob", path),
            // A report on the run is not made by its steps.
            OutputShape::Report(..) => return None,
        };
        let optional = if output.optional { "optional" } else { "required" };
        Some(json([name.clone(), shape.to_owned(), path.to_string(), optional.to_owned()]))
    });
    let mut parts = vec![
        ("kind", rule.kind.name().to_lowercase()),
        ("steps", lines(steps)),
        ("env", lines(env)),
        ("outputs", lines(outputs)),
        ("network", if rule.sandbox.network { "yes" } else { "no" }.to_owned()),
    ];
    if rule.sandbox.system_calls == SystemCalls::Unfiltered {
        parts.push(("system calls", "unfiltered".to_owned()));
    }
    // Earlier path sets rest on these claims: with other claims they no longer count.
    parts.extend(rule.discover.as_ref().map(|discover| {
        let lists = [&discover.inputs, &discover.unsearched];
        ("discover", json(lists.map(|list| json(list.iter().cloned()))))
    }));
    parts
}

/// A list of texts as JSON, so that `["a b"]` and `["a", "b"]` differ.
fn json(texts: impl IntoIterator<Item = String>) -> String {
    serde_json::to_string(&texts.into_iter().collect::<Vec<_>>()).expect("texts are JSON")
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::testing::spec;

    /// The digest of a rule with one step and these fields.
    fn digest(fields: &str) -> Digest {
        let rule = format!(r#"(version: 1, steps: [["cc", "-c", "{{in.a}}"]], {fields})"#);
        RuleParts::of(&spec("(version: 1)", &[("r", &rule)]).rules["r"]).digest()
    }

    #[test]
    fn what_a_run_does_counts_and_how_it_is_run_does_not() {
        for fields in [
            r#"doc: "text""#,
            r#"time_limit: "5min""#,
            "retries: 3",
            "resources: (cpu: 4, memory: \"1GiB\")",
            r#"export: "d""#,
            r#"outputs: {"log": Log("build.log")}"#,
        ] {
            assert_eq!(digest(fields), digest(""), "{fields}");
        }
        let mut seen = vec![digest("")];
        for fields in [
            r#"env: {"A": "1"}"#,
            r#"env: {"A": "2"}"#,
            r#"outputs: {"o": File("o")}"#,
            r#"outputs: {"o": Tree("o")}"#,
            r#"outputs: {"o": File(path: "o", optional: true)}"#,
            "kind: Config",
            "sandbox: (network: true)",
            "sandbox: (system_calls: Unfiltered)",
            r#"discover: (inputs: ["a"], by: [Fanotify])"#,
            r#"discover: (inputs: ["a"], by: [Fanotify], unsearched: ["*.h"])"#,
        ] {
            let digest = digest(fields);
            assert!(!seen.contains(&digest), "{fields}");
            seen.push(digest);
        }
    }
}

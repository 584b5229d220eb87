//! A plan and a build, read from kiln's JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::output::KilnOutput;

/// `kiln plan --format json`.
pub struct Plan(pub Value);

impl Plan {
    fn nodes(&self) -> &Vec<Value> {
        self.0["nodes"].as_array().unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.nodes().iter().any(|node| node["name"] == name)
    }

    pub fn node(&self, name: &str) -> &Value {
        let found = self.nodes().iter().find(|node| node["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}", self.0))
    }

    pub fn verdict(&self, name: &str) -> &str {
        self.node(name)["verdict"].as_str().unwrap()
    }

    pub fn verdicts(&self) -> BTreeMap<&str, &str> {
        self.nodes()
            .iter()
            .map(|node| (node["name"].as_str().unwrap(), node["verdict"].as_str().unwrap()))
            .collect()
    }

    /// The sentences that say why a node is stale or cached.
    pub fn reasons(&self, name: &str) -> String {
        let mut text = String::new();
        for reason in self.node(name)["reasons"].as_array().into_iter().flatten() {
            writeln!(text, "{}", reason["text"].as_str().unwrap()).unwrap();
        }
        text
    }

    #[track_caller]
    pub fn has_nothing_to_do(&self) {
        assert!(self.verdicts().values().all(|&verdict| verdict == "fresh"), "{:#?}", self.verdicts());
    }
}

/// `kiln build --format json-lines`.
pub struct Build {
    pub said: KilnOutput,
    events: Vec<Value>,
}

impl Build {
    pub fn new(said: KilnOutput) -> Self {
        let events = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { said, events }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.said.code, code, "{}", self.said);
        self
    }

    /// On standard error.
    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(self.said.err.contains(text), "no {text:?} in\n{}", self.said);
        self
    }

    /// On standard output or standard error.
    #[track_caller]
    pub fn mentions(self, text: &str) -> Self {
        Self { said: self.said.mentions(text), ..self }
    }

    pub fn events(&self) -> &[Value] {
        &self.events
    }

    fn nodes(&self, wanted: impl Fn(&Value) -> bool) -> Vec<&str> {
        let wanted = self.events.iter().filter(|event| wanted(event));
        let mut names: Vec<&str> = wanted.map(|event| event["node"].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Names of the nodes that ran, sorted.
    pub fn ran(&self) -> Vec<&str> {
        self.nodes(|event| event["event"] == "started")
    }

    /// Names of the nodes whose outputs came from the cache, sorted.
    pub fn restored(&self) -> Vec<&str> {
        self.nodes(|event| event["how"] == "restored")
    }

    /// How a node ended.
    #[track_caller]
    pub fn finished(&self, node: &str) -> &Value {
        let finished = |event: &&Value| event["event"] == "finished" && event["node"] == node;
        self.events.iter().find(finished).unwrap_or_else(|| panic!("{node} did not end in\n{}", self.said))
    }

    /// A figure of the summary.
    pub fn count(&self, figure: &str) -> u64 {
        let ended = self.events.iter().find(|event| event["event"] == "ended");
        ended.unwrap_or_else(|| panic!("no end in {}", self.said))[figure].as_u64().unwrap()
    }

    #[track_caller]
    pub fn runs(self, nodes: &[&str]) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        assert_eq!(self.ran(), nodes, "{}", self.said);
        self
    }

    #[track_caller]
    pub fn restores(self, nodes: &[&str]) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        assert_eq!(self.restored(), nodes, "{}", self.said);
        self
    }

    /// What was fresh is left alone, what was cached comes from the cache, what was stale runs: itself, or another
    /// node that does the very same. What was unknown may do any of these, and a failure may keep any from being done.
    #[track_caller]
    pub(super) fn keeps(&self, plan: &Plan) {
        let (ran, restored) = (self.ran(), self.restored());
        let key = |node: &str| plan.node(node)["strong-key"].as_str();
        for (node, verdict) in plan.verdicts() {
            let did = (ran.contains(&node), restored.contains(&node));
            let twin = || ran.iter().any(|&other| plan.has(other) && key(other) == key(node));
            let kept = match verdict {
                "fresh" | "blocked" => did == (false, false),
                "cached" => did == (false, true) || self.said.code != 0 && did == (false, false),
                "stale" if did == (false, true) => twin(),
                "stale" => did == (true, false) || self.said.code != 0 && did == (false, false),
                // Left where it is, fetched, or not to be had after all.
                "unknown" | "remote" => did != (true, true),
                other => panic!("{other}"),
            };
            assert!(kept, "{node} was planned as {verdict}; (ran, restored) = {did:?} in\n{}", self.said);
        }
    }
}

//! Findings: one fact about the host each.

/// The state of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is met.
    Fine,
    /// It is not met, and the project does not need it.
    Absent,
    /// Required but not installed.
    Missing,
}

/// A fact about the host.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// The subject.
    pub what: String,
    /// Its state.
    pub state: State,
    /// What was found.
    pub found: String,
    /// A command that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// A requirement that is met.
    pub fn fine(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Fine, found: found.into(), remedy: None }
    }
}

//! The outcome of pushing results.

use std::collections::BTreeSet;

use crate::remote::Pushed;
use crate::spec::show_size;

/// Why results are held back, and until when.
pub const HELD_BACK: &str =
    "held back: built by continuing, and `kiln verify --continued` has not made them from nothing";

/// The outcome of pushing results.
#[derive(Default)]
pub struct PushReport {
    /// The number of results that were sent.
    pub pushed: usize,
    /// The number that the remotes had already.
    pub known: usize,
    /// The number of bytes that were sent.
    pub bytes: u64,
    /// Results for which a remote had different outputs; each a message.
    pub differing: Vec<String>,
    /// Results that were not sent because of an error; each a message.
    pub failed: Vec<String>,
    /// The nodes whose results are held back: they were built by continuing, and are not verified.
    pub held_back: BTreeSet<String>,
}

impl PushReport {
    /// Adds the answer of a remote for the result of a node.
    pub(super) fn add(&mut self, node: &str, remote: &str, pushed: Pushed) {
        match pushed {
            Pushed::Known => self.known += 1,
            Pushed::Done { bytes } => {
                self.pushed += 1;
                self.bytes += bytes;
            }
            Pushed::Replaced { signed_by, outputs } => {
                self.pushed += 1;
                self.differing.push(format!(
                    "{node}: remote {remote} had other bits{} that were built by continuing: {}. They are replaced",
                    signer(signed_by),
                    outputs.join(", "),
                ));
            }
            Pushed::Differs { signed_by, outputs, evidence } => {
                self.differing.push(format!(
                    "{node}: remote {remote} has other bits{} for the same inputs: {}. Theirs stay; ours are kept there \
                     as {}. `kiln verify {node}` tells whether this machine makes the same bits twice",
                    signer(signed_by),
                    outputs.join(", "),
                    evidence.short(),
                ));
            }
        }
    }

    /// Everything that the user has to know of.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.differing.iter().chain(&self.failed).map(String::as_str)
    }

    /// The figures in one line.
    pub fn summary(&self) -> String {
        let counts = [
            (self.known, "there already"),
            (self.differing.len(), "with other bits"),
            (self.failed.len(), "failed"),
            (self.held_back.len(), HELD_BACK),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts = counts.map(|(count, what)| format!(", {count} {what}"));
        format!("pushed {} ({}){}", self.pushed, show_size(self.bytes), counts.collect::<String>())
    }
}

fn signer(signed_by: Option<impl std::fmt::Display>) -> String {
    signed_by.map(|key| format!(", signed by {key},")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn the_summary_counts_what_happened() {
        let mut report = PushReport::default();
        assert_eq!(report.summary(), "pushed 0 (0 B)");
        report.add("make:a", "ci", Pushed::Known);
        report.add("make:b", "ci", Pushed::Done { bytes: 2048 });
        let (signed_by, outputs) = (Some("ci-1".to_owned()), vec!["bzImage".to_owned()]);
        let evidence = Digest::of_bytes(b"evidence");
        report.add("make:c", "ci", Pushed::Differs { signed_by, outputs, evidence });
        report.held_back.insert("make:d".to_owned());
        let summary = report.summary();
        let expected = format!("pushed 1 (2.0 KiB), 1 there already, 1 with other bits, 1 {HELD_BACK}");
        assert_eq!(summary, expected);
        let warning = report.warnings().next().unwrap();
        assert!(warning.starts_with("make:c: remote ci has other bits, signed by ci-1, for"), "{warning}");
    }
}

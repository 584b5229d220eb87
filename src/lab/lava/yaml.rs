//! Parses a lab's YAML: job definitions and metadata of results. Bounded, as a few hundred bytes of aliases can expand to
//! gigabytes.

use serde::de::DeserializeOwned;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Options, alias_limits, budget, options};

/// Parses a document. The error is a short message.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str_with_options(text, bounds())
        .map_err(|error| crate::text::one_line(&error.to_string()))
}

fn bounds() -> Options {
    options! {
        // PyYAML, which LAVA uses, writes an alias for every repeated object.
        budget: budget! {
            max_events: 100_000,
            max_nodes: 50_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_depth: 32,
            max_documents: 1,
            max_total_scalar_bytes: 8 << 20,
        },
        alias_limits: alias_limits! { max_total_replayed_events: 10_000, max_replay_stack_depth: 8 },
        // As in PyYAML, the last of several equal keys counts.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn lavas_yaml_is_parsed() {
        let text = "case: http-download\ndefinition: lava\nduration: '0.05'\nextra: &id001\n- a\nlevel: 1.2.1\nmore: *id001\n";
        let read: Value = read(text).unwrap();
        assert_eq!(read["extra"], read["more"]);
        assert_eq!(read["level"], json!("1.2.1"));
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..20 {
            let line = format!("*a{}, ", n - 1).repeat(10);
            writeln!(bomb, "a{n}: &a{n} [{}]", line.trim_end_matches(", ")).unwrap();
        }
        assert!(read::<Value>(&bomb).is_err());
        assert!(read::<Value>(&"[".repeat(100_000)).is_err());
        assert!(read::<Value>(&"- ".repeat(100_000)).is_err());
        assert!(read::<Value>("a: [unclosed").is_err());
        assert!(read::<Value>("a: *nobody").is_err());
        assert!(read::<Value>("&a [*a]").is_err());
    }
}

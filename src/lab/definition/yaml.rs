//! YAML, as LAVA's server reads it: version 1.1, in which `yes` is a truth and `0777` is octal. Bounded, as a few hundred bytes
//! of aliases can stand for gigabytes.

use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Options, alias_limits, budget, options, ser_options};

use super::error::{DefinitionError, Location};

/// Parses a text that must be one mapping.
pub(super) fn mapping(file: &str, text: &str) -> Result<Map<String, Value>, DefinitionError> {
    let value: Value = serde_saphyr::from_str_with_options(text, bounds()).map_err(|error| {
        let at = error.location();
        let line = at.map_or(0, |at| usize::try_from(at.line()).unwrap_or(0));
        let column = at.and_then(|at| usize::try_from(at.column()).ok()?.checked_sub(1));
        let message = error.without_snippet().to_string();
        // The rest of the message repeats the location.
        let message = message.lines().next().unwrap_or_default().trim().to_owned();
        DefinitionError::Yaml { location: Location::of_line(file, text, line, column), message }
    })?;
    let found = match value {
        Value::Object(mapping) => return Ok(mapping),
        Value::Null => "empty",
        Value::Bool(_) | Value::Number(_) | Value::String(_) => "one value",
        Value::Array(_) => "a list",
    };
    Err(DefinitionError::NotAMapping { file: file.to_owned(), found })
}

/// A value as YAML that YAML 1.1 and 1.2 parsers read alike. Mappings are sorted by key.
pub(super) fn write(value: &Value) -> Result<String, DefinitionError> {
    // Long strings stay on one line, so that commands can be copied.
    let options = ser_options! { folded_wrap_chars: 1 << 20 };
    serde_saphyr::to_string_with_options(&sorted(value), options)
        .map_err(|error| DefinitionError::Unwritable(error.to_string()))
}

/// The value with sorted keys.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect()
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn bounds() -> Options {
    options! {
        budget: budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_depth: 64,
            max_documents: 1,
            max_total_scalar_bytes: 4 << 20,
        },
        alias_limits: alias_limits! { max_total_replayed_events: 20_000, max_replay_stack_depth: 16 },
        // A repeated key is a mistake.
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
    }
}

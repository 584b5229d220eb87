//! Filling in a template: strictly, and for a bounded time.

use std::collections::BTreeSet;
use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::error::{DefinitionError, Location};
use super::{Template, Variables};

/// The evaluation steps of a template. A template with a thousand definitions takes some ten thousand.
const FUEL: u64 = 1_000_000;

/// The largest rendered text, in bytes.
const LIMIT: usize = 1 << 20;

/// Renders a template.
pub(super) fn fill(template: Template<'_>, variables: &Variables) -> Result<String, DefinitionError> {
    let failed = |error: Error| failed(template, &error);
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // A block on a line of its own leaves no empty line.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?;
    environment.set_syntax(syntax);
    let parsed = environment.template_from_named_str(template.file, template.text).map_err(failed)?;
    let globals: BTreeSet<String> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    let used: BTreeSet<String> =
        parsed.undeclared_variables(true).into_iter().filter(|name| !globals.contains(root(name))).collect();
    unknown(template, variables, &used)?;
    let mut filled = Bounded(Vec::new());
    parsed.render_captured_to(Value::from(Serde(variables)), &mut filled).map_err(|error| {
        match error.kind() {
            ErrorKind::WriteFailure => {
                DefinitionError::TooLarge { file: template.file.to_owned(), limit: LIMIT }
            }
            _ => failed(error),
        }
    })?;
    unused(template, variables, &used)?;
    Ok(String::from_utf8_lossy(&filled.0).into_owned())
}

/// Reports unknown variables in all branches. Rendering would only find those in the branches that are taken.
fn unknown(
    template: Template<'_>,
    variables: &Variables,
    used: &BTreeSet<String>,
) -> Result<(), DefinitionError> {
    let offered = serde_json::to_value(variables).unwrap_or_default();
    let missing = used.iter().find(|name| {
        let mut value = Some(&offered);
        for part in name.split('.') {
            value = match value {
                // An absent variable may have attributes in other jobs: a kernel without modules, a board without a device tree.
                Some(value) if value.is_null() => return false,
                // Methods of strings and lists.
                Some(value) if !value.is_object() => return false,
                Some(value) => value.get(part),
                None => None,
            };
        }
        // A template may ask whether a board has an attribute.
        value.is_none() && !name.starts_with("board.")
    });
    let Some(name) = missing else { return Ok(()) };
    let location = match find_word(template.text, name) {
        Some(at) => Location::of_range(template.file, template.text, at..at + name.len()),
        None => Location::of_line(template.file, template.text, 0, None),
    };
    Err(DefinitionError::Template { location, message: format!("there is no variable `{name}`") })
}

/// The variables of the job that the template does not use.
fn unused(
    template: Template<'_>,
    variables: &Variables,
    used: &BTreeSet<String>,
) -> Result<(), DefinitionError> {
    let content = [
        ("image.url", true),
        ("dtb.url", variables.dtb.is_some()),
        ("modules.url", variables.modules.is_some()),
        ("rootfs.url", variables.rootfs.is_some()),
        ("test.definitions", !variables.test.definitions.is_empty()),
        ("test.prompts", !variables.test.prompts.is_empty()),
    ];
    let content = content.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
    let attributes = variables.board.keys().map(|name| format!("board.{name}"));
    // Using a variable uses its attributes.
    let is_used = |name: &str| used.contains(name) || used.contains(root(name)) || uses_below(used, name);
    let names: Vec<String> = content.chain(attributes).filter(|name| !is_used(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(DefinitionError::Unused { file: template.file.to_owned(), names })
}

/// Whether an attribute or a method of a variable is used.
fn uses_below(used: &BTreeSet<String>, name: &str) -> bool {
    used.iter().any(|used| used.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

fn root(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The position of a name as a whole word.
fn find_word(text: &str, name: &str) -> Option<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    text.match_indices(name).map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn failed(template: Template<'_>, error: &Error) -> DefinitionError {
    let location = match (error.range(), error.line()) {
        (Some(range), _) => Location::of_range(template.file, template.text, range),
        (None, line) => Location::of_line(template.file, template.text, line.unwrap_or(0), None),
    };
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => {
            format!("the template does not come to an end within {FUEL} steps")
        }
        (ErrorKind::UndefinedError, None) => "this has no value".to_owned(),
        (kind, None) => kind.to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
    };
    DefinitionError::Template { location, message }
}

/// A writer that fails above [`LIMIT`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LIMIT {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Boards that no build can ever boot.

use std::collections::HashMap;
use std::fs;

use super::Checker;
use crate::spec::declared::Project;
use crate::spec::diagnostic::Diagnostic;

/// Values of CONFIG symbols, without `CONFIG_`.
type Values = HashMap<String, String>;

impl Checker<'_, '_> {
    pub(super) fn boards(&mut self) {
        let project = &self.spec.project;
        if self.builds.is_empty() || project.boards.is_empty() {
            return;
        }
        let fragments = self.fragments(project);
        let values = self.builds.iter().map(|build| {
            let mut values = fragments.get(build.id.defconfig.as_str()).cloned().unwrap_or_default();
            // The value of an optional fixup is not known: it may be as the fixup says or as the fragments say.
            for (symbol, _) in build.fixups.iter().filter_map(|fixup| fixup.split_once('=')) {
                values.remove(symbol);
            }
            let pairs = build.required().filter_map(|fixup| fixup.split_once('='));
            values.extend(pairs.map(|(symbol, value)| (symbol.to_owned(), value.to_owned())));
            values
        });
        // Most builds of a matrix fix the same symbols.
        let mut distinct: Vec<Values> = Vec::new();
        for value in values {
            if !distinct.contains(&value) {
                distinct.push(value);
            }
        }
        for (name, board) in &project.boards {
            let requires = &board.value.requires;
            let known = |values: &Values, symbol: &str| {
                values.get(symbol.strip_prefix("CONFIG_").unwrap_or(symbol)).cloned()
            };
            if distinct.iter().any(|values| requires.value.possible(&|symbol| known(values, symbol))) {
                continue;
            }
            let message = format!("no build can ever match the board `{name}`");
            let diagnostic = Diagnostic::lint("board-never-matches", message);
            let label = "fixups and fragments of every build contradict this";
            let help = "add a build for it, or take the board out";
            self.diagnostics.push(diagnostic.label(requires.span, label).help(help));
        }
    }

    /// The settings in the fragments of each config.
    fn fragments<'p>(&self, project: &'p Project) -> HashMap<&'p str, Values> {
        let mut all = HashMap::new();
        for (name, config) in &project.configs {
            let mut values = Values::new();
            for fragment in &config.value.fragments {
                // One that can't be read was reported, or says nothing we know of.
                let text = fs::read_to_string(self.spec.root.join(&fragment.value)).unwrap_or_default();
                values.extend(text.lines().filter_map(fragment_line));
            }
            all.insert(name.as_str(), values);
        }
        all
    }
}

/// `CONFIG_X=v`, or `# CONFIG_X is not set`.
fn fragment_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if let Some(symbol) = line.strip_prefix("# CONFIG_") {
        return Some((symbol.strip_suffix(" is not set")?.to_owned(), "n".to_owned()));
    }
    let (symbol, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    Some((symbol.to_owned(), value.to_owned()))
}

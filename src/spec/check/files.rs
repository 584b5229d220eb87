//! Files of the project that the spec names. Source trees are not looked at: that they are missing is no mistake in
//! the spec.

use std::path::Path;

use super::Checker;
use super::params::stays_inside;
use crate::spec::declared::Input;
use crate::spec::diagnostic::{Diagnostic, Span};

impl Checker<'_, '_> {
    pub(super) fn files(&mut self) {
        let spec = self.spec;
        let fragments = spec.project.configs.values().flat_map(|config| &config.value.fragments);
        for fragment in fragments {
            self.exists(&fragment.value, fragment.span);
        }
        let templates = spec.project.boards.values().filter_map(|board| board.value.job.as_ref());
        let definitions = spec.project.tests.values().flat_map(|test| test.value.files());
        for file in templates.chain(definitions) {
            if let Some(path) = file.value.to_str().filter(|path| !stays_inside(path)) {
                self.path_inside(path, file.span);
            } else {
                self.exists(&file.value, file.span);
            }
        }
        for key in spec.project.module_keys.values() {
            let file = &key.value.certificate;
            match file.value.to_str().filter(|path| !stays_inside(path)) {
                Some(path) => self.path_inside(path, file.span),
                None => self.exists(&file.value, file.span),
            }
        }
        for rule in spec.rules.values() {
            for input in rule.value.inputs.values() {
                if let Input::File(path) = &input.value
                    && let Some(literal) = path.value.literal()
                {
                    self.exists(Path::new(literal), path.span);
                }
            }
        }
    }

    pub(super) fn exists(&mut self, path: &Path, span: Span) {
        let Err(error) = self.spec.root.join(path).metadata() else { return };
        let text = error.to_string();
        let why = text.split(" (os error").next().unwrap_or_default();
        let message = format!("can't find {}: {why}", path.display());
        let diagnostic = Diagnostic::error("missing-file", message).label(span, "not there");
        self.push(diagnostic.help("paths are relative to the directory of graph.ron"));
    }
}

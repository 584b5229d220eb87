//! Loading: `graph.ron`, what it imports, and `rules/*.ron`, to a [`Spec`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::check;
use super::declared::{self, Named, Project, Rule};
use super::decode::{CacheDecl, Context, Decode, Document};
use super::diagnostic::Spanned;
use super::diagnostic::{Diagnostic, SECRET, Severity, Sources, Span};
use super::lower::lower;
use super::model::Spec;
use super::syntax;

/// A spec as far as it can be read, and all that is wrong with it.
#[derive(Debug)]
pub struct Loaded<S = Spec> {
    /// The spec, unless there is any error.
    pub spec: Option<S>,
    /// The texts of all its files, for rendering the diagnostics.
    pub texts: Sources,
    /// Mistakes: by file, then by place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads and checks the spec of the project in `root`.
pub fn load(root: &Path) -> Loaded {
    let Loaded { spec, texts, diagnostics } = read(root);
    Loaded { spec: spec.map(lower), texts, diagnostics }
}

/// Reads and checks a spec, and keeps the places of its values.
pub(super) fn read(root: &Path) -> Loaded<declared::Spec> {
    let mut loader =
        Loader { root, texts: Sources::default(), context: Context::default(), unreadable: false };
    let project = loader.project();
    let rules = loader.rules();
    let Loader { texts, context, unreadable, .. } = loader;
    let Context { mut diagnostics, broken } = context;
    let mut spec = None;
    // If a file could not be read, all references into it would seem to dangle.
    if let Some(project) = project.filter(|_| !unreadable) {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let whole = declared::Spec { root: root.to_owned(), project, rules, today };
        check::check(&whole, &broken, &mut diagnostics);
        spec = Some(whole);
    }
    // Others would show the lines that it stands in.
    if diagnostics.iter().any(|diagnostic| diagnostic.code == SECRET) {
        diagnostics.retain(|diagnostic| diagnostic.code == SECRET);
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.labels.first().map(|(span, _)| (span.file, span.start)));
    let spec = spec.filter(|_| diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error));
    Loaded { spec, texts, diagnostics }
}

struct Loader<'r> {
    root: &'r Path,
    texts: Sources,
    context: Context,
    /// Whether any file is missing or has syntax errors.
    unreadable: bool,
}

/// Documents merged so far.
#[derive(Default)]
struct Merged {
    project: Project,
    cache: Option<CacheDecl>,
    /// Files by path: `None` while their imports are being read.
    done: BTreeMap<PathBuf, bool>,
    /// The chain of imports being followed.
    chain: Vec<PathBuf>,
}

impl Loader<'_> {
    fn project(&mut self) -> Option<Project> {
        let mut merged = Merged::default();
        let file = PathBuf::from("graph.ron");
        let text = match self.open(&file) {
            Ok(text) => text,
            Err(error) => {
                self.unreadable = true;
                let missing = error.kind() == io::ErrorKind::NotFound;
                let message = format!("there is no graph.ron in {}", self.root.display());
                self.context.diagnostics.push(if missing {
                    Diagnostic::error("missing-file", message).help("run `kiln init` to make one")
                } else {
                    unreadable_file(&file, &error)
                });
                return None;
            }
        };
        self.document(file, text, &mut merged);
        let cache = merged.cache.map(|cache| cache.value).unwrap_or_default();
        Some(Project { cache, ..merged.project })
    }

    /// Merges a file and, before it, what it imports.
    fn document(&mut self, path: PathBuf, text: Arc<str>, merged: &mut Merged) {
        let Some(Spanned { value: document, .. }) = self.parse::<Document>(&path, text) else { return };
        merged.done.insert(path.clone(), false);
        merged.chain.push(path.clone());
        for import in &document.imports {
            self.import(import, merged);
        }
        merged.chain.pop();
        merged.done.insert(path, true);
        self.merge(document, merged);
    }

    fn import(&mut self, import: &Spanned<PathBuf>, merged: &mut Merged) {
        let Some(path) = inside_project(&import.value) else {
            let message = format!("`{}` is not inside the project", import.value.display());
            let label = "expected a path relative to the project";
            self.context.diagnostics.push(Diagnostic::error("bad-path", message).label(import.span, label));
            self.unreadable = true;
            return;
        };
        match merged.done.get(&path) {
            // Reached on two ways: merged once.
            Some(true) => return,
            Some(false) => {
                let start = merged.chain.iter().position(|file| *file == path).unwrap_or(0);
                let files = merged.chain[start..].iter().chain([&path]);
                let cycle: Vec<_> = files.map(|file| file.display().to_string()).collect();
                let message = format!("files import each other: {}", cycle.join(" -> "));
                let diagnostic = Diagnostic::error("import-cycle", message);
                self.context.diagnostics.push(diagnostic.label(import.span, "this closes the cycle"));
                return;
            }
            None => {}
        }
        match self.open(&path) {
            Ok(text) => self.document(path, text, merged),
            Err(error) => {
                self.unreadable = true;
                let code =
                    if error.kind() == io::ErrorKind::NotFound { "missing-file" } else { "unreadable-file" };
                let message = format!("can't read {}: {}", path.display(), plain_error(&error));
                let label = "imported here";
                self.context.diagnostics.push(Diagnostic::error(code, message).label(import.span, label));
            }
        }
    }

    fn merge(&mut self, document: Document, merged: &mut Merged) {
        let Document { project: from, cache, .. } = document;
        let into = &mut merged.project;
        let diagnostics = &mut self.context.diagnostics;
        // Taken apart without `..`, so that a field added to the model can't be forgotten here.
        let Project {
            sources,
            archs,
            toolchains,
            gentoo,
            roots,
            fixups,
            configs,
            presets,
            builds,
            boards,
            labs,
            tests,
            actions,
            pools,
            cache: _,
            remotes,
            keys,
            sign,
            module_keys,
            repeatable,
            publish,
        } = from;
        merge_names("source", &mut into.sources, sources, diagnostics);
        merge_names("arch", &mut into.archs, archs, diagnostics);
        merge_names("toolchain", &mut into.toolchains, toolchains, diagnostics);
        merge_names("root", &mut into.roots, roots, diagnostics);
        merge_names("fixup list", &mut into.fixups, fixups, diagnostics);
        merge_names("config", &mut into.configs, configs, diagnostics);
        merge_names("preset", &mut into.presets, presets, diagnostics);
        into.builds.extend(builds);
        into.remotes.extend(remotes);
        into.keys.extend(keys);
        merge_names("board", &mut into.boards, boards, diagnostics);
        merge_names("lab", &mut into.labs, labs, diagnostics);
        merge_names("test", &mut into.tests, tests, diagnostics);
        merge_names("action", &mut into.actions, actions, diagnostics);
        merge_names("pool", &mut into.pools, pools, diagnostics);
        merge_one("source of stage3s", "gentoo", &mut into.gentoo, gentoo, diagnostics);
        merge_one("signing key", "sign", &mut into.sign, sign, diagnostics);
        merge_names("key of modules", &mut into.module_keys, module_keys, diagnostics);
        merge_one("choice", "repeatable", &mut into.repeatable, repeatable, diagnostics);
        merge_one("place that labs fetch from", "publish", &mut into.publish, publish, diagnostics);
        merge_one("cache settings", "cache", &mut merged.cache, cache, diagnostics);
    }

    fn rules(&mut self) -> Named<Rule> {
        let mut rules = Named::new();
        let mut files = Vec::new();
        match fs::read_dir(self.root.join("rules")) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => files.push(PathBuf::from("rules").join(entry.file_name())),
                        Err(error) => {
                            self.context.diagnostics.push(unreadable_file(Path::new("rules"), &error));
                        }
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.context.diagnostics.push(unreadable_file(Path::new("rules"), &error)),
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "ron"));
        files.sort();
        for file in files {
            let name = file.file_stem().and_then(|stem| stem.to_str());
            let good = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            let Some(name) = name.filter(good).map(str::to_owned) else {
                let message = format!(
                    "{} can't be a rule: its name must be of letters, digits, `_`, `-`",
                    file.display()
                );
                self.context.diagnostics.push(Diagnostic::error("bad-name", message));
                continue;
            };
            let rule = match self.open(&file) {
                Ok(text) => self.parse(&file, text),
                Err(error) => {
                    self.context.diagnostics.push(unreadable_file(&file, &error));
                    None
                }
            };
            match rule {
                Some(rule) => {
                    rules.insert(name, rule);
                }
                None => {
                    self.context.broken.insert(name);
                }
            }
        }
        rules
    }

    fn open(&self, file: &Path) -> io::Result<Arc<str>> {
        let bytes = fs::read(self.root.join(file))?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 4 GiB"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(error) => {
                let place = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..place].iter().filter(|b| **b == b'\n').count() + 1;
                let message = format!("not UTF-8: line {line} holds other bytes");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }

    fn parse<T: Decode>(&mut self, file: &Path, text: Arc<str>) -> Option<Spanned<T>> {
        let id = self.texts.add(file.to_owned(), text.clone());
        let (node, mistakes) = syntax::parse(id, &text);
        let unclosed = mistakes.iter().any(|mistake| mistake.code == syntax::UNCLOSED);
        self.unreadable |= unclosed || mistakes.iter().any(|mistake| mistake.code == "syntax");
        self.context.diagnostics.extend(mistakes);
        // If the nesting is a guess, mistakes in the values are noise.
        let value = node.filter(|_| !unclosed).and_then(|node| Spanned::decode(&node, &mut self.context));
        self.unreadable |= value.is_none();
        value
    }
}

/// The path without `.` and `..`; `None` if it leaves the project.
fn inside_project(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    (clean != Path::new("")).then_some(clean)
}

/// A field that only one of the files may have.
fn merge_one<T>(
    what: &str,
    field: &str,
    into: &mut Option<Spanned<T>>,
    from: Option<Spanned<T>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    match (&into, from) {
        (Some(first), Some(again)) => diagnostics.push(twice(what, field, again.span, first.span)),
        (None, from) => *into = from,
        (Some(_), None) => {}
    }
}

fn merge_names<T>(what: &str, into: &mut Named<T>, from: Named<T>, diagnostics: &mut Vec<Diagnostic>) {
    if into.is_empty() {
        *into = from;
        return;
    }
    for (name, value) in from {
        match into.entry(name) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(value);
            }
            std::collections::btree_map::Entry::Occupied(first) => {
                diagnostics.push(twice(what, first.key(), value.span, first.get().span));
            }
        }
    }
}

fn twice(what: &str, name: &str, again: Span, first: Span) -> Diagnostic {
    let message = format!("the {what} `{name}` is given in two files");
    Diagnostic::error("duplicate-name", message)
        .label(again, "given again here")
        .label(first, "first given here")
}

fn unreadable_file(file: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error("unreadable-file", format!("can't read {}: {}", file.display(), plain_error(error)))
}

/// The error without "(os error 2)".
fn plain_error(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

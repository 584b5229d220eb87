//! The manifest of an action: every field that is declared of it.
//!
//! One value feeds both the action key and its explanation, so an explanation can't miss what the key saw. `docs/keys.md`
//! lists what enters each key, and what deliberately does not.

mod field;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

pub use field::{Field, FieldKind, FieldValue};

use super::rule_parts::RuleParts;
use crate::digest::{Digest, Domain, Hasher};
use crate::host::{Closure, HostEntry};
use crate::source::{PathSet, Provenance, Reads};

/// Raised when a change of the sandbox or the engine can change what an action makes.
const ENGINE_VERSION: u64 = 4;

/// Every field that is declared of an action.
#[derive(Clone, Debug)]
pub struct Manifest {
    rule: Arc<RuleParts>,
    /// Hashed fields, without the parts of the rule.
    fields: Vec<Field>,
    /// Fields that explain, and are not hashed.
    details: Vec<Field>,
    /// The files behind the digests of tools and host paths. They explain these, and reach the key through them.
    host: Vec<Arc<Closure>>,
    /// Inputs that enter the strong key, sorted by input.
    trees: Vec<TreeInput>,
    /// The least provenance that a path set must have.
    least: Provenance,
}

/// An input of which the name enters the action key, and the content only the strong key.
#[derive(Clone, Debug)]
pub struct TreeInput {
    /// The input.
    pub input: String,
    /// Its field, for explanations.
    pub kind: FieldKind,
    /// The digest of the whole tree.
    pub digest: Digest,
    /// Whether only the paths that a run reads count.
    pub discovered: bool,
}

impl TreeInput {
    /// The name of the source, if the tree is that of a source.
    pub fn source(&self) -> Option<&str> {
        match &self.kind {
            FieldKind::Source { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Manifest {
    /// The manifest of a node with these parts of its rule, without fields yet. Path sets count from the provenance `least` on.
    pub fn new(rule: Arc<RuleParts>, least: Provenance) -> Self {
        Self { rule, fields: Vec::new(), details: Vec::new(), host: Vec::new(), trees: Vec::new(), least }
    }

    /// Whether a path set of this provenance counts for this action on this machine.
    pub fn accepts(&self, provenance: Provenance) -> bool {
        provenance >= self.least
    }

    /// The least provenance that counts.
    pub const fn least(&self) -> Provenance {
        self.least
    }

    /// Adds a field.
    pub fn add(&mut self, kind: FieldKind, value: FieldValue) {
        self.fields.push(Field { kind, value });
    }

    /// Adds a part of the host: its digest and its files, or that it is absent.
    pub fn add_host(&mut self, kind: FieldKind, found: Option<(Digest, Arc<Closure>)>) {
        self.add(kind, found.as_ref().map_or(FieldValue::Absent, |(digest, _)| FieldValue::Digest(*digest)));
        self.host.extend(found.map(|(_, closure)| closure));
    }

    /// Adds a field that explains, and is not hashed.
    pub fn add_detail(&mut self, kind: FieldKind, value: FieldValue) {
        self.details.push(Field { kind, value });
    }

    /// Adds an input that enters the strong key. Inputs are added in the order of their names.
    pub fn add_tree(&mut self, tree: TreeInput) {
        self.trees.push(tree);
    }

    /// The action key: equal for two actions that do the same if their trees are the same.
    pub fn action_key(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::ActionKey);
        hasher.number(ENGINE_VERSION).digest(&self.rule.digest()).number(self.fields.len() as u64);
        for field in &self.fields {
            field.kind.hash(&mut hasher);
            field.value.hash(&mut hasher);
        }
        hasher.number(self.trees.len() as u64);
        for tree in &self.trees {
            tree.kind.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The inputs that enter the strong key, sorted by name.
    pub fn trees(&self) -> &[TreeInput] {
        &self.trees
    }

    /// The input of this name among them.
    pub fn tree(&self, input: &str) -> Option<&TreeInput> {
        self.trees.iter().find(|tree| tree.input == input)
    }

    /// Whether reads are discovered, of any input.
    pub fn is_discovered(&self) -> bool {
        self.trees.iter().any(|tree| tree.discovered)
    }

    /// The path set of a run whose reads are unknown: every tree, whole.
    pub fn whole(&self) -> PathSet {
        PathSet::new(Provenance::Whole, self.trees.iter().map(|tree| (tree.input.clone(), Reads::Whole)))
    }

    /// Encodes every field as it is stored with a run.
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(&self.all_fields()).expect("fields are JSON");
        zstd::encode_all(json.as_slice(), 3).expect("compressing in memory can't fail")
    }

    /// Decodes a stored manifest; `None` if it can't be read.
    pub fn decode(bytes: &[u8]) -> Option<Vec<Field>> {
        serde_json::from_reader(zstd::Decoder::new(bytes).ok()?).ok()
    }

    /// Every field, the rule's parts first: the explanation of the key.
    pub fn all_fields(&self) -> Vec<Field> {
        let parts = self.rule.parts().iter().map(|(part, text)| Field {
            kind: FieldKind::Rule((*part).to_owned()),
            value: FieldValue::Text(text.clone()),
        });
        let trees = self
            .trees
            .iter()
            .map(|tree| Field { kind: tree.kind.clone(), value: FieldValue::Digest(tree.digest) });
        let declared = self.fields.iter().chain(&self.details).cloned();
        let declared_paths: HashSet<&Path> = self
            .fields
            .iter()
            .filter_map(|field| match &field.kind {
                FieldKind::Host(path) => Some(path.as_path()),
                _ => None,
            })
            .collect();
        let host: BTreeMap<&Path, &HostEntry> =
            self.host.iter().flat_map(|closure| closure.entries()).collect();
        let host = host.into_iter().filter(|(path, _)| !declared_paths.contains(path));
        let host = host.map(|(path, entry)| {
            let value = match entry {
                HostEntry::Absent => FieldValue::Absent,
                entry => FieldValue::Digest(entry.digest()),
            };
            Field { kind: FieldKind::Host(path.to_owned()), value }
        });
        parts.chain(declared).chain(host).chain(trees).collect()
    }
}

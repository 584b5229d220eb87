//! The manifest of an action: all that is declared of it, field by field.
//!
//! One value feeds both the action key and its explanation, so that an explanation can't miss what the key saw.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::host::HostPart;
use super::rule_parts::RuleParts;
use crate::digest::{Digest, Domain, Hasher};
use crate::graph::Value;
use crate::host::{Closure, HostEntry};
use crate::source::{PathSet, Provenance, Reads};

/// Raised when the sandbox or the engine changes in a way that can change what an action makes.
const ENGINE_VERSION: u64 = 4;

/// What a field is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A part of the rule.
    Rule(String),
    /// The value of a placeholder.
    Binding(String),
    /// A host program, with all that it loads.
    Tool(String),
    /// A file that belongs to a host program, or a declared host path.
    Host(PathBuf),
    /// A library of the host that programs are linked with.
    Library(String),
    /// A file or directory of the project.
    File {
        /// The input.
        input: String,
        /// Relative to the project.
        path: PathBuf,
    },
    /// Lines that the spec gives.
    Lines {
        /// The input.
        input: String,
    },
    /// Another node's output.
    Output {
        /// The input.
        input: String,
        /// The other node.
        node: String,
        /// Its output.
        output: String,
    },
    /// What a built-in kind looks at inside an input, such as one CONFIG symbol.
    Projected(String),
    /// A source tree.
    Source {
        /// The input.
        input: String,
        /// The source's name.
        source: String,
    },
    /// The commit that a git source stood at: it explains, and is part of no key.
    Commit {
        /// The source's name.
        source: String,
    },
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Val {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// The digest of content.
    Digest(Digest),
    /// Something that is not there.
    Absent,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// What it is about.
    pub what: What,
    /// Its value.
    pub value: Val,
}

/// All that is declared of an action.
#[derive(Clone, Debug)]
pub struct Manifest {
    rule: Arc<RuleParts>,
    /// Without the rule's parts and without what only explains.
    fields: Vec<Field>,
    /// What only explains.
    details: Vec<Field>,
    /// Files behind the digests of tools and host paths: they explain these, and reach the key through them.
    host: Vec<Arc<Closure>>,
    /// Inputs that are told apart by what is read of them. Sorted by input.
    trees: Vec<Tree>,
    /// How well it must be known what an earlier run read, for that run to count.
    least: Provenance,
}

/// An input whose content reaches no action key but the strong key: that is the second phase of the lookup.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The input.
    pub input: String,
    /// What it is, for explanations.
    pub what: What,
    /// All of it.
    pub digest: Digest,
    /// Whether only what a run reads of it counts.
    pub discovered: bool,
}

impl Manifest {
    /// The manifest of a node with these parts of its rule, without fields as yet. Path sets of earlier runs count from `least` on.
    pub fn new(rule: Arc<RuleParts>, least: Provenance) -> Self {
        Self { rule, fields: Vec::new(), details: Vec::new(), host: Vec::new(), trees: Vec::new(), least }
    }

    /// Whether a path set counts for this action on this machine.
    pub fn accepts(&self, provenance: Provenance) -> bool {
        provenance >= self.least
    }

    /// From where on path sets count.
    pub const fn least(&self) -> Provenance {
        self.least
    }

    /// Adds a field.
    pub fn add(&mut self, what: What, value: Val) {
        self.fields.push(Field { what, value });
    }

    /// Adds a part of the host.
    pub(super) fn add_host(&mut self, part: HostPart) {
        let value = part.value();
        self.add(part.what, value);
        self.host.extend(part.found.map(|(_, closure)| closure));
    }

    /// Adds what explains: it is kept and is not hashed itself.
    pub fn add_detail(&mut self, what: What, value: Val) {
        self.details.push(Field { what, value });
    }

    /// Adds an input that is told apart by what is read of it. They are added in the order of their inputs.
    pub fn add_tree(&mut self, tree: Tree) {
        self.trees.push(tree);
    }

    /// The key: equal for two actions that would do the same with the same trees.
    pub fn action_key(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::ActionKey);
        hasher.number(ENGINE_VERSION).digest(&self.rule.digest()).number(self.fields.len() as u64);
        for field in &self.fields {
            field.what.hash(&mut hasher);
            field.value.hash(&mut hasher);
        }
        hasher.number(self.trees.len() as u64);
        for tree in &self.trees {
            tree.what.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The inputs that are told apart by what is read of them, sorted by name.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// One of them.
    pub fn tree(&self, input: &str) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.input == input)
    }

    /// Whether what a run reads is discovered, of any input.
    pub fn is_discovered(&self) -> bool {
        self.trees.iter().any(|tree| tree.discovered)
    }

    /// The paths that the action is taken to read where nothing has told which it did: every tree, whole.
    pub fn whole(&self) -> PathSet {
        PathSet::new(Provenance::Whole, self.trees.iter().map(|tree| (tree.input.clone(), Reads::Whole)))
    }

    /// Every field, in the form that is stored with a run.
    pub fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(&self.all_fields()).expect("fields are JSON");
        zstd::encode_all(json.as_slice(), 3).expect("compressing in memory can't fail")
    }

    /// The fields of a stored manifest; `None` where they can't be read.
    pub fn decode(bytes: &[u8]) -> Option<Vec<Field>> {
        serde_json::from_reader(zstd::Decoder::new(bytes).ok()?).ok()
    }

    /// Every field, the rule's parts first: what is stored with a run, to explain the next.
    pub fn all_fields(&self) -> Vec<Field> {
        let parts = self.rule.parts().iter().map(|(part, text)| Field {
            what: What::Rule((*part).to_owned()),
            value: Val::Text(text.clone()),
        });
        let trees =
            self.trees.iter().map(|tree| Field { what: tree.what.clone(), value: Val::Digest(tree.digest) });
        let declared = self.fields.iter().chain(&self.details).cloned();
        let declared_paths: HashSet<&Path> = self
            .fields
            .iter()
            .filter_map(|field| match &field.what {
                What::Host(path) => Some(path.as_path()),
                _ => None,
            })
            .collect();
        let host: BTreeMap<&Path, &HostEntry> =
            self.host.iter().flat_map(|closure| closure.entries()).collect();
        let host = host.into_iter().filter(|(path, _)| !declared_paths.contains(path));
        let host = host.map(|(path, entry)| {
            let value = match entry {
                HostEntry::Absent => Val::Absent,
                entry => Val::Digest(entry.digest()),
            };
            Field { what: What::Host(path.to_owned()), value }
        });
        parts.chain(declared).chain(host).chain(trees).collect()
    }
}

impl What {
    /// Names of nodes, of sources and of project files are left out: an action that reads the same bytes under the
    /// same input is the same action.
    fn hash(&self, hasher: &mut Hasher) {
        match self {
            Self::Rule(part) => hasher.number(0).text(part),
            Self::Binding(placeholder) => hasher.number(1).text(placeholder),
            Self::Tool(program) => hasher.number(2).text(program),
            Self::Host(path) => hasher.number(3).bytes(path.as_os_str().as_encoded_bytes()),
            Self::File { input, .. } => hasher.number(4).text(input),
            Self::Lines { input } => hasher.number(5).text(input),
            Self::Output { input, .. } => hasher.number(6).text(input),
            Self::Projected(name) => hasher.number(7).text(name),
            Self::Source { input, .. } => hasher.number(8).text(input),
            Self::Library(name) => hasher.number(9).text(name),
            Self::Commit { .. } => unreachable!("a commit is a detail, and no detail is hashed"),
        };
    }
}

impl Val {
    fn hash(&self, hasher: &mut Hasher) {
        match self {
            Self::Text(text) => {
                hasher.number(0).text(text);
            }
            Self::List(list) => {
                hasher.number(1).number(list.len() as u64);
                for text in list {
                    hasher.text(text);
                }
            }
            Self::Digest(digest) => {
                hasher.number(2).digest(digest);
            }
            Self::Absent => {
                hasher.number(3);
            }
        }
    }
}

impl From<&Value> for Val {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.clone()),
            Value::List(list) => Self::List(list.clone()),
        }
    }
}

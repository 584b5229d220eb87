//! Fields: the named, typed parts of a key.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::graph::Value;

/// The subject of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// A part of the rule.
    Rule(String),
    /// The value of a placeholder.
    Binding(String),
    /// A host program, with all that it loads.
    Tool(String),
    /// A file that belongs to a host program, or a declared host path.
    Host(PathBuf),
    /// A host library that programs are linked with.
    Library(String),
    /// A file or directory of the project.
    File {
        /// The input.
        input: String,
        /// The path, relative to the project.
        path: PathBuf,
    },
    /// Lines given in the spec.
    Lines {
        /// The input.
        input: String,
    },
    /// An output of another node.
    Output {
        /// The input.
        input: String,
        /// The other node.
        node: String,
        /// Its output.
        output: String,
    },
    /// A part of an input that a built-in kind reads, such as one CONFIG symbol.
    Projected(String),
    /// A source tree.
    Source {
        /// The input.
        input: String,
        /// The source's name.
        source: String,
    },
    /// The commit of a git source. It explains a run, and is part of no key.
    Commit {
        /// The source's name.
        source: String,
    },
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldValue {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// The digest of content.
    Digest(Digest),
    /// Nothing: the subject does not exist.
    Absent,
}

/// A field of a manifest. In stored manifests its kind is called `what`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The subject.
    #[serde(rename = "what")]
    pub kind: FieldKind,
    /// The value.
    pub value: FieldValue,
}

impl FieldKind {
    /// Hashes the subject. The names of nodes, sources and project files are left out: an action that reads the same bytes
    /// under the same input is the same action.
    pub(super) fn hash(&self, hasher: &mut Hasher) {
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
            Self::Commit { .. } => unreachable!("a commit is a detail, and details are not hashed"),
        };
    }
}

impl FieldValue {
    pub(super) fn hash(&self, hasher: &mut Hasher) {
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

    /// The value of a file: its digest, and whether it is executable, as a reader sees both.
    pub fn file(digest: Digest, executable: bool) -> Self {
        if executable { Self::Text(format!("executable {digest}")) } else { Self::Digest(digest) }
    }
}

impl From<&Value> for FieldValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.clone()),
            Value::List(list) => Self::List(list.clone()),
        }
    }
}

impl From<&crate::store::Artifact> for FieldValue {
    fn from(artifact: &crate::store::Artifact) -> Self {
        use crate::store::Artifact;
        match artifact {
            Artifact::File { digest, executable, .. } => Self::file(*digest, *executable),
            Artifact::Tree { digest, .. } => Self::Digest(*digest),
            Artifact::Absent => Self::Absent,
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(part) => write!(f, "the rule's {part}"),
            Self::Binding(placeholder) => write!(f, "{{{placeholder}}}"),
            Self::Tool(program) => write!(f, "tool {program}"),
            Self::Host(path) => write!(f, "host file {}", path.display()),
            Self::Library(name) => write!(f, "library {name}"),
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Lines { input } => write!(f, "input {input}"),
            Self::Output { node, output, .. } => write!(f, "{output} of {node}"),
            Self::Projected(name) => write!(f, "{name}"),
            Self::Source { source, .. } => write!(f, "source {source}"),
            Self::Commit { source } => write!(f, "commit of {source}"),
        }
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
            Self::Digest(digest) => f.write_str(&digest.short()),
            Self::Absent => f.write_str("absent"),
        }
    }
}

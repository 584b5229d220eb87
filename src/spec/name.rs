//! The names of nodes, builds and source trees. Each is formed here and nowhere else.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The part before the colon in the name of a node that unpacks a source tree.
const SOURCE: &str = "source";

/// The instance of a rule that has no axis value: there is one node.
const ALL: &str = "all";

/// The name of a node: `RULE:INSTANCE`.
///
/// The instance is the axis values joined by `/`, the name of an action, or the name of a source tree.
///
/// ```
/// use kiln::spec::NodeName;
///
/// let name = NodeName::of_instance("kernel", ["linux-6.12", "x86_64", "defconfig", "gcc"]);
/// assert_eq!(name.as_str(), "kernel:linux-6.12/x86_64/defconfig/gcc");
/// assert_eq!(name.rule(), "kernel");
/// assert_eq!(name.instance(), "linux-6.12/x86_64/defconfig/gcc");
/// ```
#[derive(Clone)]
pub struct NodeName {
    text: Arc<str>,
    /// Offset of the colon.
    colon: usize,
}

impl NodeName {
    fn new(rule: &str, instance: &str) -> Self {
        Self { text: format!("{rule}:{instance}").into(), colon: rule.len() }
    }

    /// The node of a rule for these axis values.
    pub fn of_instance<'a>(rule: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let instance = values.into_iter().collect::<Vec<_>>().join("/");
        Self::new(rule, if instance.is_empty() { ALL } else { &instance })
    }

    /// The node of an entry of `actions`.
    pub fn of_action(rule: &str, action: &str) -> Self {
        Self::new(rule, action)
    }

    /// The node that unpacks a source tree.
    pub fn of_source(source: &SourceName) -> Self {
        Self::new(SOURCE, source)
    }

    /// The name of the expansion point that stands for all nodes whose names extend this one.
    #[must_use]
    pub fn expansion_point(&self) -> Self {
        Self { text: format!("{}/*", self.text).into(), colon: self.colon }
    }

    /// Reads a name that a user wrote or an earlier run recorded. Names of nodes in a graph are never read back.
    pub fn parse(text: &str) -> Option<Self> {
        let colon = text.find(':')?;
        Some(Self { text: text.into(), colon })
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the colon: the rule, or `source`.
    pub fn rule(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The part after the colon.
    pub fn instance(&self) -> &str {
        &self.text[self.colon + 1..]
    }
}

// A name is equal to, ordered as, and hashed as its text, so that maps of names can be asked with a text.
impl PartialEq for NodeName {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NodeName {}

impl PartialOrd for NodeName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NodeName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for NodeName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl Deref for NodeName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The name of a source tree in `graph.ron`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// The name as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SourceName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Deref for SourceName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The identity of a build: one value for each axis of the matrix. Written `SOURCE/ARCH/DEFCONFIG/TOOLCHAIN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BuildId {
    /// The source tree.
    pub source: String,
    /// The architecture.
    pub arch: String,
    /// The configuration, or a kbuild target.
    pub defconfig: String,
    /// The toolchain.
    pub toolchain: String,
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, arch, defconfig, toolchain } = self;
        write!(f, "{source}/{arch}/{defconfig}/{toolchain}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn names_have_a_rule_and_an_instance() {
        let source = SourceName::from("linux:6");
        for (name, text, rule, instance) in [
            (
                NodeName::of_instance("match", ["linux", "x86_64"]),
                "match:linux/x86_64",
                "match",
                "linux/x86_64",
            ),
            (NodeName::of_instance("report", []), "report:all", "report", "all"),
            (NodeName::of_action("initramfs", "busybox/x"), "initramfs:busybox/x", "initramfs", "busybox/x"),
            (NodeName::of_source(&source), "source:linux:6", "source", "linux:6"),
            (NodeName::of_instance("boot", ["a"]).expansion_point(), "boot:a/*", "boot", "a/*"),
        ] {
            assert_eq!((name.as_str(), name.rule(), name.instance()), (text, rule, instance));
            assert_eq!(NodeName::parse(text).unwrap(), name);
        }
        assert_eq!(NodeName::parse("no colon"), None);
    }

    #[test]
    fn maps_of_names_are_asked_with_a_text() {
        let map = HashMap::from([(NodeName::of_action("a", "b"), 1)]);
        assert_eq!(map.get("a:b"), Some(&1));
    }

    #[test]
    fn a_build_is_written_as_its_axes() {
        let [source, arch, defconfig, toolchain] = ["s", "a", "d", "t"].map(str::to_owned);
        assert_eq!(BuildId { source, arch, defconfig, toolchain }.to_string(), "s/a/d/t");
    }
}

//! Which paths a change touches, told from the change alone: a patch, git's raw diff, or a list of names.
//!
//! The new state of the tree is not needed, so one can ask what a patch would rebuild before it is applied. What is
//! missed here is missed by whoever asks, so everything in doubt is counted as touched: a patch that does not add up
//! is an error with its line, and where a plain diff leaves open what became of a file, that is [`Touch::Unknown`].
//!
//! Libraries that read diffs want to apply them, and may pass over what they can't apply: a plain diff between two
//! of git's, `Only in`, a binary file without its data. Here each of these is a path like any other.

use std::collections::BTreeMap;

/// A path that a change touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// From the tree's root, byte for byte. Directories that come or go with their files are not named.
    pub path: Vec<u8>,
    /// What happens to it.
    pub how: Touch,
    /// Whether it is, or was, a symbolic link.
    pub link: Link,
}

/// Whether a path is, or was, a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Neither before nor after.
    No,
    /// Before, after, or both.
    Yes,
    /// The change does not say.
    Unknown,
}

/// What happens to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// It comes into being. Where git was told to break files up (`-B`), a rename may also end on a path that was there.
    Added,
    /// It goes.
    Removed,
    /// A file's content, or where a symbolic link points to; nothing else.
    Content,
    /// Whether it is executable; nothing else.
    Mode,
    /// It was there and is there, and more than one of content, mode and kind may differ.
    Replaced,
    /// Any of these.
    Unknown,
}

/// A change that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A patch that does not add up.
    #[error("line {line} of the patch: {problem}")]
    Line {
        /// Counted from one.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A raw diff that is none.
    #[error("change {record} of the raw diff: {problem}; `git diff --raw -z` makes one")]
    Record {
        /// Counted from one.
        record: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A text in which there is no patch.
    #[error("there is no patch in it: `git diff`, `git format-patch` and `diff -ruN` make them")]
    NoPatch,
}

/// What a patch touches, sorted, each path once: git's (`git diff`, `git format-patch`, several mails in one file) and
/// plain ones (`diff -ru`), also both in one text.
///
/// `strip` is the `-p` of patch and git apply: how many leading parts of the names to take off. At its usual value of 1,
/// equal names for old and new are taken for a diff without prefixes, and nothing is taken off them.
pub fn of_patch(text: &[u8], strip: usize) -> Result<Vec<Touched>, PatchError> {
    let mut reader = Reader { lines: Lines::new(text), strip, found: Found::default(), section: None };
    reader.read()?;
    if reader.found.0.is_empty() && text.iter().any(|byte| !byte.is_ascii_whitespace()) {
        return Err(PatchError::NoPatch);
    }
    Ok(reader.found.into_touched())
}

/// What lies between two commits, or a commit and the work tree, sorted, each path once: the output of
/// `git diff --raw -z`, with or without `--no-renames`.
pub fn of_raw_diff(text: &[u8]) -> Result<Vec<Touched>, PatchError> {
    let mut found = Found::default();
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = text.split(|&byte| byte == 0);
    let mut record = 0;
    while let Some(head) = fields.next() {
        record += 1;
        let wrong = |problem: &str| PatchError::Record { record, problem: problem.to_owned() };
        let head = head.strip_prefix(b":").ok_or_else(|| wrong("it does not begin with a colon"))?;
        let parts: Vec<&[u8]> = head.split(|&byte| byte == b' ').collect();
        let [old_mode, new_mode, old, new, status] = parts[..] else {
            return Err(wrong("it does not have two modes, two names of objects and a letter"));
        };
        let mut path = || match fields.next() {
            Some(path) if !path.is_empty() => Ok(path.to_vec()),
            _ => Err(wrong("its path is missing")),
        };
        let link = link_of([old_mode, new_mode]);
        match status.first() {
            Some(b'A') => found.add(path()?, Fact::Added, link),
            Some(b'D') => found.add(path()?, Fact::Removed, link),
            Some(b'C') => {
                path()?;
                found.add(path()?, Fact::Added, link);
            }
            Some(b'R') => {
                found.add(path()?, Fact::Removed, link);
                found.add(path()?, Fact::Added, link);
            }
            Some(b'M' | b'T') => {
                let path = path()?;
                if old_mode != new_mode {
                    found.add(path.clone(), mode_fact(old_mode, new_mode), link);
                }
                // All zeros: a file of the work tree, which git has not looked into.
                if old != new || old_mode == new_mode {
                    found.add(path, Fact::Content, link);
                }
            }
            Some(b'U' | b'X') => found.add(path()?, Fact::Unknown, Link::Unknown),
            _ => return Err(wrong(&format!("{:?} is no kind of change", String::from_utf8_lossy(status)))),
        }
    }
    Ok(found.into_touched())
}

/// What a list names, sorted, each path once: one a line, as `git diff --name-only` quotes them, or, if there is a NUL
/// in it, each ended by one and taken as it is. What happens to them it does not say.
pub fn of_list(text: &[u8]) -> Vec<Touched> {
    let mut found = Found::default();
    let by_nul = text.contains(&0);
    for name in text.split(|&byte| if by_nul { byte == 0 } else { byte == b'\n' }) {
        let name = if by_nul {
            name.to_vec()
        } else {
            let name = name.strip_suffix(b"\r").unwrap_or(name);
            // What only looks quoted is a name like any other.
            match unquote(name) {
                Some((name, b"")) => name,
                _ => name.to_vec(),
            }
        };
        let name = parts(&name).collect::<Vec<_>>().join(&b'/');
        if !name.is_empty() {
            found.add(name, Fact::Unknown, Link::Unknown);
        }
    }
    found.into_touched()
}

/// A path's parts, without those that lead nowhere.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// One thing that a change says of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    Added,
    Removed,
    Content,
    Mode,
    Kind,
    Unknown,
}

/// What was said so far of each path.
#[derive(Default)]
struct Found(BTreeMap<Vec<u8>, (Vec<Fact>, Option<Link>)>);

impl Found {
    fn add(&mut self, path: Vec<u8>, fact: Fact, link: Link) {
        let (facts, known) = self.0.entry(path).or_default();
        facts.push(fact);
        *known = Some(match (*known, link) {
            (Some(Link::Yes), _) | (_, Link::Yes) => Link::Yes,
            (None | Some(Link::No), link) => link,
            (Some(Link::Unknown), _) => Link::Unknown,
        });
    }

    fn into_touched(self) -> Vec<Touched> {
        let touched = |(path, (facts, link)): (_, (Vec<Fact>, Option<Link>))| Touched {
            path,
            how: sum(&facts),
            link: link.unwrap_or(Link::Unknown),
        };
        self.0.into_iter().map(touched).collect()
    }
}

/// What git's modes, as far as they are told, say of a path.
fn link_of<'a>(modes: impl IntoIterator<Item = &'a [u8]>) -> Link {
    let mut told = modes.into_iter().filter(|mode| !mode.is_empty()).peekable();
    if told.peek().is_none() {
        Link::Unknown
    } else if told.any(|mode| mode == b"120000") {
        Link::Yes
    } else {
        Link::No
    }
}

/// All that was said of a path, in one word.
fn sum(facts: &[Fact]) -> Touch {
    let count = |fact: Fact| facts.iter().filter(|&&other| other == fact).count();
    let said = |fact: Fact| count(fact) > 0;
    let (added, removed) = (count(Fact::Added), count(Fact::Removed));
    // A path is added and removed by turns, in whatever order it is told.
    if said(Fact::Unknown) || added.abs_diff(removed) > 1 {
        Touch::Unknown
    } else if added > removed {
        Touch::Added
    } else if removed > added {
        Touch::Removed
    } else if added > 0 || said(Fact::Kind) || said(Fact::Content) && said(Fact::Mode) {
        Touch::Replaced
    } else if said(Fact::Mode) {
        Touch::Mode
    } else {
        Touch::Content
    }
}

/// What two modes of git's say: `100644` and `100755` are files, all others something else.
fn mode_fact(old: &[u8], new: &[u8]) -> Fact {
    if old.starts_with(b"100") && new.starts_with(b"100") { Fact::Mode } else { Fact::Kind }
}

/// A text's lines without their ends, with numbers.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, number: 0 }
    }

    fn peek(&self) -> Option<&'a [u8]> {
        (!self.rest.is_empty()).then(|| self.rest.split(|&byte| byte == b'\n').next().unwrap_or_default())
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.peek()?;
        self.rest = self.rest.get(line.len() + 1..).unwrap_or_default();
        self.number += 1;
        Some(line)
    }

    /// What is wrong with the line that was read last.
    fn wrong(&self, problem: impl Into<String>) -> PatchError {
        PatchError::Line { line: self.number, problem: problem.into() }
    }
}

/// What git says of a file from `diff --git` on.
#[derive(Default)]
struct Section<'a> {
    /// After `diff --git `.
    names: &'a [u8],
    /// Its line.
    line: usize,
    /// It comes, or it goes.
    moves: Option<Fact>,
    old_mode: &'a [u8],
    new_mode: &'a [u8],
    /// Of what comes, goes, or stays what it is.
    mode: &'a [u8],
    /// `rename from`, and `copy from`, which counts for less.
    renamed_from: Option<Vec<u8>>,
    copied: bool,
    to: Option<Vec<u8>>,
    /// `index`, hunks, or a binary patch.
    content: bool,
    /// From `---` and `+++`, as they stand; none for `/dev/null`.
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

struct Reader<'a> {
    lines: Lines<'a>,
    strip: usize,
    found: Found,
    section: Option<Section<'a>>,
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Result<(), PatchError> {
        while let Some(line) = self.lines.next() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(names) = line.strip_prefix(b"diff --git ") {
                self.end_section()?;
                self.section = Some(Section { names, line: self.lines.number, ..Section::default() });
            } else if line.starts_with(b"diff --cc ") || line.starts_with(b"diff --combined ") {
                return Err(self
                    .lines
                    .wrong("a merge is compared with all its parents; compare it with one"));
            } else if line.starts_with(b"--- ")
                && self.lines.peek().is_some_and(|next| next.starts_with(b"+++ "))
            {
                self.file(line)?;
            } else {
                // The next mail, the end of one, or what a plain diff says: git's part is over.
                if line == b"-- "
                    || [&b"From "[..], b"diff ", b"Only in "].iter().any(|start| line.starts_with(start))
                {
                    self.end_section()?;
                }
                if self.section.is_some() {
                    self.extended(line)?;
                } else {
                    self.said_by_diff(line);
                }
            }
        }
        self.end_section()
    }

    /// A line of git's between `diff --git` and the hunks.
    fn extended(&mut self, line: &'a [u8]) -> Result<(), PatchError> {
        let Some(section) = &mut self.section else { return Ok(()) };
        let after = |key: &str| line.strip_prefix(key.as_bytes());
        // These names have no prefix to be taken off, so git takes off one part less.
        let less = self.strip.saturating_sub(1);
        let name = |name: &[u8]| {
            whole(name)
                .and_then(|name| strip(&name, less))
                .ok_or_else(|| self.lines.wrong(format!("{:?} is no name", String::from_utf8_lossy(line))))
        };
        if let Some(mode) = after("old mode ") {
            section.old_mode = mode;
        } else if let Some(mode) = after("new mode ") {
            section.new_mode = mode;
        } else if let Some(mode) = after("new file mode ") {
            (section.moves, section.mode) = (Some(Fact::Added), mode);
        } else if let Some(mode) = after("deleted file mode ") {
            (section.moves, section.mode) = (Some(Fact::Removed), mode);
        } else if let Some(from) = after("rename from ").or_else(|| after("rename old ")) {
            section.renamed_from = Some(name(from)?);
        } else if let Some(to) = after("rename to ").or_else(|| after("rename new ")) {
            section.to = Some(name(to)?);
        } else if let Some(to) = after("copy to ") {
            section.copied = true;
            section.to = Some(name(to)?);
        } else if let Some(index) = after("index ") {
            section.content = true;
            if let Some(at) = index.iter().position(|&byte| byte == b' ') {
                section.mode = &index[at + 1..];
            }
        } else if after("GIT binary patch").is_some() || after("Binary files ").is_some() {
            section.content = true;
        }
        Ok(())
    }

    /// `---`, `+++`, and hunks.
    fn file(&mut self, line: &'a [u8]) -> Result<(), PatchError> {
        let (old, old_stamp) = self.header(line)?;
        let next = self.lines.next().unwrap_or_default();
        let (new, new_stamp) = self.header(next.strip_suffix(b"\r").unwrap_or(next))?;
        let at = self.lines.number;
        // A plain diff may follow one of git's.
        if self.section.as_ref().is_some_and(|section| !self.is_of(section, old.as_ref(), new.as_ref())) {
            self.end_section()?;
        }
        let (mut from_nothing, mut to_nothing, mut hunks) = (false, false, 0);
        while let Some(hunk) = self.lines.peek().and_then(hunk) {
            self.lines.next();
            from_nothing |= hunk.old == (0, 0);
            to_nothing |= hunk.new == (0, 0);
            hunks += 1;
            self.hunk_lines(&hunk)?;
        }
        if hunks == 0 || self.lines.peek().is_some_and(|line| line.starts_with(b"@@")) {
            self.lines.next();
            return Err(self.lines.wrong("a hunk (`@@ -LINE,COUNT +LINE,COUNT @@`) is expected here"));
        }
        if let Some(section) = &mut self.section {
            section.content = true;
            (section.old, section.new) = (old, new);
            return self.end_section();
        }
        let wrong = |problem: String| PatchError::Line { line: at, problem };
        match (&old, &new) {
            (None, None) => return Err(wrong("both names are /dev/null".to_owned())),
            (None, Some(name)) => self.found.add(self.stripped(name, None, at)?, Fact::Added, Link::No),
            (Some(name), None) => {
                self.found.add(self.stripped(name, None, at)?, Fact::Removed, Link::Unknown);
            }
            (Some(old), Some(new)) => {
                let from = self.stripped(old, Some(new), at)?;
                let to = self.stripped(new, Some(old), at)?;
                // diff -N says of a file that is not there that it is empty and from 1970.
                let fact = match (from_nothing, to_nothing) {
                    _ if from != to => Fact::Unknown,
                    (true, false) if is_epoch(old_stamp) => Fact::Added,
                    (false, true) if is_epoch(new_stamp) => Fact::Removed,
                    (false, false) => Fact::Content,
                    _ => Fact::Unknown,
                };
                // diff looks through links, but what patch makes is a file.
                let link = if fact == Fact::Added { Link::No } else { Link::Unknown };
                if from != to {
                    self.found.add(to, fact, link);
                }
                self.found.add(from, fact, link);
            }
        }
        Ok(())
    }

    /// Whether these names are those of that section.
    fn is_of(&self, section: &Section<'_>, old: Option<&Vec<u8>>, new: Option<&Vec<u8>>) -> bool {
        let is = |name: Option<&Vec<u8>>, expected: &Vec<u8>| {
            let bare = |name: &[u8]| self.strip == 1 && strip(name, 0).as_ref() == Some(expected);
            name.is_none_or(|name| strip(name, self.strip).as_ref() == Some(expected) || bare(name))
        };
        match (&section.to, pairs(section.names, self.strip)) {
            (Some(to), _) => is(new, to),
            (None, Some(name)) => is(old, &name) && is(new, &name),
            (None, None) => true,
        }
    }

    /// A name without its leading parts; `other` is what stands on the other side.
    fn stripped(&self, name: &[u8], other: Option<&Vec<u8>>, line: usize) -> Result<Vec<u8>, PatchError> {
        let bare = self.strip == 1 && other.is_some_and(|other| **other == *name);
        strip(name, if bare { 0 } else { self.strip }).ok_or_else(|| {
            let problem = format!(
                "{} has no more than {} parts to take off; try -p0",
                String::from_utf8_lossy(name),
                self.strip
            );
            PatchError::Line { line, problem }
        })
    }

    /// The name of a `---` or `+++` line, none for `/dev/null`, and what stands after it.
    fn header(&self, line: &'a [u8]) -> Result<(Option<Vec<u8>>, &'a [u8]), PatchError> {
        let text = &line[4..];
        let (name, rest) = match unquote(text) {
            Some(unquoted) => unquoted,
            None if text.starts_with(b"\"") => {
                return Err(self.lines.wrong("the name's quotes do not end"));
            }
            None => {
                let end = text.iter().position(|&byte| byte == b'\t').unwrap_or(text.len());
                (text[..end].to_vec(), &text[end..])
            }
        };
        if name.is_empty() {
            return Err(self.lines.wrong("the name is missing"));
        }
        Ok(((name != b"/dev/null").then_some(name), rest))
    }

    /// Passes over exactly the lines that a hunk announces.
    fn hunk_lines(&mut self, hunk: &Hunk) -> Result<(), PatchError> {
        let (mut old, mut new) = (hunk.old.1, hunk.new.1);
        let begin = self.lines.number;
        while old > 0 || new > 0 {
            let line = self.lines.next();
            let taken = match line.map(|line| line.first().copied().unwrap_or(b' ')) {
                // Mailers take the blank off an empty line.
                Some(b' ' | b'\t' | b'\r') if old > 0 && new > 0 => (1, 1),
                Some(b'-') if old > 0 => (1, 0),
                Some(b'+') if new > 0 => (0, 1),
                Some(b'\\') => (0, 0),
                Some(_) => return Err(self.lines.wrong(format!("the hunk of line {begin} ends too early"))),
                None => {
                    return Err(PatchError::Line {
                        line: begin,
                        problem: "the hunk does not end".to_owned(),
                    });
                }
            };
            (old, new) = (old - taken.0, new - taken.1);
        }
        Ok(())
    }

    /// What git said of a file is complete.
    fn end_section(&mut self) -> Result<(), PatchError> {
        let Some(section) = self.section.take() else { return Ok(()) };
        let link = link_of([section.old_mode, section.new_mode, section.mode]);
        if let Some(to) = section.to {
            if let Some(from) = section.renamed_from {
                self.found.add(from, Fact::Removed, link);
            } else if !section.copied {
                let problem = "a rename without its old name".to_owned();
                return Err(PatchError::Line { line: section.line, problem });
            }
            self.found.add(to, Fact::Added, link);
            return Ok(());
        }
        if section.renamed_from.is_some() {
            let problem = "a rename without its new name".to_owned();
            return Err(PatchError::Line { line: section.line, problem });
        }
        let path = self.name(&section)?;
        if let Some(fact) = section.moves {
            self.found.add(path, fact, link);
        } else {
            let mode = section.old_mode != section.new_mode;
            if mode {
                self.found.add(path.clone(), mode_fact(section.old_mode, section.new_mode), link);
            }
            if section.content {
                self.found.add(path, Fact::Content, link);
            } else if !mode {
                self.found.add(path, Fact::Unknown, link);
            }
        }
        Ok(())
    }

    /// The one name of a file that is not renamed.
    fn name(&self, section: &Section<'_>) -> Result<Vec<u8>, PatchError> {
        match (pairs(section.names, self.strip), &section.new, &section.old) {
            (Some(name), ..) => Ok(name),
            // The line is ambiguous; these are not.
            (None, Some(name), other) | (None, None, other @ Some(name)) => {
                self.stripped(name, other.as_ref(), section.line)
            }
            (None, None, None) => Err(PatchError::Line {
                line: section.line,
                problem: format!("no file is named once {} parts are taken off its name", self.strip),
            }),
        }
    }

    /// What `diff -r` says of what it has no lines for.
    fn said_by_diff(&mut self, line: &[u8]) {
        for name in said_by_diff(line) {
            // In a message it may be anything; a name that is too short is none of the tree.
            if let Some(path) = strip(&name, self.strip) {
                self.found.add(path, Fact::Unknown, Link::Unknown);
            }
        }
    }
}

/// The names in `Only in DIR: NAME`, `Binary files A and B differ` and their like.
fn said_by_diff(line: &[u8]) -> Vec<Vec<u8>> {
    if let Some(rest) = line.strip_prefix(b"Only in ") {
        return match find(rest, b": ") {
            Some(at) => {
                let name = |text: &[u8]| whole(text).unwrap_or_else(|| text.to_vec());
                vec![[name(&rest[..at]), name(&rest[at + 2..])].join(&b'/')]
            }
            None => Vec::new(),
        };
    }
    let between = |start: &[u8], middle: &[u8], end: &[u8]| -> Option<Vec<Vec<u8>>> {
        let rest = line.strip_prefix(start)?;
        let rest = rest.strip_suffix(end)?;
        // Which of several is the right one does not matter: both names stand for one path.
        let at = find(rest, middle)?;
        let names = [&rest[..at], &rest[at + middle.len()..]];
        Some(names.iter().map(|name| whole(name).unwrap_or_else(|| name.to_vec())).collect())
    };
    for start in [&b"Binary files "[..], b"Files ", b"Symbolic links "] {
        if let Some(names) = between(start, b" and ", b" differ") {
            return names;
        }
    }
    // `File A is a directory while file B is a regular file`
    if let Some(rest) = line.strip_prefix(b"File ")
        && let Some(middle) = find(rest, b" while file ")
    {
        let name = |text: &[u8]| {
            let end = find(text, b" is a ").or_else(|| find(text, b" is an "))?;
            Some(text[..end].to_vec())
        };
        let (a, b) = (&rest[..middle], &rest[middle + b" while file ".len()..]);
        return name(a).into_iter().chain(name(b)).collect();
    }
    Vec::new()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// diff writes local time: 1970 began within a day of it.
fn is_epoch(stamp: &[u8]) -> bool {
    let stamp = stamp.trim_ascii();
    stamp.starts_with(b"1970-01-01") || stamp.starts_with(b"1969-12-31")
}

/// The one name that `diff --git` gives twice, with different prefixes or without any.
fn pairs(names: &[u8], count: usize) -> Option<Vec<u8>> {
    let same = |a: &[u8], b: &[u8]| {
        if count == 1 && a == b {
            return strip(a, 0);
        }
        let (a, b) = (strip(a, count)?, strip(b, count)?);
        (a == b).then_some(a)
    };
    if names.starts_with(b"\"") || names.ends_with(b"\"") {
        let (first, rest) = if let Some((first, rest)) = unquote(names) {
            (first, rest.strip_prefix(b" ")?)
        } else {
            let at = find(names, b" \"")?;
            (names[..at].to_vec(), &names[at + 1..])
        };
        return same(&first, &whole(rest)?);
    }
    // `a/` and `b/` are equally long: the two names meet in the middle, whatever blanks they have.
    let middle = names.len() / 2;
    let split = |at: usize| same(&names[..at], &names[at + 1..]);
    if names.get(middle) == Some(&b' ')
        && let Some(name) = split(middle)
    {
        return Some(name);
    }
    let mut others = (0..names.len()).filter(|&at| names[at] == b' ').filter_map(split);
    let name = others.next()?;
    others.next().is_none().then_some(name)
}

/// Takes leading parts off a path. None where nothing would be left.
fn strip(path: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut rest = path;
    for _ in 0..count {
        let slash = rest.iter().position(|&byte| byte == b'/')?;
        rest = &rest[slash..];
        // Several slashes are one.
        while let Some(after) = rest.strip_prefix(b"/") {
            rest = after;
        }
    }
    let path = parts(rest).collect::<Vec<_>>().join(&b'/');
    (!path.is_empty()).then_some(path)
}

/// A name that may be in quotes, as the whole of a text.
fn whole(text: &[u8]) -> Option<Vec<u8>> {
    match unquote(text) {
        Some((name, b"")) => Some(name),
        Some(_) => None,
        None => (!text.starts_with(b"\"") && !text.is_empty()).then(|| text.to_vec()),
    }
}

/// A name in double quotes with C's escapes, as git and diff write it where it has odd characters; and what follows.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut name = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((name, rest)),
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                name.push(match escaped {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'"' | b'\\' => escaped,
                    b'0'..=b'3' => {
                        let (low, after) = rest.split_first_chunk::<2>()?;
                        rest = after;
                        if !low.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
                            return None;
                        }
                        (escaped - b'0') << 6 | (low[0] - b'0') << 3 | (low[1] - b'0')
                    }
                    _ => return None,
                });
            }
            _ => name.push(byte),
        }
    }
}

/// `@@ -old,lines +new,lines @@`
struct Hunk {
    old: (u64, u64),
    new: (u64, u64),
}

fn hunk(line: &[u8]) -> Option<Hunk> {
    let ranges = line.strip_prefix(b"@@ -")?;
    let ranges = std::str::from_utf8(&ranges[..find(ranges, b" @@")?]).ok()?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| -> Option<(u64, u64)> {
        match text.split_once(',') {
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        }
    };
    Some(Hunk { old: range(old)?, new: range(new)? })
}

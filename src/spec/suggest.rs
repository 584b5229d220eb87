//! Suggestions for misspelt names.

/// The name among `known` that `written` is likely a typo of.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One edit in three letters is a typo; more is another word. A single letter is always another word.
    let budget = match written.chars().count() {
        0 | 1 => 0,
        letters => (letters / 3).max(1),
    };
    known
        .into_iter()
        .filter(|name| name.len().abs_diff(written.len()) <= budget)
        .map(|name| (distance(written, name), name))
        .filter(|(distance, _)| *distance <= budget)
        .min()
        .map(|(_, name)| name)
}

fn distance(a: &str, b: &str) -> usize {
    if a.eq_ignore_ascii_case(b) { 0 } else { strsim::osa_distance(a, b) }
}

/// "did you mean `x`?", or the names there are, or that there are none.
pub fn help<'a>(written: &str, what: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = nearest(written, known.clone()) {
        return format!("did you mean `{name}`?");
    }
    match list(known) {
        names if names.is_empty() => format!("there are no {what}"),
        names => format!("{what}: {names}"),
    }
}

/// The names in backquotes, cut short where there are many.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MANY: usize = 20;
    let mut names = names.into_iter();
    let shown: Vec<_> = names.by_ref().take(MANY).map(|name| format!("`{name}`")).collect();
    let rest = names.count();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_near_and_other_words_are_not() {
        let known = ["source", "arch", "defconfig", "toolchain"];
        assert_eq!(nearest("sorce", known), Some("source"));
        assert_eq!(nearest("Arch", known), Some("arch"));
        assert_eq!(nearest("toolchains", known), Some("toolchain"));
        assert_eq!(nearest("board", known), None);
        assert_eq!(help("x", "archs", ["amd64"]), "archs: `amd64`");
        assert_eq!(help("x", "archs", []), "there are no archs");
    }
}

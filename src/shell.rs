//! Words as a shell takes them, for commands that people can paste.

/// A word, in quotes where it needs them.
pub fn quoted(word: &str) -> String {
    // More than shlex takes for plain: `O=/out` is easier to read than `'O=/out'`.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_=./:,+@%-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    // A byte that no shell can be given is in no command: no program could have been started with it.
    shlex::try_quote(word).map_or_else(|_| String::new(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_they_must_be() {
        for (word, expected) in [
            ("O=/kiln/out", "O=/kiln/out"),
            ("", "''"),
            ("no such", "'no such'"),
            ("$HOME", "'$HOME'"),
            ("a\0b", ""),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}

//! What a server said, made fit to be shown.

/// As much of a server's text as anybody reads.
const SHOWN: usize = 300;

/// A text that a server made up: short, on one line, without characters that steer a terminal, and without the secret that we
/// showed it, which some servers repeat.
pub fn said(text: &str, secret: Option<&str>) -> String {
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => plain(&text.replace(secret, "(the token)")),
        None => plain(text),
    }
}

/// The same where no secret can be in it: names, and messages of jobs.
pub fn plain(text: &str) -> String {
    let mut characters = text.trim().chars().map(|c| if c.is_control() || is_direction(c) { ' ' } else { c });
    let mut shown: String = characters.by_ref().take(SHOWN).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character makes what follows run the other way.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An error with all that led to it: libraries keep the reason ("connection refused") at the end of the chain.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_can_neither_steer_a_terminal_nor_tell_a_secret() {
        let text = format!("no\x1b[2J s3cret\n\u{202e}{}", "x".repeat(1000));
        let shown = said(&text, Some("s3cret"));
        assert!(shown.starts_with("no [2J (the token)  xxx"), "{shown}");
        assert_eq!(shown.chars().count(), SHOWN + 1);
        assert_eq!(said("as it is", Some("")), "as it is");
        assert_eq!(said(" s3cret", None), "s3cret");
    }
}

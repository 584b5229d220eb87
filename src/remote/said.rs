//! What a server said, made fit to be shown.

use super::secret::Secret;

/// As much of a server's text as anybody reads.
const SHOWN: usize = 200;

/// A text that a server made up: short, on one line, without bytes that steer a terminal, and without the token, which
/// some servers repeat.
pub(super) fn said(text: &str, token: Option<&Secret>) -> String {
    let text = match token.map(Secret::reveal).filter(|token| !token.is_empty()) {
        Some(token) => text.replace(token, "(the token)"),
        None => text.to_owned(),
    };
    let plain = |c: char| if c.is_control() || is_direction(c) { ' ' } else { c };
    let mut shown: String = text.trim().chars().map(plain).take(SHOWN).collect();
    if text.trim().chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character makes what follows run the other way.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An error with all that led to it: libraries keep the reason ("connection refused") at the end of the chain.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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
    fn what_a_server_says_can_neither_steer_a_terminal_nor_tell_the_token() {
        let token = Secret::new("s3cret".to_owned());
        let text = format!("no\x1b[2J s3cret\n\u{202e}{}", "x".repeat(1000));
        let shown = said(&text, Some(&token));
        assert!(shown.starts_with("no [2J (the token)  xxx"), "{shown}");
        assert!(!shown.contains("s3cret"));
        assert_eq!(shown.chars().count(), SHOWN + 1);
    }
}

//! What a lab said, made fit to be shown.

use super::settings::Token;

/// As much of a lab's text as anybody reads.
const SHOWN: usize = 300;

/// A text that a lab made up: short, on one line, without characters that steer a terminal, and without the token.
pub(super) fn said(text: &str, token: &Token) -> String {
    if token.reveal().is_empty() { plain(text) } else { plain(&text.replace(token.reveal(), "(the token)")) }
}

/// The same where the token can't be in it: names, and messages of jobs.
pub(super) fn plain(text: &str) -> String {
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
    fn what_a_lab_says_can_neither_steer_a_terminal_nor_tell_the_token() {
        let token = Token::new("s3cret".to_owned());
        let shown = said(&format!("no\x1b[2J s3cret\n\u{202e}{}", "x".repeat(1000)), &token);
        assert!(shown.starts_with("no [2J (the token)  xxx"), "{shown}");
        assert_eq!(shown.chars().count(), SHOWN + 1);
        assert_eq!(said("as it is", &Token::new(String::new())), "as it is");
    }
}

//! Text from servers, labs, logs and error chains, made safe to print on a terminal.

use std::error::Error;

/// The longest sanitised line, in characters.
const MAX_LINE: usize = 300;

/// `text` on one line of at most 300 characters: control characters and characters that change the writing direction
/// become spaces.
pub fn one_line(text: &str) -> String {
    bounded(text.trim(), ' ')
}

/// Like [`one_line`], for text that a server returns: some servers repeat the secret that they received.
pub fn one_line_redacted(text: &str, secret: Option<&str>) -> String {
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => one_line(&text.replace(secret, "(the token)")),
        None => one_line(text),
    }
}

/// Like [`one_line`], but untrimmed and with U+FFFD in place of each replaced character, so that a report shows where one was.
pub fn one_line_marked(text: &str) -> String {
    bounded(text, char::REPLACEMENT_CHARACTER)
}

/// `text` without escape sequences and control characters. Line feeds and tabs stay; a carriage return ends a line.
pub fn without_escapes(text: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c) || c == '[') {}
            }
            '\r' => stripped.push('\n'),
            '\n' | '\t' => stripped.push(c),
            c if c.is_control() => {}
            c => stripped.push(c),
        }
    }
    stripped
}

/// An error and its causes, joined by `: `. A cause whose text is already present is left out.
pub fn error_chain(error: &dyn Error) -> String {
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

fn bounded(text: &str, replacement: char) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() || is_bidi_control(c) { replacement } else { c });
    let mut line: String = chars.by_ref().take(MAX_LINE).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

/// Whether a character changes the writing direction of what follows.
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn server_text_neither_controls_a_terminal_nor_reveals_a_secret() {
        let text = format!("no\x1b[2J s3cret\n\u{202e}{}", "x".repeat(1000));
        let shown = one_line_redacted(&text, Some("s3cret"));
        assert!(shown.starts_with("no [2J (the token)  xxx"), "{shown}");
        assert_eq!(shown.chars().count(), MAX_LINE + 1);
        assert_eq!(one_line_redacted("as it is", Some("")), "as it is");
        assert_eq!(one_line_redacted(" s3cret", None), "s3cret");
    }

    #[test]
    fn a_report_marks_replaced_characters() {
        assert_eq!(one_line_marked(" a\x1b[31mb\n"), " a\u{fffd}[31mb\u{fffd}");
    }

    #[test]
    fn escape_sequences_are_removed_and_lines_are_kept() {
        assert_eq!(without_escapes("\x1b[31mred\x1b[0m\tb\r\nc\x07\x1b"), "red\tb\n\nc");
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("no connection")]
        struct Outer(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("no connection: refused")]
        struct Repeats(#[source] io::Error);
        assert_eq!(error_chain(&Outer(io::Error::other("refused"))), "no connection: refused");
        assert_eq!(error_chain(&Repeats(io::Error::other("refused"))), "no connection: refused");
    }
}

//! Filters of console output: removes escape sequences, and separates kernel messages from program output.

use std::time::Duration;

/// The longest time stamp of a kernel message, `[4294967295.999999]`, with a margin.
const LONGEST_STAMP: usize = 24;

/// Removes escape sequences from a stream: colours, cursor movements, queries, titles.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum EscapeFilter {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and a character that needs one more.
    OneMore,
    /// In a control sequence, which ends with a letter.
    Control,
    /// In a string, which ends with BEL or ESC.
    String,
}

impl EscapeFilter {
    /// Filters the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            *self = match (*self, byte) {
                (_, 0x1b) => Self::Escape,
                // A truncated sequence ends with its line.
                (_, b'\n' | b'\r') => {
                    text.push(byte);
                    Self::Text
                }
                (Self::Text, 0) => Self::Text,
                (Self::Text, _) => {
                    text.push(byte);
                    Self::Text
                }
                (Self::Escape, b'[') => Self::Control,
                (Self::Escape, b']' | b'P' | b'_' | b'^' | b'X') => Self::String,
                (Self::Escape, b' '..=b'/') => Self::OneMore,
                (Self::Control, b' '..=b'?') => Self::Control,
                (Self::String, byte) if byte != 7 => Self::String,
                (Self::Escape | Self::OneMore | Self::Control | Self::String, _) => Self::Text,
            };
        }
        text
    }
}

/// Removes kernel messages from a stream, which leaves program output. The kernel prints a message as one complete line, even
/// in the middle of a program's line.
#[derive(Clone, Debug, Default)]
pub(super) struct ProgramOutput {
    /// The possible start of a message.
    held: Vec<u8>,
    in_message: bool,
    stamp: Option<Duration>,
}

impl ProgramOutput {
    /// The program output in the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.in_message {
                self.in_message = byte != b'\n';
                continue;
            }
            self.held.push(byte);
            match stamp(&self.held) {
                Stamp::Begun => {}
                Stamp::Whole(time) => {
                    self.stamp = Some(time);
                    self.in_message = true;
                    self.held.clear();
                }
                Stamp::None => {
                    // This byte may start a message.
                    let kept = usize::from(byte == b'[');
                    let text_until = self.held.len() - kept;
                    text.extend(self.held.drain(..text_until));
                }
            }
        }
        text
    }

    /// The kernel's time in its last message.
    pub const fn stamp(&self) -> Option<Duration> {
        self.stamp
    }
}

enum Stamp {
    None,
    Begun,
    Whole(Duration),
}

/// Whether a text is, or starts, the time stamp of a kernel message: `[   12.345678]`.
fn stamp(text: &[u8]) -> Stamp {
    let Some((b'[', rest)) = text.split_first() else { return Stamp::None };
    if text.len() > LONGEST_STAMP {
        return Stamp::None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let rest = &rest[spaces..];
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (seconds, rest) = rest.split_at(digits(rest));
    let rest = match rest.split_first() {
        None => return Stamp::Begun,
        Some((b'.', rest)) if !seconds.is_empty() => rest,
        Some(_) => return Stamp::None,
    };
    let (fraction, rest) = rest.split_at(digits(rest));
    match rest {
        [] => Stamp::Begun,
        [b']'] if !fraction.is_empty() => {
            let text = [seconds, b".", fraction].concat();
            let time = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            time.and_then(|time| Duration::try_from_secs_f64(time).ok()).map_or(Stamp::None, Stamp::Whole)
        }
        _ => Stamp::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `take` with chunks of every size.
    fn in_pieces(text: &str, mut take: impl FnMut(usize) -> Vec<u8>) {
        let whole = take(text.len());
        for size in 1..text.len() {
            assert_eq!(take(size), whole, "{text:?} in pieces of {size}");
        }
    }

    fn plain(text: &str) -> String {
        let mut found = Vec::new();
        in_pieces(text, |size| {
            let mut plain = EscapeFilter::default();
            found = text.as_bytes().chunks(size.max(1)).flat_map(|piece| plain.take(piece)).collect();
            found.clone()
        });
        String::from_utf8(found).unwrap()
    }

    fn programs(text: &str) -> String {
        let mut found = Vec::new();
        in_pieces(text, |size| {
            let mut programs = ProgramOutput::default();
            found = text.as_bytes().chunks(size.max(1)).flat_map(|piece| programs.take(piece)).collect();
            found.clone()
        });
        String::from_utf8(found).unwrap()
    }

    #[test]
    fn escape_sequences_are_removed() {
        for (text, expected) in [
            ("\x1b[1;32mOK\x1b[0m", "OK"),
            ("login: \x1b[6n", "login: "),
            ("a\x1b[?25lb\x1b[2J\x1b[Hc", "abc"),
            ("\x1b]0;a title\x07text\x1b]8;;x\x1b\\end", "textend"),
            ("\x1b(B\x1b)0x\x1b7y\x1bcz\0", "xyz"),
            ("cut \x1b[3\nnext \x1b]0;t\r\nlast \x1b", "cut \nnext \r\nlast "),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn kernel_messages_are_removed_from_program_output() {
        for (text, expected) in [
            ("[    1.234567] usb 1-1: new\nKILN-OK\n", "KILN-OK\n"),
            ("KILN-[   12.345678] usb 1-1: new\r\nBOOT-[   12.345679] a\r\n[   12.4] b\nOK", "KILN-BOOT-OK"),
            ("[   12.345678][    T1] caller\nx", "x"),
            (
                "[ OK ] Started [1] [1.x] [] [.5] [[    1.0] message\nend",
                "[ OK ] Started [1] [1.x] [] [.5] [end",
            ),
            ("1.5] [99999999999999999999999999.5]", "1.5] [99999999999999999999999999.5]"),
        ] {
            assert_eq!(programs(text), expected, "{text:?}");
        }
        let mut all = ProgramOutput::default();
        all.take(b"[    1.5] a\n[    2.25] b\n");
        assert_eq!(all.stamp(), Some(Duration::from_millis(2250)));
    }
}

//! Logical lines: joins continuations and skips help texts.

/// A logical line with the number of its first line, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
}

/// The logical lines of a file.
pub(super) fn lines(file: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = file.lines().enumerate().peekable();
    while let Some((index, line)) = rest.next() {
        let mut text = line.trim_end().to_owned();
        while let Some(joined) = text.strip_suffix('\\').map(str::len) {
            text.truncate(joined);
            let Some((_, next)) = rest.next() else { break };
            text.push_str(next.trim_end());
        }
        let word = text.trim();
        if word == "help" || word == "---help---" {
            // A help text continues while lines are indented like its first one, or blank.
            let mut depth = None;
            while let Some((_, line)) = rest.peek() {
                let here = indent(line);
                let inside = match (here, depth) {
                    (None, _) => true,
                    (Some(here), Some(depth)) => here >= depth,
                    (Some(here), None) => here > 0,
                };
                if !inside {
                    break;
                }
                depth = depth.or(here);
                rest.next();
            }
        } else if !word.is_empty() && !word.starts_with('#') {
            lines.push(Line { number: index + 1, text: word.to_owned() });
        }
    }
    lines
}

/// The indentation of a line, with tabs of eight columns; `None` for a blank line.
fn indent(line: &str) -> Option<usize> {
    let mut width = 0;
    for char in line.chars() {
        match char {
            '\t' => width = (width & !7) + 8,
            char if char.is_whitespace() => width += 1,
            _ => return Some(width),
        }
    }
    None
}

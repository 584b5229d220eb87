//! Text in columns.

/// Aligns rows in columns, two blanks apart. The last column is not padded. Widths are those of the plain text, as the
/// printed text may have colors.
pub fn columns(rows: &[Vec<Cell>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.width);
            let last = column + 1 == row.len();
            match (cell.right, last) {
                (true, _) => line.extend([&*pad, &*cell.shown]),
                (false, true) => line.push_str(&cell.shown),
                (false, false) => line.extend([&*cell.shown, &*pad]),
            }
            if !last {
                line.push_str("  ");
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A cell.
pub struct Cell {
    shown: String,
    width: usize,
    right: bool,
}

impl Cell {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        let shown = text.into();
        Self { width: shown.chars().count(), shown, right: false }
    }

    /// Text with colors.
    pub fn styled(plain: &str, shown: String) -> Self {
        Self { width: plain.chars().count(), shown, right: false }
    }

    /// Aligns it to the right.
    #[must_use]
    pub fn right(self) -> Self {
        Self { right: true, ..self }
    }
}

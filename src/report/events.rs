//! Events as JSON, a line each. The schema is `docs/events.md`.

use std::io::{self, Write};

use crate::exec::event::{Event, Sink};

/// Writes one JSON object a line.
pub struct JsonLines<W>(pub W);

impl<W: Write> Sink for JsonLines<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, event)?;
        self.0.write_all(b"\n")?;
        self.0.flush()
    }
}

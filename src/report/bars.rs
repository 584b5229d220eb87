//! Events as progress bars: one for the whole, one for each running action.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::ended;
use super::style::{Style, duration};
use crate::exec::event::{Event, Finished, How, Sink};

/// How often the clocks on the bars move.
const TICK: Duration = Duration::from_millis(200);

/// Progress bars on standard error.
pub struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    running: HashMap<Arc<str>, ProgressBar>,
    style: Style,
}

impl Bars {
    /// Bars with nothing on them as yet.
    pub fn new(style: Style) -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new(0));
        let template = "{bar:30} {pos}/{len} nodes  {elapsed}{msg}";
        total.set_style(ProgressStyle::with_template(template).expect("a constant template"));
        Self { all, total, running: HashMap::new(), style }
    }

    fn start(&mut self, node: &Arc<str>, remark: String) {
        let bar = self.all.add(ProgressBar::new_spinner());
        let template = "{spinner} {elapsed:>4} {prefix} {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("a constant template"));
        bar.set_prefix(node.to_string());
        bar.set_message(remark);
        bar.enable_steady_tick(TICK);
        self.running.insert(Arc::clone(node), bar);
    }
}

impl Sink for Bars {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Begun { nodes, fresh, expected, .. } => {
                self.total.set_length(*nodes as u64);
                self.total.set_position(*fresh as u64);
                if !expected.is_zero() {
                    self.total.set_message(format!(" of about {}", duration(*expected)));
                }
                self.total.enable_steady_tick(TICK);
            }
            Event::Started { node, expected, .. } => {
                let note = expected.map(|time| format!("of about {}", duration(time))).unwrap_or_default();
                self.start(node, self.style.dim(note));
            }
            Event::Waiting { node, holder } => {
                self.start(node, self.style.dim(format!("another kiln runs it ({holder})")));
            }
            Event::Finished(finished) => {
                if let Some(bar) = self.running.remove(&finished.node) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
                self.total.inc(1);
                if worth_a_line(finished) {
                    self.all.println(ended(finished, self.style).trim_end())?;
                }
            }
            Event::Expanded { into, .. } => self.total.inc_length(into.len() as u64),
            Event::Warning { message } => {
                self.all.println(format!("{} {message}", self.style.warn("warning:")))?;
            }
            Event::Ended(_) => {
                self.total.finish_and_clear();
                self.all.clear()?;
            }
        }
        Ok(())
    }
}

/// Whether the end of a node is told, beyond the bar that moves on.
fn worth_a_line(finished: &Finished) -> bool {
    finished.outcome != crate::store::Outcome::Pass || matches!(finished.how, How::Ran | How::RanUnchanged)
}

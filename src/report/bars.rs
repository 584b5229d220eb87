//! Events as progress bars: one for the whole run, one for each running action, one for transfers from remotes.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::fetching::fetching;
use super::lines::ended;
use super::style::{Style, duration};
use crate::exec::event::{Event, Fetching, Finished, How, Sink};
use crate::graph::NodeName;

/// The interval at which the times on the bars are updated.
const TICK: Duration = Duration::from_millis(200);

/// The place where bars are drawn. There is one per process, so that other messages are not printed between bars.
#[derive(Clone, Debug, Default)]
pub struct Screen(MultiProgress);

impl Screen {
    /// Hides the bars while `print` runs.
    pub fn aside<T>(&self, say: impl FnOnce() -> T) -> T {
        self.0.suspend(say)
    }
}

/// Progress bars on standard error.
pub struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    /// Present while transfers are under way.
    fetching: Option<ProgressBar>,
    running: HashMap<NodeName, ProgressBar>,
    style: Style,
}

impl Bars {
    /// Bars without progress.
    pub fn new(screen: &Screen, style: Style) -> Self {
        let all = screen.0.clone();
        let total = all.add(ProgressBar::new(0));
        let template = "{bar:30} {pos}/{len} nodes  {elapsed}{msg}";
        total.set_style(ProgressStyle::with_template(template).expect("a constant template"));
        Self { all, total, fetching: None, running: HashMap::new(), style }
    }

    fn start(&mut self, node: &NodeName, remark: String) {
        let bar = self.all.add(ProgressBar::new_spinner());
        let template = "{spinner} {elapsed:>4} {prefix} {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("a constant template"));
        bar.set_prefix(node.to_string());
        bar.set_message(remark);
        bar.enable_steady_tick(TICK);
        self.running.insert(node.clone(), bar);
    }

    fn fetch(&mut self, figures: &Fetching) {
        let bar = self.fetching.take().unwrap_or_else(|| {
            let bar = self.all.insert_after(&self.total, ProgressBar::new(0));
            bar.set_style(ProgressStyle::with_template("{bar:30} {msg}").expect("a constant template"));
            bar
        });
        bar.set_length(figures.of);
        bar.set_position(figures.is_here());
        bar.set_message(fetching(figures));
        if figures.is_here() < figures.of {
            self.fetching = Some(bar);
        } else {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
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
            Event::Fetching(figures) => self.fetch(figures),
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

/// Whether the end of a node is printed, in addition to the progress of the bar.
fn worth_a_line(finished: &Finished) -> bool {
    finished.outcome != crate::store::Outcome::Pass || matches!(finished.how, How::Ran | How::RanUnchanged)
}

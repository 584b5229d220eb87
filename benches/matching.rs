//! How long it takes to find which of many boards boot each of many kernels, from the bytes of their `.config`s; and
//! how long reading a `.config` takes, against reading its lines and understanding none.
//!
//! `cargo bench --bench matching`; `KILN_BENCH_CONFIGS` is how many `.config`s (1,000), `KILN_BENCH_PAIRS` how often each
//! is measured (5).
//!
//! What is compared is the time that the processor works for this process, which others on the machine disturb less than
//! the time on the wall; all is done in as many threads as there are cores, and both times of that are printed.
//!
//! The symbols and their values are random, in the proportions of a distribution's `.config`; all is in memory.

mod common;

use std::fmt::Write;
use std::io::BufRead;
use std::time::Duration;

use common::{Random, Target, in_turns, setting, time};
use kiln::kernel::config::KConfig;
use kiln::kernel::matching::boots;
use kiln::kernel::predicate::Predicate;
use nix::time::{ClockId, clock_gettime};
use rayon::prelude::*;

const SYMBOLS: usize = 12_000;
const BOARDS: usize = 500;

/// How many of the `.config`s are read to compare with their lines: more are beyond what a processor keeps at hand.
const READ: usize = 50;

fn main() {
    let (count, pairs) = (setting("KILN_BENCH_CONFIGS", 1_000), setting("KILN_BENCH_PAIRS", 5));
    let mut random = Random(1);
    let symbols: Vec<Symbol> = (0..SYMBOLS).map(|index| Symbol::new(index, &mut random)).collect();
    let configs: Vec<Vec<u8>> = (0..count).map(|_| config(&symbols, &mut random)).collect();
    let boards: Vec<(String, Predicate)> =
        (0..BOARDS).map(|index| (format!("board-{index}"), board(&symbols, &mut random))).collect();
    let named: Vec<(&str, &Predicate)> =
        boards.iter().map(|(name, requires)| (name.as_str(), requires)).collect();

    let few = &configs[..READ.min(count)];
    let bytes = few.iter().map(Vec::len).sum::<usize>() / few.len();
    let parse = || few.iter().map(|config| KConfig::parse(config).0.len()).sum::<usize>();
    let lines = || few.iter().map(|config| line_by_line(config)).sum::<usize>();
    assert_eq!(parse(), SYMBOLS * few.len(), "each symbol is read once");
    let read = in_turns(pairs.max(15), processor_time(parse), processor_time(lines));
    let what =
        format!("{} .configs of {SYMBOLS} symbols, {} KiB each, read on one core", few.len(), bytes >> 10);
    read.report(&what, "kiln", "BufRead::read_until", &Target::AtMost(3.0));

    let matched = || -> usize {
        let count = |config: &Vec<u8>| boots(&KConfig::parse(config).0, &named).count();
        configs.par_iter().map(count).sum()
    };
    let (mut walls, mut worked) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        walls.push(time(matched)());
        worked.push(processor_time(matched)());
    }
    let threads = rayon::current_num_threads();
    println!("{} of {} pairs of a .config and a board match", matched(), count * BOARDS);
    println!("{count} .configs matched with {BOARDS} boards, reading included, on {threads} threads");
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (wall, worked) = (median(walls), median(worked));
    println!(
        "    {wall:.2?}, of the processor {worked:.2?}: {:.2?} a thread",
        worked / u32::try_from(threads).unwrap_or(1)
    );
    println!("    target at most 1 s: {}", if wall <= Duration::from_secs(1) { "met" } else { "MISSED" });
}

/// The time that all threads of this process work at something.
fn processor_time<T>(mut work: impl FnMut() -> T) -> impl FnMut() -> Duration {
    let clock = || clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock that Linux has");
    move || {
        let start = clock();
        drop(std::hint::black_box(work()));
        Duration::from(clock() - start)
    }
}

/// The least that understanding a file takes: its lines.
fn line_by_line(config: &[u8]) -> usize {
    let (mut rest, mut line, mut total) = (config, Vec::new(), 0);
    while rest.read_until(b'\n', &mut line).expect("memory can be read") > 0 {
        total += line.len();
        line.clear();
    }
    total
}

struct Symbol {
    name: String,
    kind: Kind,
}

enum Kind {
    Tristate,
    Number,
    Text,
}

impl Symbol {
    /// Names of up to five words, as Linux has them.
    fn new(index: usize, random: &mut Random) -> Self {
        const WORDS: [&str; 16] = [
            "SERIAL",
            "NET",
            "CONSOLE",
            "HAVE_ARCH",
            "DRM",
            "USB",
            "SND_SOC",
            "8250",
            "VIRTIO",
            "CRYPTO",
            "GPIO",
            "DEBUG",
            "ARCH_WANT",
            "MFD",
            "I2C",
            "REGULATOR",
        ];
        let mut name = String::new();
        for _ in 0..=random.below(3) {
            let _ = write!(name, "{}_", WORDS[random.below(WORDS.len())]);
        }
        let _ = write!(name, "{index}");
        let kind = match random.below(40) {
            0 => Kind::Number,
            1 => Kind::Text,
            _ => Kind::Tristate,
        };
        Self { name, kind }
    }
}

fn config(symbols: &[Symbol], random: &mut Random) -> Vec<u8> {
    let mut text = "#\n# Automatically generated file; DO NOT EDIT.\n#\n".to_owned();
    for (index, Symbol { name, kind }) in symbols.iter().enumerate() {
        if index % 40 == 0 {
            text.push_str("\n#\n# A menu\n#\n");
        }
        let _ = match (kind, random.below(10)) {
            (Kind::Number, value) => writeln!(text, "CONFIG_{name}={value}"),
            (Kind::Text, value) => writeln!(text, "CONFIG_{name}=\"text {value}\""),
            (Kind::Tristate, 0..3) => writeln!(text, "CONFIG_{name}=y"),
            (Kind::Tristate, 3..6) => writeln!(text, "CONFIG_{name}=m"),
            (Kind::Tristate, _) => writeln!(text, "# CONFIG_{name} is not set"),
        };
    }
    text.into_bytes()
}

/// Of 5 to 12 symbols. All that hold would be nothing to look for, and so would all that fail at their first symbol.
fn board(symbols: &[Symbol], random: &mut Random) -> Predicate {
    let count = 5 + random.below(8);
    let mut text = String::new();
    let mut left = count;
    while left > 0 {
        let test = |random: &mut Random| {
            let Symbol { name, kind } = &symbols[random.below(symbols.len())];
            match (kind, random.below(4)) {
                (Kind::Number, 0) => format!("{name}!=3"),
                (Kind::Number, _) => format!("{name}<{}", 2 + random.below(9)),
                (Kind::Text, _) => format!("{name}!=\"text {}\"", random.below(10)),
                (Kind::Tristate, 0) => format!("{name}!=m"),
                (Kind::Tristate, 1) => format!("!({name}=m)"),
                (Kind::Tristate, _) => name.clone(),
            }
        };
        let group = (1 + random.below(4)).min(left);
        left -= group;
        let tests: Vec<String> = (0..group).map(|_| test(random)).collect();
        let _ = write!(text, "{}({})", if text.is_empty() { "" } else { " && " }, tests.join(" || "));
    }
    let predicate = Predicate::parse(&text).expect("it was written by the rules");
    assert!(predicate.symbols().len() <= count);
    predicate
}

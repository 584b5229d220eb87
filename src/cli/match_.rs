//! `kiln match`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::failure::Failure;
use super::format::Format;
use super::project::load_spec;
use super::terminal::{Terminal, out, outln};
use crate::kinds::match_boards::{ConfigMatches, Lookup, look_up, match_config};
use crate::report::{self, Matched};
use crate::session::{source_roots, undefined_symbols};
use crate::spec::model::Spec;

/// The largest file that is read, in bytes. The longest `.config` of Linux has 400 KB.
const LONGEST: u64 = 256 << 20;

/// The number of problems of a file that are printed.
const PROBLEMS: usize = 10;

/// Which boards can boot a kernel with this `.config`?
///
/// Evaluates each board's `requires`, as a build does, and nothing else. Nothing is run, and nothing is recorded.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A final .config, such as out/SOURCE/ARCH/DEFCONFIG/TOOLCHAIN/config; `-` is standard input.
    file: PathBuf,
    /// Only this board. May be repeated.
    #[arg(long, value_name = "NAME")]
    board: Vec<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = load_spec(terminal)?;
    check_boards(&args.board, &spec)?;
    let file = if args.file == Path::new("-") {
        "standard input".to_owned()
    } else {
        args.file.display().to_string()
    };
    let bytes =
        read(&args.file).map_err(|error| Failure::new(Exit::Spec, format!("can't read {file}: {error}")))?;
    let ConfigMatches { symbols, problems, boards, unmentioned } = match_config(&spec, &args.board, &bytes);
    if symbols == 0 {
        let help = if bytes.starts_with(b"\x1f\x8b") {
            "it is compressed: `zcat FILE | kiln match -`"
        } else {
            "a .config has lines such as CONFIG_TTY=y; a build's is in out/, next to its kernel"
        };
        return Err(
            Failure::new(Exit::Spec, format!("{file} is no .config: nothing is set in it")).help(help)
        );
    }
    if let Format::Text = args.format {
        warn(&file, &problems, terminal);
    }
    // Trees are searched only for symbols that the file does not mention.
    let lookup =
        if unmentioned.is_empty() { Lookup::default() } else { look_up(unmentioned, source_roots(&spec)) };
    let (trees, undefined) = undefined_symbols(lookup);
    let matched = Matched { file, symbols, problems, boards, trees, undefined };
    match args.format {
        Format::Text => out!("{}", report::match_text(&matched, terminal.out)),
        Format::Json => outln!("{:#}", report::match_json(&matched)),
    }
    Ok(Exit::Done)
}

/// Fails if there are no boards, or not those that were asked for.
fn check_boards(asked: &[String], spec: &Spec) -> Result<(), Failure> {
    let boards: &BTreeMap<String, _> = &spec.project.boards;
    if boards.is_empty() {
        return Err(Failure::new(Exit::Spec, "the project has no boards")
            .help("`boards` of graph.ron is where they go"));
    }
    match asked.iter().find(|board| !boards.contains_key(*board)) {
        Some(board) => {
            let names: Vec<&str> = boards.keys().map(String::as_str).collect();
            Err(Failure::new(Exit::Spec, format!("there is no board {board:?}"))
                .help(format!("boards: {}", names.join(", "))))
        }
        None => Ok(()),
    }
}

fn read(from: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut read = |from: &mut dyn Read| from.take(LONGEST + 1).read_to_end(&mut bytes);
    let length =
        if from == Path::new("-") { read(&mut stdin().lock())? } else { read(&mut File::open(from)?)? };
    if length as u64 > LONGEST {
        return Err(std::io::Error::other(format!("it has more than {} MiB", LONGEST >> 20)));
    }
    Ok(bytes)
}

fn warn(file: &str, problems: &[(usize, String)], terminal: &Terminal) {
    for (line, text) in problems.iter().take(PROBLEMS) {
        terminal.warning(&format!("{file}: line {line}: {text}"));
    }
    if let more @ 1.. = problems.len().saturating_sub(PROBLEMS) {
        terminal.warning(&format!("{file}: {more} more such lines: see --format json"));
    }
}

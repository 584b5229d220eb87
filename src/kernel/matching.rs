//! Matches boards: a board can boot a kernel if the final `.config` satisfies its predicate. There is no other criterion.

use super::predicate::{Lookup, Predicate};

/// For each board, in order: `Ok`, or the failing part of its predicate with the values found.
///
/// `config` is a whole `.config` or its [projection](super::config::KConfig::projection) onto the predicates' symbols, with
/// the same result.
pub fn match_boards<'a>(
    config: &dyn Lookup,
    boards: &[(&'a str, &Predicate)],
) -> Vec<(&'a str, Result<(), String>)> {
    boards.iter().map(|(name, requires)| (*name, requires.failing(config).map_or(Ok(()), Err))).collect()
}

/// The boards that can boot a configuration, in order.
pub fn boots<'a>(config: &dyn Lookup, boards: &[(&'a str, &Predicate)]) -> impl Iterator<Item = &'a str> {
    boards.iter().filter(|(_, requires)| requires.eval(config)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::config::{KConfig, Value};

    #[test]
    fn each_board_gets_its_answer_and_a_projection_the_same() {
        let pc = Predicate::parse("X86_64 && SERIAL_8250_CONSOLE").unwrap();
        let virt = Predicate::parse("ARM64 && SERIAL_AMBA_PL011_CONSOLE").unwrap();
        let boards = [("pc", &pc), ("virt", &virt)];
        let (config, _) = KConfig::parse(
            b"CONFIG_X86_64=y\nCONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_SERIAL_AMBA_PL011_CONSOLE=m\n",
        );
        let failing = "ARM64=y (is not set) && SERIAL_AMBA_PL011_CONSOLE=y (is m)".to_owned();
        let expected = vec![("pc", Ok(())), ("virt", Err(failing))];
        assert_eq!(match_boards(&config, &boards), expected);
        assert_eq!(boots(&config, &boards).collect::<Vec<_>>(), ["pc"]);
        let symbols = pc.symbols().into_iter().chain(virt.symbols());
        assert_eq!(match_boards(&config.projection(symbols), &boards), expected);
    }

    /// A `.config` as Linux 6.1 wrote it.
    #[test]
    fn a_real_config_boots_its_board_and_no_other() {
        let (config, problems) = KConfig::parse(include_bytes!("testdata/x86_64-tiny-pc.config"));
        assert_eq!(problems, []);
        assert_eq!(config.get("HZ"), Value::Int(250));
        assert_eq!(config.get("PHYSICAL_START"), Value::Hex(0x100_0000));
        assert!(matches!(config.get("CC_VERSION_TEXT"), Value::Text(text) if text.contains("gcc")));
        let pc = Predicate::parse(
            "X86_64 && TTY && SERIAL_8250_CONSOLE && BLK_DEV_INITRD && RD_GZIP && BINFMT_ELF",
        );
        let old = Predicate::parse("X86_32 && SERIAL_8250_CONSOLE");
        let (pc, old) = (pc.unwrap(), old.unwrap());
        let expected = vec![("pc", Ok(())), ("old", Err("X86_32=y (is not set)".to_owned()))];
        assert_eq!(match_boards(&config, &[("pc", &pc), ("old", &old)]), expected);
    }
}

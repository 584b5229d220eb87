//! Transfers from remotes, for people.

use crate::exec::event::Fetching;
use crate::spec::show_size;

/// The amount, the total, the rate, and what was resumed: `12.0 MiB of 1.2 GiB, 85.0 MiB/s (3.0 MiB of it was here from an
/// earlier try)`.
pub fn fetching(fetching: &Fetching) -> String {
    let here = fetching.is_here();
    let of = if here < fetching.of { format!(" of {}", show_size(fetching.of)) } else { String::new() };
    let resumed = match fetching.resumed {
        0 => String::new(),
        resumed => format!(" ({} of it was here from an earlier try)", show_size(resumed)),
    };
    format!("{}{of}, {}/s{resumed}", show_size(here), show_size(fetching.rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_well() {
        let mut figures = Fetching { bytes: 9 << 20, resumed: 3 << 20, of: 5 << 28, rate: 85 << 20 };
        assert_eq!(
            fetching(&figures),
            "12.0 MiB of 1.2 GiB, 85.0 MiB/s (3.0 MiB of it was here from an earlier try)"
        );
        figures = Fetching { bytes: 12 << 20, resumed: 0, of: 12 << 20, rate: 0 };
        assert_eq!(fetching(&figures), "12.0 MiB, 0 B/s");
    }
}

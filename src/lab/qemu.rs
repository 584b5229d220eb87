//! The command line that boots a kernel in QEMU.

use std::ffi::OsString;
use std::path::Path;

/// A boot: the machine and its kernel.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// The program: `qemu-system-...`.
    pub program: &'a str,
    /// Arguments that define the machine: `-M pc -m 128`.
    pub args: &'a [String],
    /// The kernel image.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initrd: Option<&'a Path>,
    /// The kernel command line.
    pub cmdline: &'a str,
}

impl Boot<'_> {
    /// The argument vector, program first.
    ///
    /// The console is standard output. There is no display, no monitor and, because of `-nodefaults`, no network card or other
    /// device that the board does not declare. A restart of the guest ends QEMU.
    pub fn argv(&self) -> Vec<OsString> {
        let mut argv = vec![OsString::from(self.program)];
        argv.extend(self.args.iter().map(OsString::from));
        argv.extend(["-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot"].map(OsString::from));
        argv.extend([OsString::from("-kernel"), self.kernel.into()]);
        if let Some(initrd) = self.initrd {
            argv.extend([OsString::from("-initrd"), initrd.into()]);
        }
        if !self.cmdline.is_empty() {
            argv.extend(["-append", self.cmdline].map(OsString::from));
        }
        argv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By default, QEMU gives every machine a network card with access to the host's network.
    #[test]
    fn a_guest_has_no_network_unless_its_board_asks() {
        let argv = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            let kernel = Path::new("/kiln/in/image");
            Boot { program: "qemu", args: &args, kernel, initrd: None, cmdline: "" }.argv()
        };
        let network = |word: &OsString| {
            let word = word.to_string_lossy();
            ["-nic", "-net", "-netdev"].contains(&&*word) || word.contains("net-")
        };
        let plain = argv(&["-M", "pc"]);
        assert!(plain.contains(&"-nodefaults".into()) && !plain.iter().any(network), "{plain:?}");
        assert!(argv(&["-nic", "user"]).iter().any(network));
    }

    #[test]
    fn a_board_becomes_a_command() {
        let args = ["-M", "pc", "-m", "128"].map(str::to_owned);
        let boot = Boot {
            program: "qemu-system-x86_64",
            args: &args,
            kernel: Path::new("/kiln/in/image"),
            initrd: Some(Path::new("/kiln/in/initramfs")),
            cmdline: "console=ttyS0 panic=-1",
        };
        let expected = [
            "qemu-system-x86_64",
            "-M",
            "pc",
            "-m",
            "128",
            "-nographic",
            "-nodefaults",
            "-serial",
            "stdio",
            "-no-reboot",
            "-kernel",
            "/kiln/in/image",
            "-initrd",
            "/kiln/in/initramfs",
            "-append",
            "console=ttyS0 panic=-1",
        ];
        assert_eq!(boot.argv(), expected);
        let bare = Boot { initrd: None, cmdline: "", ..boot };
        assert_eq!(bare.argv(), expected[..12]);
    }
}

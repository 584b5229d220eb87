use proptest::prelude::*;

use super::*;

const MARKER: &str = "KILN-BOOT-OK";
const LIMIT: Duration = Duration::from_mins(1);
const ENDED: ConsoleVerdict = ConsoleVerdict::Ended { awaited: Awaited::Marker };

/// Feeds chunks one second apart.
fn boot(chunks: &[&[u8]]) -> (Console, Instant) {
    let mut now = Instant::now();
    let mut console = Console::new(MARKER, LIMIT, now);
    for chunk in chunks {
        now += Duration::from_secs(1);
        console.feed(chunk, now);
    }
    (console, now)
}

/// The verdict when the machine ends after the last chunk.
fn ended(chunks: &[&[u8]]) -> ConsoleVerdict {
    let (mut console, now) = boot(chunks);
    console.finish(now)
}

/// The verdict when the machine goes on in silence.
fn waited(chunks: &[&[u8]]) -> ConsoleVerdict {
    let (mut console, _) = boot(chunks);
    let deadline = console.deadline();
    if let Some(before) = deadline.checked_sub(Duration::from_nanos(1)) {
        assert!(console.verdict.is_some() || console.tick(before).is_none());
    }
    console.tick(deadline).unwrap().clone()
}

/// Time was up after a last line.
fn hang(awaited: Awaited, last_line: &str, silent: Duration) -> ConsoleVerdict {
    ConsoleVerdict::TimeUp { awaited, last_line: last_line.into(), silent }
}

/// The verdict when the last of so many chunks, one second apart, is followed by silence.
fn silent_after(chunks: u64, last_line: &str) -> ConsoleVerdict {
    hang(Awaited::Marker, last_line, LIMIT.saturating_sub(Duration::from_secs(chunks)))
}

fn passed(seconds: u64) -> ConsoleVerdict {
    ConsoleVerdict::Passed { awaited: Awaited::Marker, after: Duration::from_secs(seconds) }
}

#[test]
fn the_marker_passes_wherever_it_is() {
    assert_eq!(ended(&[b"Linux version\r\n", b"KILN-BOOT-OK x86_64 6.1\r\n"]), passed(2));
    assert_eq!(ended(&[b"noise KILN-BOOT-OK"]), passed(1));
    assert_eq!(ended(&[b"KILN-", b"BOOT", b"-OK"]), passed(3));
    assert_eq!(ended(&[b"\xff\xfe\x00KILN-BOOT-OK\xff"]), passed(1));
    assert_eq!(ended(&[b"KILN-BOOT-OK\n", b"Kernel panic - not syncing: too late\n"]), passed(1));
}

#[test]
fn the_marker_is_found_in_a_line_without_end() {
    let long = vec![b'x'; 1_000_000];
    let (mut console, now) = boot(&[&long, b"KILN-BO", b"OT-OK"]);
    assert!(console.line.len() < 10_000);
    assert_eq!(console.finish(now), passed(3));
    for before in 8180..8220 {
        let mut text = vec![b'x'; before];
        text.extend(b"Kernel panic - not syncing: x\n");
        assert!(matches!(ended(&[&text]), ConsoleVerdict::Panic { .. }), "{before}");
        text.truncate(before);
        text.extend(b"KILN-BOOT-OK");
        assert_eq!(ended(&[&text]), passed(1), "{before}");
    }
}

#[test]
fn panics_and_oopses_fail_after_their_aftermath() {
    let panic = ConsoleVerdict::Panic { line: "[ 0.5] Kernel panic - not syncing: VFS".into() };
    assert_eq!(ended(&[b"[ 0.5] Kernel panic - not", b" syncing: VFS\r\n", b"CPU: 0\r\n"]), panic);
    assert_eq!(waited(&[b"[ 0.5] Kernel panic - not syncing: VFS\n"]), panic);
    let oopses = [
        "Oops: 0002 [#1]",
        "[    0.4] Oops [#1]",
        "general protection fault, maybe for address 0x8: 0000 [#1]",
        "Internal error: Oops - undefined",
        "[1.0] watchdog: BUG: soft lockup",
        "kernel BUG at mm/slab.c:1!",
        "Unable to handle kernel paging request",
    ];
    for line in oopses {
        let expected = ConsoleVerdict::Oops { line: line.into() };
        let bytes = format!("{line}\n");
        assert_eq!(waited(&[bytes.as_bytes()]), expected);
        assert_eq!(ended(&[bytes.as_bytes(), b"Kernel panic - not syncing: Fatal exception\n"]), expected);
        assert_eq!(
            ended(&[bytes.as_bytes(), b"KILN-BOOT-OK\n"]),
            expected,
            "a marker after an oops is worth nothing"
        );
        let (console, now) = boot(&[bytes.as_bytes()]);
        assert_eq!(console.deadline(), now + AFTERMATH);
    }
    assert_eq!(ended(&[b"DEBUG: fine\nLinux version 6.1 #1 SMP\nKILN-BOOT-OK\n"]), passed(1));
}

#[test]
fn an_aftermath_does_not_outlast_the_limit() {
    let start = Instant::now();
    let mut console = Console::new(MARKER, LIMIT, start);
    console.feed(b"BUG: x\n", start + Duration::from_secs(59));
    assert_eq!(console.deadline(), start + LIMIT);
}

#[test]
fn silence_hang_and_end_are_told_apart() {
    assert_eq!(waited(&[]), silent_after(0, ""));
    assert_eq!(waited(&[b"\r\n\0\r\n"]), silent_after(0, ""));
    assert_eq!(waited(&[b"Booting\r\n\r\n"]), silent_after(1, "Booting"));
    assert_eq!(waited(&[b"a\nno end "]), silent_after(1, "no end"));
    assert_eq!(ended(&[]), ENDED);
    assert_eq!(ended(&[b"Booting\n"]), ENDED);
    assert_eq!(
        ended(&[b"Kernel panic - not syncing: no newline"]),
        ConsoleVerdict::Panic { line: "Kernel panic - not syncing: no newline".into() }
    );
}

#[test]
fn a_login_prompt_is_no_marker() {
    let login = ConsoleVerdict::Login { line: "debian login:".into() };
    assert_eq!(waited(&[b"Debian 12\r\n\r\ndebian login: "]), login);
    assert_eq!(waited(&[b"debian log", b"in:"]), login);
    let (console, now) = boot(&[b"debian login: "]);
    assert_eq!(console.deadline(), now + PROMPT);
    // What follows in time shows that it was none; so does the end of the machine.
    assert_eq!(ended(&[b"debian login: ", b"KILN-BOOT-OK\n"]), passed(2));
    assert_eq!(ended(&[b"debian login: "]), ENDED);
    assert_eq!(waited(&[b"debian login: ", b"root\r\n"]), silent_after(2, "debian login: root"));
    assert_eq!(waited(&[b"debian login:\r\n"]), silent_after(1, "debian login:"));
    // What is wrong with the kernel says more.
    let oops = ConsoleVerdict::Oops { line: "BUG: x".into() };
    assert_eq!(waited(&[b"BUG: x\ndebian login: "]), oops);
    assert_eq!(
        waited(&[b"Kernel panic - not syncing: x login: "]),
        ConsoleVerdict::Panic { line: "Kernel panic - not syncing: x login:".into() }
    );
}

#[test]
fn a_prompt_does_not_outlast_the_limit() {
    let start = Instant::now();
    let mut console = Console::new(MARKER, LIMIT, start);
    console.feed(b"login: ", start + Duration::from_secs(59));
    assert_eq!(console.deadline(), start + LIMIT);
    let hang = hang(Awaited::Marker, "login:", Duration::from_secs(1));
    assert_eq!(console.tick(start + LIMIT), Some(&hang));
}

#[test]
fn a_login_prompt_passes_where_it_is_awaited() {
    let start = Instant::now();
    let second = |n| start + Duration::from_secs(n);
    let watched = |chunks: &[&[u8]]| {
        let mut console = Console::new("", LIMIT, start);
        for (chunk, at) in chunks.iter().zip(1..) {
            console.feed(chunk, second(at));
        }
        console
    };
    let verdict = |chunks: &[&[u8]]| {
        let mut console = watched(chunks);
        console.tick(console.deadline()).unwrap().clone()
    };
    let awaited = Awaited::Login;
    let two = ConsoleVerdict::Passed { awaited, after: Duration::from_secs(2) };
    assert_eq!(verdict(&[b"Debian\r\n", b"debian login: "]), two);
    assert_eq!(
        verdict(&[b"Debian\r\n"]),
        hang(awaited, "Debian", LIMIT.saturating_sub(Duration::from_secs(1)))
    );
    assert_eq!(verdict(&[b"BUG: x\n", b"debian login: "]), ConsoleVerdict::Oops { line: "BUG: x".into() });
    assert_eq!(watched(&[b"Debian\n"]).finish(second(3)), ConsoleVerdict::Ended { awaited });
}

#[test]
fn chatter_does_not_move_the_limit() {
    let start = Instant::now();
    let mut console = Console::new(MARKER, LIMIT, start);
    for second in 1..60 {
        assert_eq!(console.feed(b"still here\n", start + Duration::from_secs(second)), None);
    }
    let hang = hang(Awaited::Marker, "still here", Duration::ZERO);
    assert_eq!(console.feed(b"still here\n", start + LIMIT), Some(&hang));
}

#[test]
fn verdicts_are_sentences_and_survive_storage() {
    let verdicts = [
        (passed(3), "booted to the marker in 3.0 s"),
        (ConsoleVerdict::Panic { line: "p".into() }, "the kernel panicked: p"),
        (ConsoleVerdict::Oops { line: "o".into() }, "the kernel oopsed: o"),
        (hang(Awaited::Marker, "l", LIMIT), "no marker in time; the last line was: l"),
        (
            ConsoleVerdict::Login { line: "debian login:".into() },
            "a login prompt instead of the marker: debian login:",
        ),
        (
            ConsoleVerdict::Passed { awaited: Awaited::Login, after: Duration::from_secs(9) },
            "booted to the login prompt in 9.0 s",
        ),
        (
            ConsoleVerdict::Ended { awaited: Awaited::Login },
            "the machine ended before the login prompt appeared",
        ),
        (hang(Awaited::Marker, "", LIMIT), "no marker in time; nothing was ever printed"),
        (ENDED, "the machine ended before the marker appeared"),
    ];
    for (verdict, sentence) in verdicts {
        assert_eq!(verdict.to_string(), sentence);
        assert_eq!(verdict.passed(), matches!(verdict, ConsoleVerdict::Passed { .. }));
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<ConsoleVerdict>(&json).unwrap(), verdict);
        let bytes = postcard::to_allocvec(&verdict).unwrap();
        assert_eq!(postcard::from_bytes::<ConsoleVerdict>(&bytes).unwrap(), verdict);
    }
}

#[test]
fn a_pipe_is_watched_and_logged() {
    let watched = |text: &'static [u8], limit, keep_open: bool| {
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(text).unwrap();
        let open = keep_open.then_some(writer);
        let mut log = Vec::new();
        let mut console = Console::new(MARKER, limit, Instant::now());
        let verdict = watch(&mut reader, &mut console, &mut log, &mut || {}).unwrap();
        drop(open);
        assert_eq!(log, text);
        verdict
    };
    assert!(watched(b"hello\nKILN-BOOT-OK\n", LIMIT, true).passed());
    assert_eq!(watched(b"hello\n", LIMIT, false), ENDED);
    let short = Duration::from_millis(20);
    let verdict = watched(b"hello\n", short, true);
    assert!(
        matches!(&verdict, ConsoleVerdict::TimeUp { last_line, .. } if last_line == "hello"),
        "{verdict}"
    );
}

#[test]
fn what_a_kernel_message_or_an_escape_tears_is_whole() {
    assert_eq!(ended(&[b"KILN-BO[   12.345678] usb 1-1: new device\r\n", b"OT-OK\r\n"]), passed(2));
    assert_eq!(ended(&[b"KILN-\x1b[1;32mBOOT\x1b[0m-OK"]), passed(1));
    assert_eq!(ended(&[b"\x1b[6nKILN", b"\x1b[", b"6n-BOOT-OK"]), passed(3));
    assert_eq!(ended(&[b"[    1.5] usb: KILN-BOOT-OK"]), passed(1), "the kernel's own line has it");
    // A message that says that the kernel is broken counts wherever it stands.
    let oops = ConsoleVerdict::Oops { line: "KILN-BO[    1.5] BUG: x".into() };
    assert_eq!(ended(&[b"KILN-BO[    1.5] BUG: x\r\nOT-OK\r\n"]), oops);
    assert_eq!(
        ended(&[b"\x1b[31mKernel panic - \x1b[0mnot syncing: x\n"]),
        ConsoleVerdict::Panic { line: "Kernel panic - not syncing: x".into() }
    );
    let login = ConsoleVerdict::Login { line: "debian login:".into() };
    for torn in [
        &b"debian lo[    1.5] random: crng init done\r\ngin: "[..],
        b"debian login: [    1.5] random: crng init done\r\n",
        b"\x1b[1mdebian login:\x1b[0m \x1b[6n",
    ] {
        assert_eq!(waited(&[torn]), login, "{}", String::from_utf8_lossy(torn));
    }
    assert_eq!(waited(&[b"debian login: ", b"\x1b[6n", b"[    1.5] late\r\n"]), login);
}

#[test]
fn the_kernels_clock_is_held_against_ours() {
    let (console, _) = boot(&[b"[    1.0] a\n", b"b\n", b"[    1.5] c\n", b"d\n"]);
    assert_eq!(console.clocks(), Some((Duration::from_millis(500), Duration::from_secs(2))));
    assert_eq!(boot(&[b"no stamps\n"]).0.clocks(), None);
}

proptest! {
    #[test]
    fn chunks_do_not_matter(text in "(KILN-BOOT-OK|KILN|Oops: x|Kernel panic - not syncing|\r|\n|x|é){0,12}", cuts in prop::collection::vec(1..9_usize, 0..40)) {
        let now = Instant::now();
        let mut whole = Console::new(MARKER, LIMIT, now);
        whole.feed(text.as_bytes(), now);
        let mut pieces = Console::new(MARKER, LIMIT, now);
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.feed(piece, now);
            rest = after;
        }
        pieces.feed(rest, now);
        prop_assert_eq!(whole.finish(now), pieces.finish(now));
    }

    #[test]
    fn no_bytes_can_break_it(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10)) {
        let now = Instant::now();
        let mut console = Console::new(MARKER, LIMIT, now);
        for chunk in chunks {
            console.feed(&chunk, now);
        }
        console.finish(now);
    }
}

use std::fs;

use tempfile::TempDir;

use super::*;

/// A tree of these files, read for x86.
fn tree(files: &[(&str, &str)]) -> Kconfig {
    let dir = TempDir::new().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Kconfig::read(dir.path(), &variables("x86_64")).unwrap()
}

/// A tree of one file that is understood altogether.
fn whole(text: &str) -> Kconfig {
    let kconfig = tree(&[("Kconfig", text)]);
    assert_eq!(kconfig.skipped(), &Skipped::default());
    kconfig
}

/// Why a setting is not so; `-` where nothing forbids it.
fn why(kconfig: &Kconfig, setting: &str, config: &str) -> String {
    let (symbol, wanted) = setting.split_once('=').unwrap();
    let config: String = config.split_whitespace().map(|setting| format!("CONFIG_{setting}\n")).collect();
    let (config, problems) = KConfig::parse(config.as_bytes());
    assert_eq!(problems, []);
    kconfig.explain(symbol, wanted, &config).map_or("-".to_owned(), |reason| reason.to_string())
}

#[track_caller]
fn says(kconfig: &Kconfig, cases: &[(&str, &str, &str)]) {
    for (setting, config, expected) in cases {
        assert_eq!(why(kconfig, setting, config), *expected, "{setting} with {config:?}");
    }
}

#[test]
fn dependencies_come_from_the_entry_and_from_all_around_it() {
    let kconfig = whole(
        "menu \"Devices\"\n\tdepends on HAS_IO\n\nif BUS\n\nconfig CARD\n\tbool \"Card\"\n\tdepends on SLOT\n\
         \tdepends on POWER\n\nendif # BUS\n\nconfig DISK\n\tbool \"Disk\"\n\nendmenu\n\nconfig FREE\n\tbool \"Free\"\n\
         config HAS_IO\n\tbool \"io\"\nconfig BUS\n\tbool \"bus\"\nconfig SLOT\n\tbool \"slot\"\nconfig POWER\n\tbool \"power\"\n",
    );
    says(
        &kconfig,
        &[
            ("CARD=y", "", "depends on HAS_IO (is n) && BUS (is n) && SLOT (is n) && POWER (is n)"),
            ("CARD=y", "HAS_IO=y BUS=y POWER=y", "depends on SLOT, which is n"),
            ("CARD=y", "HAS_IO=y BUS=y SLOT=y POWER=y", "-"),
            ("DISK=y", "", "depends on HAS_IO, which is n"),
            ("FREE=y", "", "-"),
        ],
    );
    let card = &kconfig.symbol("CARD").unwrap().definitions[0];
    assert_eq!((card.file.as_ref(), card.line), (Path::new("Kconfig"), 6));
}

#[test]
fn expressions_have_three_values() {
    let symbols = ["A", "B", "C", "M", "MODULES"];
    let mut text: String =
        symbols.iter().map(|name| format!("config {name}\n\ttristate \"{name}\"\n\n")).collect();
    let cases = [
        ("A && B || C", "A=y", "depends on B (is n) || C (is n)"),
        ("(A || B) && C", "C=y", "depends on A (is n) || B (is n)"),
        ("A && (B || C)", "", "depends on A (is n) && (B (is n) || C (is n))"),
        ("!A", "A=y", "depends on !A (is y)"),
        ("!(A && B)", "A=y B=y", "depends on !(A && B)"),
        ("A=y", "A=m", "depends on A=y (is m)"),
        ("A!=n", "", "depends on A!=n (is n)"),
        ("M", "MODULES=y M=m", "depends on M, which is m"),
        ("!M", "MODULES=y M=m", "depends on !M (is m)"),
        ("m && A", "MODULES=y A=y", "depends on m, which is m"),
        (
            "A || $(cc-option,-mfoo)",
            "",
            "depends on A || $(cc-option,-mfoo), which only the configuring can tell",
        ),
        ("A || $(cc-option,-mfoo)", "A=y", "-"),
        ("B && $(cc-option,-mfoo)", "", "depends on B, which is n"),
        ("COUNT<4", "COUNT=8", "depends on COUNT<4 (is 8)"),
        ("COUNT >= 0x8", "COUNT=8", "-"),
        ("NAME=\"a b\"", "NAME=\"c\"", "depends on NAME=\"a b\" (is c)"),
        ("NAME!=\"\"", "", "depends on NAME!=\"\" (is not set)"),
    ];
    text.push_str("config COUNT\n\tint \"count\"\n\nconfig NAME\n\tstring \"name\"\n\n");
    for (index, (depends, ..)) in cases.iter().enumerate() {
        text.push_str(&format!("config X{index}\n\ttristate \"x\"\n\tdepends on {depends}\n"));
    }
    let kconfig = whole(&text);
    for (index, (depends, config, expected)) in cases.iter().enumerate() {
        let told = why(&kconfig, &format!("X{index}=y"), config);
        assert_eq!(told, *expected, "{depends} with {config:?}");
    }
}

#[test]
fn what_keeps_a_dependency_down_is_told_to_its_end() {
    let kconfig = whole(
        "config DISK\n\tbool \"disk\"\n\tdepends on QUEUE\nconfig QUEUE\n\tbool\n\tdepends on BUS\nconfig BUS\n\ttristate\n\
         config CARD\n\tbool \"card\"\n\tselect BUS\nconfig LOOP\n\tbool \"loop\"\n\tdepends on LOOP\n",
    );
    says(
        &kconfig,
        &[
            (
                "DISK=y",
                "",
                "depends on QUEUE, which is n; QUEUE depends on BUS, which is n; \
                 BUS has no prompt: it is set by what selects it (CARD)",
            ),
            (
                "DISK=y",
                "BUS=y",
                "depends on QUEUE, which is n; QUEUE has no prompt: its defaults alone decide",
            ),
        ],
    );
    // A circle comes to an end.
    assert!(why(&kconfig, "LOOP=y", "").starts_with("depends on LOOP, which is n; LOOP depends on LOOP"));
}

#[test]
fn what_is_not_asked_is_told_apart_from_what_can_not_be() {
    let kconfig = whole(
        "config DEEP\n\tbool \"deep\" if EXPERT\n\tdefault y\nmenu \"quiet\"\n\tvisible if EXPERT\nconfig HIDDEN\n\tint \"h\"\n\
         endmenu\nconfig EXPERT\n\tbool \"expert\"\nconfig USB\n\ttristate \"usb\"\n\nconfig HUB\n\tbool \"hub\"\n\tselect USB if FAST\n\
         config FAST\n\tdef_bool y\n",
    );
    says(
        &kconfig,
        &[
            ("DEEP=n", "DEEP=y", "can be set only with EXPERT, which is n"),
            ("HIDDEN=3", "", "can be set only with EXPERT, which is n"),
            ("USB=n", "USB=y HUB=y FAST=y", "is selected by HUB"),
            ("USB=m", "USB=y HUB=y FAST=y MODULES=y", "is selected by HUB"),
            ("USB=n", "USB=y HUB=y", "-"),
            ("FAST=n", "FAST=y", "has no prompt: its defaults alone decide"),
            ("USB=m", "", "can't be a module, as MODULES is n"),
            ("HUB=m", "MODULES=y", "can't be a module, only y or n"),
        ],
    );
}

#[test]
fn choices_and_ranges_are_told() {
    let kconfig = whole(
        "choice\n\tprompt \"Timer\"\n\tdefault HZ_250\n\nconfig HZ_100\n\tbool \"100\"\n\nconfig HZ_250\n\tbool \"250\"\n\n\
         endchoice\n\nconfig CPUS\n\tint \"cpus\"\n\trange 2 8 if !BIG\n\trange 2 8192 if BIG\nconfig BIG\n\tbool \"big\"\n",
    );
    says(
        &kconfig,
        &[
            ("HZ_100=y", "HZ_250=y", "is one of a choice, and HZ_250 was taken"),
            ("CPUS=64", "CPUS=8", "must be from 2 to 8"),
            ("CPUS=64", "CPUS=8 BIG=y", "-"),
        ],
    );
}

#[test]
fn of_two_definitions_the_one_that_lacks_less_is_told() {
    let kconfig = whole(
        "config X\n\tbool \"x\"\n\tdepends on A && B\nconfig X\n\tbool \"x\"\n\tdepends on C\nconfig A\n\tbool \"a\"\n\
         config B\n\tbool \"b\"\nconfig C\n\tbool \"c\"\n",
    );
    says(&kconfig, &[("X=y", "", "depends on C, which is n"), ("X=y", "A=y B=y", "-")]);
    assert_eq!(kconfig.symbol("X").unwrap().definitions.len(), 2);
}

#[test]
fn a_name_that_nothing_defines_has_near_ones() {
    let kconfig = whole("config PRINTK\n\tbool \"p\"\nconfig PRINTK_TIME\n\tbool \"t\"\n");
    says(
        &kconfig,
        &[
            ("PRINKT=y", "", "no Kconfig file of this tree knows it for this arch; did you mean PRINTK?"),
            ("OTHERWISE=y", "", "no Kconfig file of this tree knows it for this arch"),
        ],
    );
    assert!(kconfig.symbol("PRINKT").is_none());
}

#[test]
fn files_source_files() {
    let kconfig = tree(&[
        (
            "Kconfig",
            "DIR := sub\nsource \"arch/$(SRCARCH)/Kconfig\"\nsource \"$(DIR)/Kconfig\"\nconfig TOP\n\tbool \"t\"\n",
        ),
        ("arch/x86/Kconfig", "config X86\n\tdef_bool y\n"),
        ("sub/Kconfig", "if GATE\nrsource \"more/Kconfig\"\norsource \"none\"\nosource \"none\"\n"),
        ("sub/more/Kconfig", "config MORE\n\tbool \"m\"\n"),
    ]);
    assert_eq!((kconfig.files(), kconfig.skipped()), (4, &Skipped::default()));
    assert!(kconfig.symbol("X86").is_some());
    assert!(why(&kconfig, "MORE=y", "").starts_with("depends on GATE, which is n"));
    // An `if` that its file left open ends with the file.
    assert_eq!(why(&kconfig, "TOP=y", ""), "-");
}

#[test]
fn help_texts_continuations_and_comments_are_no_statements() {
    let kconfig = whole(
        "# config NOT\nmainmenu \"Linux\"\ncomment \"no\"\n\tdepends on X\nconfig A\n\tbool \"a # no comment\" # but this\n\
         \tdepends on B && \\\n\t\tC\n\thelp\n\t  config NOT1\n\n\t  if it is so\n\t    deeper\n  \tconfig NEXT\n\
         \t---help---\n   config NOT2\n\nconfig LAST\n\tbool \"l\"\n\thelp\nconfig REALLY_LAST\n\tbool \"r\"\n",
    );
    // Two blanks and a tab are eight wide, and so less far in than the text before.
    let mut names: Vec<&str> = kconfig.symbols().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["A", "LAST", "NEXT", "REALLY_LAST"]);
    assert!(why(&kconfig, "A=y", "B=y").starts_with("depends on C, which is n"));
}

#[test]
fn what_is_not_understood_is_counted_and_the_rest_is_read() {
    let kconfig = tree(&[(
        "Kconfig",
        "config A\n\tbool \"a\"\n\tfrobnicate B\n\tdepends on (B\n\tdepends on C\nendmenu\nsource \"../x\"\n\
          source \"none\"\nconfig\n$(error-if,$(x),y)\n\"text\n",
    )]);
    assert_eq!(
        kconfig.skipped().first,
        [
            "Kconfig:3: frobnicate B",
            "Kconfig:4: depends on (B",
            "Kconfig:6: endmenu",
            "Kconfig:7: source \"../x\"",
            "Kconfig:8: source \"none\"",
            "Kconfig:9: config",
            "Kconfig:11: \"text",
        ]
    );
    assert_eq!(kconfig.skipped().lines, 7);
    assert!(why(&kconfig, "A=y", "").starts_with("depends on C, which is n"));
}

#[test]
fn hostile_files_come_to_an_end() {
    let deep = format!("config A\n\tbool \"a\"\n\tdepends on {}B\n", "!(".repeat(100_000));
    assert_eq!(tree(&[("Kconfig", &deep)]).skipped().lines, 1);
    let circle = tree(&[("Kconfig", "source \"Kconfig\"\nX = $(X)$(X)\nconfig $(X)\n")]);
    assert!(circle.skipped().lines > 0);
    let missing = Kconfig::read(Path::new("/nonexistent"), &[]);
    assert!(matches!(missing, Err(KconfigError::Root { .. })));
}

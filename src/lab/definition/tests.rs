//! Templates, good and bad.

use super::*;

const GOOD: &str = "\
timeouts:
  job: {minutes: 5}
context: {arch: amd64, memory: '{{ board.memory }}'}
actions:
{# Comments go. #}
- deploy:
    to: tmpfs
    images:
      kernel:
        url: {{ image.url }}
        sha256sum: {{ image.sha256 }}
{% if rootfs %}
      ramdisk:
        url: {{ rootfs.url }}
        sha256sum: {{ rootfs.sha256 }}
        compression: {{ rootfs.compression }}
{% endif %}
- boot:
    prompts: {{ (test.prompts or ['lava-dut# '])|tojson }}
    timeout: {seconds: {{ test.seconds }}}
{% if test.definitions %}
- test:
    definitions: {{ test.definitions|tojson }}
{% endif %}
";

fn content(name: &str, compression: Option<&'static str>) -> Content {
    Content { url: format!("http://ci.example/{name}"), sha256: "ab".repeat(32), compression }
}

fn variables() -> Variables {
    Variables {
        image: content("bzImage", None),
        dtb: None,
        modules: None,
        rootfs: Some(content("rootfs.cpio.gz", Some("gz"))),
        board: BTreeMap::from([("memory".to_owned(), json!("512"))]),
        device_type: "qemu".to_owned(),
        test: TestVariables { prompts: vec!["BOOT-OK".to_owned()], definitions: Vec::new(), seconds: 120 },
    }
}

fn settings() -> Settings {
    Settings {
        job_name: "kiln 0123".to_owned(),
        priority: 50,
        visibility: Visibility::Public,
        tags: vec!["virtual".to_owned()],
        metadata: BTreeMap::from([("kiln-build".to_owned(), "linux/x86_64/pc/gcc".to_owned())]),
        queue: Duration::from_hours(1),
        job: Duration::from_mins(10),
    }
}

fn fill(text: &str) -> Result<String, DefinitionError> {
    render(Template { file: "lava/qemu.yaml", text }, &variables(), &settings())
}

#[track_caller]
fn fails(text: &str) -> String {
    fill(text).expect_err("it should not be rendered").to_string()
}

/// The good template with more at its end.
fn with(more: &str) -> String {
    format!("{GOOD}{more}")
}

#[test]
fn a_definition_is_the_template_with_what_kiln_sets() {
    insta::assert_snapshot!(fill(GOOD).unwrap());
}

#[test]
fn definitions_of_tests_are_sent_as_lava_wants_them() {
    let params = BTreeMap::from([("SECONDS".to_owned(), "10".to_owned())]);
    let text = "params: {SECONDS: '5', OTHER: it's, NUMBER: 7}\ninstall: {steps: [b]}\nrun:\n  steps:\n  - 'true'\n  - |\n    a\n    b\n";
    let inline = inline("smoke", "lava/smoke.yaml", text, &params).unwrap();
    let git = git("ltp", "https://git.example/x", "0123", "a/b.yaml", &BTreeMap::new());
    let mut variables = variables();
    variables.test = TestVariables { prompts: Vec::new(), definitions: vec![inline, git], seconds: 600 };
    let definition = render(Template { file: "lava/qemu.yaml", text: GOOD }, &variables, &settings());
    insta::assert_snapshot!(definition.unwrap());
}

#[test]
fn a_file_that_is_no_test_definition_is_told_of() {
    let of = |text| inline("smoke", "lava/smoke.yaml", text, &BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(of("run: x"), "lava/smoke.yaml: `run` must be a mapping, with the `steps` of the test");
    assert_eq!(of("metadata: []\nrun: {steps: []}"), "lava/smoke.yaml: `metadata` must be a mapping");
    assert_eq!(of("- a"), "lava/smoke.yaml is a list, and not a mapping such as `actions: [..]`");
    let params = BTreeMap::from([("LIMT".to_owned(), "1".to_owned())]);
    let error =
        inline("smoke", "lava/smoke.yaml", "params: {LIMIT: 2}\nrun: {steps: []}", &params).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lava/smoke.yaml has no parameter `LIMT`: name it there under `params`, with its default"
    );
    assert!(
        of("run: {steps: []}\nparams: {A-B: 1}").contains("`params` must be a mapping of names that a shell")
    );
    assert!(
        of("run: {steps: []}\nparameters: {A: [1]}")
            .contains("`parameters` must be a mapping of names to texts")
    );
    assert!(of("run: [").starts_with("lava/smoke.yaml:1:\n  | run: ["), "{}", of("run: ["));
}

#[test]
fn what_has_no_value_is_shown_where_it_stands() {
    assert_eq!(
        fails(&GOOD.replace("board.memory", "board.memroy")),
        "lava/qemu.yaml:3:\n  | context: {arch: amd64, memory: '{{ board.memroy }}'}\n  \
         |                                    ^^^^^^^^^^^^\n  undefined value: `board.memroy` is undefined"
    );
    let never = with("{% if modules %}{{ modules.url }}{% endif %}{% if dtb %}{{ imgae.url }}{% endif %}");
    let error = fails(&never);
    assert!(error.contains("^^^^^^^^^\n  there is no variable `imgae.url`"), "{error}");
    let error = fails(&with("{{ image.sha1 }}"));
    assert!(error.ends_with("there is no variable `image.sha1`"), "{error}");
    let error = fails(&with("{{ dtb.url }}"));
    assert!(error.contains("{{ dtb.url }}"), "{error}");
    // What a board may have or not can be asked for.
    assert!(fill(&with("{% if board.extra is defined %}{{ board.extra }}{% endif %}")).is_ok());
}

#[test]
fn what_is_not_used_is_told_of() {
    let mut variables = variables();
    variables.modules = Some(content("modules.tar.zst", Some("zstd")));
    variables.dtb = Some(content("a.dtb", None));
    variables.board.insert("cmdline".to_owned(), json!("quiet"));
    variables.test.definitions = vec![json!({})];
    let of = |text: &str| render(Template { file: "t.yaml", text }, &variables, &settings());
    let DefinitionError::Unused { names, .. } = of("actions: []").unwrap_err() else {
        panic!("they should be found unused");
    };
    let all = [
        "image.url",
        "dtb.url",
        "modules.url",
        "rootfs.url",
        "test.definitions",
        "test.prompts",
        "board.cmdline",
        "board.memory",
    ];
    assert_eq!(names, all);
    // Whoever takes the whole has used its parts.
    let whole =
        "a: {{ image|tojson }}\nb: {{ [dtb, modules, rootfs, test]|tojson }}\nc: {{ board|tojson }}\n";
    of(whole).unwrap();
    of("{% for name, value in board|items %}\n{{ name }}: {{ value|tojson }}\n{% endfor %}\na: {{ [image, dtb, modules, rootfs, test]|tojson }}\n").unwrap();
}

#[test]
fn a_mistake_in_the_template_itself_is_shown() {
    let error = fails("a: {{ image.url\nb: 1\n");
    assert!(error.starts_with("lava/qemu.yaml:"), "{error}");
    assert!(error.contains("syntax error"), "{error}");
    assert!(fails("{% include 'other' %}").contains("lava/qemu.yaml:1"));
    assert!(
        fails(&with("{{ image.url|nosuch }}")).contains("unknown filter"),
        "{}",
        fails(&with("{{ image.url|nosuch }}"))
    );
}

#[test]
fn a_template_comes_to_an_end() {
    let error = fails(&with(
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}",
    ));
    assert!(error.contains("does not come to an end"), "{error}");
    let error = fails(&with("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"));
    assert!(error.contains("recursion"), "{error}");
    let error = fails(&with("# {{ 'x' * 1000000000 }}"));
    assert!(error.contains("does not come to an end"), "{error}");
    let error = fails(&with("# {% for n in range(2000) %}{{ 'x' * 1000 }}{% endfor %}"));
    assert_eq!(error, "lava/qemu.yaml comes to more than 1048576 bytes");
}

#[test]
fn what_it_comes_to_must_be_one_mapping_with_each_key_once() {
    let tail = "\n#{{ [image, rootfs, test, board]|tojson }}\n";
    let of = |text: &str| fails(&format!("{text}{tail}"));
    assert_eq!(of("- a"), "lava/qemu.yaml is a list, and not a mapping such as `actions: [..]`");
    assert_eq!(of(""), "lava/qemu.yaml is empty, and not a mapping such as `actions: [..]`");
    let error = of("a: 1\nb:\n  c: 1\n  c: 2");
    assert!(error.starts_with("lava/qemu.yaml:4:\n  |   c: 2\n  |   ^\n  not YAML: "), "{error}");
    assert!(of("a: [1").contains("not YAML"), "{}", of("a: [1"));
    assert!(of("a: 1\n---\nb: 1").contains("not YAML"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    }
    assert!(of(&bomb).contains("not YAML"), "{}", of(&bomb));
    assert!(of(&format!("a: {}", "[".repeat(5000))).contains("not YAML"));
}

#[test]
fn what_kiln_sets_is_not_the_templates_to_set() {
    for key in RESERVED {
        let error = fails(&with(&format!("{key}: x\n")));
        assert_eq!(
            error,
            format!("lava/qemu.yaml sets `{key}`, which kiln sets from graph.ron: take it out")
        );
    }
    let error = fails(&GOOD.replace("job: {minutes: 5}", "queue: {minutes: 5}"));
    assert!(error.contains("sets `timeouts.queue`"), "{error}");
    assert_eq!(fails(&with("tags: x\n")), "lava/qemu.yaml: `tags` must be a list");
    assert_eq!(fails(&with("metadata: x\n")), "lava/qemu.yaml: `metadata` must be a mapping");
    assert_eq!(
        fails(&GOOD.replace("  job: {minutes: 5}", "  []")),
        "lava/qemu.yaml: `timeouts` must be a mapping"
    );
}

#[test]
fn tags_metadata_and_timeouts_of_the_template_stay() {
    let own = with("tags: [mine, virtual]\nmetadata: {who: me}\n")
        .replace("  job: {minutes: 5}", "  action: {minutes: 5}");
    let definition = fill(&own).unwrap();
    for line in
        ["- mine\n- virtual\n", "  who: me\n", "  kiln-build: linux/x86_64/pc/gcc\n", "    seconds: 600\n"]
    {
        assert!(definition.contains(line), "no {line:?} in\n{definition}");
    }
}

/// What stands in a job for a text, and what for something else, is the same for kiln and for LAVA, whose YAML is older.
#[test]
fn texts_that_look_like_something_else_stay_texts() {
    let words = [
        "yes",
        "off",
        "0777",
        "1:30",
        "2026-01-31",
        "1e3",
        "~",
        "null",
        "",
        " x",
        "a: b",
        "- a",
        "#a",
        "@a",
        "'",
        "=",
    ];
    let mut settings = settings();
    settings.metadata =
        words.iter().enumerate().map(|(at, word)| (format!("k{at:02}"), (*word).to_owned())).collect();
    let text = with("truth: yes\noctal: 0777\nnumber: 12\nfloat: 1.5\n");
    let definition = render(Template { file: "t", text: &text }, &variables(), &settings).unwrap();
    insta::assert_snapshot!(definition);
    let again = yaml::mapping("again", &definition).unwrap();
    for (at, word) in words.iter().enumerate() {
        assert_eq!(again["metadata"][format!("k{at:02}")], json!(word));
    }
    assert_eq!(again["truth"], json!(true));
    assert_eq!(again["octal"], json!(0o777));
}

#[test]
fn a_marker_is_no_pattern() {
    assert_eq!(prompt("KILN-BOOT-OK"), "KILN-BOOT-OK");
    assert_eq!(prompt(r"[ok] (1.5) $ \\"), r"\[ok\] \(1\.5\) \$ \\\\");
}

/// The templates that come with kiln, with each definition that does.
#[test]
fn the_example_is_good() {
    let text = include_str!("../../../examples/lava/lava/qemu.yaml");
    let template = Template { file: "lava/qemu.yaml", text };
    let mut variables = variables();
    variables.board = [("append", "console=ttyS0,115200"), ("context_arch", "amd64")]
        .map(|(a, b)| (a.to_owned(), json!(b)))
        .into();
    variables.test.prompts = vec![prompt("KILN-BOOT-OK")];
    insta::assert_snapshot!("example_boot", render(template, &variables, &settings()).unwrap());
    variables.modules = Some(content("modules.tar.zst", Some("zstd")));
    let params = BTreeMap::from([("COLLECTIONS".to_owned(), "timers".to_owned())]);
    let files = [
        ("smoke", include_str!("../../../examples/lava/lava/smoke.yaml"), BTreeMap::new()),
        ("gentoo", include_str!("../../../examples/lava/lava/gentoo.yaml"), BTreeMap::new()),
        ("kselftest", include_str!("../../../examples/lava/lava/kselftest.yaml"), params),
    ];
    let definitions = files.iter().map(|(name, text, params)| inline(name, name, text, params));
    let definitions = definitions.collect::<Result<Vec<_>, _>>().unwrap();
    variables.test = TestVariables { prompts: Vec::new(), definitions, seconds: 600 };
    insta::assert_snapshot!("example_tests", render(template, &variables, &settings()).unwrap());
}

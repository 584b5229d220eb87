use proptest::prelude::*;

use super::*;

type Values = BTreeMap<String, String>;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(symbol, value)| ((*symbol).to_owned(), (*value).to_owned())).collect()
}

fn parse(text: &str) -> Predicate {
    Predicate::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn error(text: &str) -> (String, String, Option<String>) {
    let error = Predicate::parse(text).unwrap_err();
    (error.message, text[error.start..error.end].to_owned(), error.help)
}

/// Every kind of comparison against every kind of value.
#[test]
fn truth_table() {
    let found = [
        None,
        Some("n"),
        Some("y"),
        Some("m"),
        Some("5"),
        Some("-5"),
        Some("0x10"),
        Some("\"a\\\"b\""),
        Some("\"\""),
    ];
    let table = [
        ("A", "..y......"),
        ("A=y", "..y......"),
        ("A!=y", "yy.yyyyyy"),
        ("A=m", "...y....."),
        ("A=n", "yy......."),
        ("A!=n", "..yyyyyyy"),
        ("!A", "yy.yyyyyy"),
        ("!(A=m)", "yyy.yyyyy"),
        ("A=5", "....y...."),
        ("A=0x5", "....y...."),
        ("A!=5", "yyyy.yyyy"),
        ("A=16", "......y.."),
        ("A<5", ".....y..."),
        ("A<=5", "....yy..."),
        ("A>-5", "....y.y.."),
        ("A>=0x10", "......y.."),
        ("!(A<5)", "yyyyy.yyy"),
        ("A=\"a\\\"b\"", ".......y."),
        ("A=\"\"", "........y"),
        ("A!=\"\"", "yyyyyyyy."),
        ("A=\"y\"", "........."),
    ];
    for (text, expected) in table {
        let predicate = parse(text);
        for (value, expected) in found.iter().zip(expected.chars()) {
            let config = value.map(|value| values(&[("A", value)])).unwrap_or_default();
            assert_eq!(predicate.eval(&config), expected == 'y', "{text} for {value:?}");
        }
    }
}

/// Every way to join two symbols against every pair of values: a module is not built in, and not is not unset.
#[test]
fn truth_table_of_what_joins() {
    let pairs: Vec<(&str, &str)> =
        ["n", "m", "y"].into_iter().flat_map(|a| ["n", "m", "y"].map(|b| (a, b))).collect();
    // Of A and B: nn nm ny, mn mm my, yn ym yy.
    let table = [
        ("A && B", "... ... ..y"),
        ("A || B", "..y ..y yyy"),
        ("!A && B", "..y ..y ..."),
        ("!(A && B)", "yyy yyy yy."),
        ("!(A || B)", "yy. yy. ..."),
        ("!A || !B", "yyy yyy yy."),
        ("!!A && !!!B", "... ... yy."),
        ("A=m || B=m", ".y. yyy .y."),
        ("(A || A=m) && (B || B=m)", "... .yy .yy"),
        ("A!=n && B!=n", "... .yy .yy"),
        ("!(A=m) && !(B=m)", "y.y ... y.y"),
        ("A || B && B=n || A=m", "... yyy yyy"),
    ];
    for (text, expected) in table {
        let expected: Vec<bool> =
            expected.bytes().filter(|byte| *byte != b' ').map(|byte| byte == b'y').collect();
        let predicate = parse(text);
        let found = pairs.iter().map(|(a, b)| predicate.eval(&values(&[("A", a), ("B", b)])));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn operators_bind_as_in_c() {
    assert_eq!(parse("A || B && !C"), parse("A || (B && (!C))"));
    assert_ne!(parse("A || B && C"), parse("(A || B) && C"));
    assert_eq!(parse("A&&B&&C").to_string(), "A && B && C");
    assert_eq!(parse("(A && (B && ((C))))").to_string(), "A && B && C");
    assert_eq!(parse("CONFIG_A=y && ( CONFIG_B || C = 0X1F )").to_string(), "A && (B || C=0x1f)");
    assert_eq!(parse("!(A=m) && !!B && !(C && D)").to_string(), "!(A=m) && !!B && !(C && D)");
    assert_eq!(parse("64BIT && 32BIT=n").to_string(), "64BIT && 32BIT=n");
}

#[test]
fn symbols_are_sorted_and_bare() {
    let predicate = parse("CONFIG_B || A && B=m");
    assert_eq!(predicate.symbols().into_iter().collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn failing_names_what_must_be_mended() {
    let config = values(&[("A", "y"), ("B", "m"), ("NR", "2"), ("V", "\"x\"")]);
    let failing = |text: &str| parse(text).failing(&config);
    assert_eq!(failing("A && (B || A) && !C"), None);
    assert_eq!(failing("A && B").unwrap(), "B=y (is m)");
    assert_eq!(failing("B && C").unwrap(), "B=y (is m) && C=y (is not set)");
    assert_eq!(
        failing("A && C && (B || D)").unwrap(),
        "C=y (is not set) && (B=y (is m) || D=y (is not set))"
    );
    assert_eq!(failing("C || A && B").unwrap(), "C=y (is not set) || B=y (is m)");
    assert_eq!(failing("!(A && !C)").unwrap(), "!A (is y) || C=y (is not set)");
    assert_eq!(failing("!(A || C)").unwrap(), "!A (is y)");
    assert_eq!(failing("!(B=m) && NR>=4").unwrap(), "!(B=m) (is m) && NR>=4 (is 2)");
    assert_eq!(failing("V=\"y\"").unwrap(), "V=\"y\" (is \"x\")");
}

#[test]
fn lacking_counts_the_fewest_that_must_be_mended() {
    let config = values(&[("A", "y"), ("B", "m")]);
    let lacking = |text: &str| parse(text).lacking(&config);
    assert_eq!(lacking("A && (B || A) && !C"), 0);
    assert_eq!(lacking("A && B"), 1);
    assert_eq!(lacking("B && C && (D || E)"), 3);
    assert_eq!(lacking("(B && C && D) || E"), 1);
    assert_eq!(lacking("!(A || B=m || C)"), 2);
    assert_eq!(lacking("!(A && B=m)"), 1);
}

#[test]
fn errors_point_at_the_place() {
    let case = |text, message: &str, blamed: &str, help: Option<&str>| {
        assert_eq!(error(text), (message.to_owned(), blamed.to_owned(), help.map(str::to_owned)), "{text}");
    };
    case("A &&", "expected a CONFIG symbol, found the end", "", Some("a CONFIG symbol, `!` or `(`"));
    case("A & B", "expected `&&`, `||` or the end, found `&`", "&", Some("write `&&`"));
    case("A and B", "expected `&&`, `||` or the end, found `and`", "and", Some("write `&&`"));
    case("not A", "expected a CONFIG symbol, found `not`", "not", Some("write `!`"));
    case(
        "A, B",
        "expected `&&`, `||` or the end, found `,`",
        ",",
        Some("write `&&` where all are needed, `||` where one is enough"),
    );
    case("(A || B", "this `(` is never closed", "(", Some("add `)`"));
    case("A)", "this `)` closes nothing", ")", Some("remove it"));
    case("A==y", "`==` is no operator here", "==", Some("write `=`"));
    case("A=Y", "`Y` is not a value", "Y", Some("values are lower case: `y`"));
    case(
        "A=foo",
        "`foo` is not a value",
        "foo",
        Some("`y`, `m`, `n`, a number, or a text in double quotes: `A=\"foo\"`"),
    );
    case("A=\"foo", "this text has no closing quote", "\"foo", Some("add `\"`"));
    case("A<m", "`<` compares numbers", "m", Some("write a number, or use `=` or `!=`"));
    case("!A=m", "`!` before a comparison can be read in two ways", "!A=m", Some("write `!(A=m)`"));
    case("A=99999999999999999999", "this number does not fit in 64 bits", "99999999999999999999", None);
    case("y", "`y` is a value, not a CONFIG symbol", "y", Some("compare a symbol with it: `SYMBOL=y`"));
    case("A && é", "expected a CONFIG symbol, found `é`", "é", Some("a CONFIG symbol, `!` or `(`"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}A{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Predicate::parse(&nested(64)).is_ok());
    assert!(error(&nested(65)).0.starts_with("more than 64"));
    assert!(error(&"!".repeat(1_000_000)).0.starts_with("more than 64"));
}

#[test]
fn possible_proves_contradictions() {
    let known = |symbol: &str| match symbol {
        "ON" => Some("y".to_owned()),
        "OFF" => Some("n".to_owned()),
        "TEN" => Some("10".to_owned()),
        _ => None,
    };
    let possible = |text: &str| parse(text).possible(&known);
    assert!(possible("A && (B || OFF)"));
    assert!(possible("TEN>=10 && !OFF && A=\"x\""));
    assert!(possible("A>1 && A<3"));
    assert!(possible("A!=\"\" && A!=y && A!=m && A!=n"));
    assert!(!possible("A && OFF"));
    assert!(!possible("A && A=m"));
    assert!(!possible("A>2 && A<3"));
    assert!(!possible("A>=1 && A"));
    assert!(!possible("(A || B) && !A && !B && C"));
    assert!(!possible("TEN<10 || !ON"));
}

/// A pigeonhole: the proof is exponential, so the answer is the safe one, and soon.
#[test]
fn possible_gives_up_in_time() {
    let pairs = (0..9).flat_map(|hole| (0..10).flat_map(move |a| (0..a).map(move |b| (hole, a, b))));
    let apart = pairs.map(|(hole, a, b)| format!("!(P{a}_{hole} && P{b}_{hole})"));
    let housed = (0..10)
        .map(|a| format!("({})", (0..9).map(|hole| format!("P{a}_{hole}")).collect::<Vec<_>>().join(" || ")));
    let text = housed.chain(apart).collect::<Vec<_>>().join(" && ");
    assert!(parse(&text).possible(&|_| None));
    let long = (0..50_000).map(|index| format!("S{index}")).collect::<Vec<_>>().join(" && ");
    assert!(parse(&long).possible(&|_| None));
}

impl Predicate {
    /// How many comparisons it has.
    fn tests(&self) -> usize {
        let mut count = 0;
        self.root.each_test(&mut |_| count += 1);
        count
    }
}

fn constant() -> impl Strategy<Value = Constant> {
    prop_oneof![
        Just(Constant::Yes),
        Just(Constant::Module),
        Just(Constant::Unset),
        (-2_i128..4).prop_map(|value| Constant::Number(Number { value, hex: false })),
        (0_i128..4).prop_map(|value| Constant::Number(Number { value, hex: true })),
        "[ab\"\\\\]{0,2}".prop_map(Constant::Text),
    ]
}

fn test() -> impl Strategy<Value = Expr> {
    (prop::sample::select(vec!["A", "B", "64BIT"]), 0..6_usize, constant()).prop_map(
        |(symbol, op, constant)| {
            let ops = [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge];
            let op = if matches!(constant, Constant::Number(_)) { ops[op] } else { ops[op % 2] };
            Expr::Test(Test { symbol: symbol.to_owned(), op, constant })
        },
    )
}

fn expr() -> impl Strategy<Value = Expr> {
    test().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Expr::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|items| {
                let flat = |item| if let Expr::All(items) = item { items } else { vec![item] };
                Expr::All(items.into_iter().flat_map(flat).collect())
            }),
            prop::collection::vec(inner, 2..4).prop_map(|items| {
                let flat = |item| if let Expr::Any(items) = item { items } else { vec![item] };
                Expr::Any(items.into_iter().flat_map(flat).collect())
            }),
        ]
    })
}

/// All values that the constants above can tell apart, and more.
const DOMAIN: [&str; 15] =
    ["n", "y", "m", "-4", "-3", "-2", "-1", "0", "1", "0x2", "3", "4", "\"\"", "\"a\"", "\"\\\\\\\"\""];

/// The texts of two characters that `constant` can make, by a plain enumeration.
fn domain() -> Vec<String> {
    let letters = ["a", "b", "\\\\", "\\\""];
    let ones = letters.iter().map(|one| format!("\"{one}\""));
    let twos = letters.iter().flat_map(|one| letters.iter().map(move |two| format!("\"{one}{two}\"")));
    DOMAIN
        .iter()
        .map(|value| (*value).to_owned())
        .chain(ones)
        .chain(twos)
        .chain(["\"other\"".to_owned()])
        .collect()
}

/// What the table in the module's documentation says, written another way than `Test::holds`.
fn naive(expr: &Expr, config: &Values) -> bool {
    match expr {
        Expr::Not(inner) => !naive(inner, config),
        Expr::All(items) => !items.iter().any(|item| !naive(item, config)),
        Expr::Any(items) => items.iter().filter(|item| naive(item, config)).count() > 0,
        Expr::Test(test) => {
            let found = config.get(&test.symbol).map_or("n", String::as_str);
            let number = match found.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).ok(),
                None => found.parse::<i64>().ok(),
            };
            let equal = match &test.constant {
                Constant::Number(wanted) => number.map(i128::from) == Some(wanted.value),
                Constant::Text(wanted) => found == quote(wanted),
                other => found == other.to_string(),
            };
            let Constant::Number(Number { value, .. }) = test.constant else {
                return equal == (test.op == Op::Eq);
            };
            match (test.op, number.map(i128::from)) {
                (Op::Eq, _) => equal,
                (Op::Ne, _) => !equal,
                (_, None) => false,
                (Op::Lt, Some(number)) => number < value,
                (Op::Le, Some(number)) => number <= value,
                (Op::Gt, Some(number)) => number > value,
                (Op::Ge, Some(number)) => number >= value,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn printed_and_parsed_is_the_same(root in expr()) {
        let predicate = Predicate { root };
        prop_assert_eq!(Predicate::parse(&predicate.to_string()), Ok(predicate));
    }

    #[test]
    fn eval_and_failing_agree_with_naive(root in expr(), a in 0..36_usize, b in 0..36_usize, c in 0..36_usize) {
        let domain = domain();
        let config = [("A", a), ("B", b), ("64BIT", c)].into_iter()
            .filter_map(|(symbol, at)| Some((symbol.to_owned(), domain.get(at)?.clone())))
            .collect::<Values>();
        let expected = naive(&root, &config);
        let predicate = Predicate { root };
        prop_assert_eq!(predicate.eval(&config), expected);
        prop_assert_eq!(predicate.failing(&config).is_none(), expected);
        prop_assert_eq!(predicate.lacking(&config) == 0, expected);
    }

    /// `failing` is a predicate over what it blames, but for the values that it tells: it fails too, and where it
    /// holds, so does the whole.
    #[test]
    fn what_is_blamed_is_what_must_be_mended(root in expr(), found in (0..36_usize, 0..36_usize, 0..36_usize), then in (0..36_usize, 0..36_usize, 0..36_usize)) {
        let domain = domain();
        let config = |at: (usize, usize, usize)| [("A", at.0), ("B", at.1), ("64BIT", at.2)].into_iter()
            .filter_map(|(symbol, at)| Some((symbol.to_owned(), domain.get(at)?.clone())))
            .collect::<Values>();
        let (found, then) = (config(found), config(then));
        let predicate = Predicate { root };
        if let Some(mut blamed) = predicate.failing(&found) {
            for value in domain.iter().map(String::as_str).chain(["not set"]) {
                blamed = blamed.replace(&format!(" (is {value})"), "");
            }
            let blamed = parse(&blamed);
            prop_assert!(!blamed.eval(&found), "{}", blamed);
            prop_assert!(blamed.symbols().is_subset(&predicate.symbols()));
            // Only what is blamed changes. What is not blamed goes on as it was, unless it shares a symbol with that.
            let mended: Values = found.iter().filter(|(symbol, _)| !blamed.symbols().contains(symbol.as_str()))
                .chain(then.iter().filter(|(symbol, _)| blamed.symbols().contains(symbol.as_str())))
                .map(|(symbol, value)| (symbol.clone(), value.clone())).collect();
            let shared = predicate.tests() > blamed.tests() && predicate.tests() > predicate.symbols().len();
            if !shared && blamed.eval(&mended) {
                prop_assert!(predicate.eval(&mended), "{} in {}", blamed, predicate);
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused_with_a_place(text in "[ -~é\n]{0,40}|[AB0-9yn=!<>&|() \"x-]{0,24}|([AB(!]|&&|\\|\\||=m|\\)| ){0,24}") {
        match Predicate::parse(&text) {
            Ok(predicate) => prop_assert_eq!(Predicate::parse(&predicate.to_string()), Ok(predicate)),
            Err(error) => prop_assert!(text.get(error.start..error.end).is_some(), "{:?}", error),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn possible_agrees_with_brute_force(root in expr(), fixed in prop::option::of(0..36_usize)) {
        let domain = domain();
        let known = |symbol: &str| if symbol == "A" { domain.get(fixed?).cloned() } else { None };
        let choices = |symbol: &str| known(symbol).map_or_else(|| domain.clone(), |value| vec![value]);
        let mut expected = false;
        'search: for a in choices("A") {
            for b in choices("B") {
                for c in choices("64BIT") {
                    if naive(&root, &values(&[("A", &a), ("B", &b), ("64BIT", &c)])) {
                        expected = true;
                        break 'search;
                    }
                }
            }
        }
        prop_assert_eq!(Predicate { root }.possible(&known), expected);
    }
}

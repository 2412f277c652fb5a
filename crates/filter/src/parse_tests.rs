//! What parses to what, and that nothing makes the parser fall over.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use twinroute_model::event::{EventLimits, EventParts};

use crate::ast::{CompareOperand, FilterExpr, LiteralValue};
use crate::explain::explain;
use crate::{FilterOptions, RouteFilter};

/// The tree with every group in parentheses.
fn check(text: &str, expect: Expect) {
    let filter = RouteFilter::parse(text, &FilterOptions::default()).expect(text);
    assert_eq!(filter.as_str(), text);
    expect.assert_eq(&filter.expr().to_string());
}

#[test]
fn and_binds_tighter_than_or() {
    check("a OR b AND c", expect!["a OR (b AND c)"]);
    check("(a OR b) and c", expect!["(a OR b) AND c"]);
    check("a or b OR c", expect!["a OR b OR c"]);
    check("(a AND b) AND c", expect!["(a AND b) AND c"]);
    check("((a))", expect!["a"]);
}

#[test]
fn operands_stand_on_both_sides() {
    check("'x'=type", expect!["'x' = type"]);
    check("$body.a<=$body.b", expect!["$body.a <= $body.b"]);
    check("$body.a\n!=\tnull", expect!["$body.a != null"]);
    check("TRUE = $body.on", expect!["true = $body.on"]);
    check("Contains( subject ,'a')", expect!["CONTAINS(subject, 'a')"]);
    check("True", expect!["true"]);
}

#[test]
fn numbers_keep_their_kind() {
    check("$body.a = -5", expect!["$body.a = -5"]);
    check("$body.a = +007", expect!["$body.a = 7"]);
    check("$body.a = 5.0", expect!["$body.a = 5.0"]);
    check("$body.a = 1e3", expect!["$body.a = 1000.0"]);
    check(
        "$body.a > 9223372036854775807",
        expect!["$body.a > 9223372036854775807"],
    );
    check(
        "$body.a > 9223372036854775808",
        expect!["$body.a > 9.223372036854776e18"],
    );
    check("$body.a>-1.5E-3", expect!["$body.a > -0.0015"]);
}

#[test]
fn strings_have_backslash_escapes() {
    check(r"subject = 'it\'s'", expect![[r"subject = 'it\'s'"]]);
    check(r#"subject = 'a\\b\"c'"#, expect![[r#"subject = 'a\\b"c'"#]]);
    check(
        r"subject = '\u00e4\ud83d\ude00'",
        expect!["subject = 'ä😀'"],
    );
    check("subject = ''", expect!["subject = ''"]);
    check("subject = '日本\n語'", expect!["subject = '日本\n語'"]);
}

#[test]
fn names_hold_dollar_underscore_letters_digits_and_inner_dashes() {
    check(
        "$body.$metadata.$model = 'x'",
        expect!["$body.$metadata.$model = 'x'"],
    );
    check("$body.größe > 1", expect!["$body.größe > 1"]);
    check("$body.my-name=-1", expect!["$body.my-name = -1"]);
    check("$body.0.1 = 2", expect!["$body.0.1 = 2"]);
    check(
        "$body.and.or.true = null",
        expect!["$body.and.or.true = null"],
    );
}

#[test]
fn depth_bombs_do_not_overflow() {
    let deepest = FilterOptions {
        bytes_max: usize::MAX,
        depth_max: u8::MAX,
    };
    for bomb in ["(", "a AND (", "STARTS_WITH(", "a = ", "((a) OR "] {
        assert!(RouteFilter::parse(&bomb.repeat(1_000_000), &deepest).is_err());
    }
    let text = format!("{}a{}", "(".repeat(255), ")".repeat(255));
    assert!(RouteFilter::parse(&text, &deepest).is_ok());
    let text = format!("{}a{}", "(a AND (b OR ".repeat(127), "))".repeat(127));
    let filter = RouteFilter::parse(&text, &deepest).expect("within the limit");
    assert_eq!(format!("({})", filter.expr()), text);
    filter.warnings();
    filter.anchors();
    let event = EventParts::new("1", "a", "b")
        .build(&EventLimits::default())
        .expect("a legal event");
    let explanation = explain(&filter, &event);
    assert_eq!(explanation.matches, filter.matches(&event));
    assert!(!explanation.to_string().is_empty());
    let chain = "a AND b OR ".repeat(100_000) + "c";
    assert!(RouteFilter::parse(&chain, &deepest).is_ok());
}

/// The tree without places.
fn shape(expr: &FilterExpr) -> String {
    let operand = |operand: &CompareOperand| match operand {
        CompareOperand::Literal(LiteralValue::Text(text)) => format!("text {text:?}"),
        CompareOperand::Literal(literal) => format!("{literal:?}"),
        CompareOperand::Path(path) => format!("path {}", path.as_str()),
    };
    match expr {
        FilterExpr::And(group) => format!(
            "and{:?}",
            group.children.iter().map(shape).collect::<Vec<_>>()
        ),
        FilterExpr::Or(group) => format!(
            "or{:?}",
            group.children.iter().map(shape).collect::<Vec<_>>()
        ),
        FilterExpr::Constant { value, .. } => value.to_string(),
        FilterExpr::Flag(path) => path.as_str().to_owned(),
        FilterExpr::Compare(clause) => {
            format!(
                "{} {} {}",
                operand(&clause.left),
                clause.op,
                operand(&clause.right)
            )
        }
        FilterExpr::Call(clause) => {
            let (subject, part) = (operand(&clause.subject), operand(&clause.part));
            format!("{:?} {subject} {part}", clause.function)
        }
    }
}

/// Checks everything that must hold for any text whatever.
pub(crate) fn check_any(text: &str) {
    let options = FilterOptions::default();
    match RouteFilter::parse(text, &options) {
        Ok(filter) => {
            assert_eq!(filter.as_str(), text);
            let canonical = filter.expr().to_string();
            if canonical.len() <= options.bytes_max {
                let again = RouteFilter::parse(&canonical, &options).expect(&canonical);
                assert_eq!(shape(again.expr()), shape(filter.expr()), "{text}");
                assert_eq!(again.expr().to_string(), canonical);
            }
            check_spans(text, filter.expr());
        }
        Err(error) => {
            let span = error.span();
            assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
            assert!(span.start <= span.end);
            assert!(error.to_string().starts_with("Parsing error, Line="));
            assert!(error.render().len() < 2_000);
        }
    }
}

/// Each clause's span is text that parses to that clause.
fn check_spans(text: &str, expr: &FilterExpr) {
    let part = expr.span().of(text);
    let again = RouteFilter::parse(part, &FilterOptions::default()).expect(part);
    assert_eq!(shape(again.expr()), shape(expr), "{part} of {text}");
    for child in expr.children() {
        check_spans(text, child);
    }
}

/// Words and signs of the language and of its neighbours, in any order.
pub(crate) fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "AND",
        "or",
        "(",
        ")",
        "((",
        "))",
        ",",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "type",
        "subject",
        "$body",
        "$body.a",
        "$body.a.b",
        "$eventType",
        "a-b",
        "true",
        "false",
        "null",
        "'x'",
        "'",
        "''",
        "\\'",
        "'it\\'s'",
        "\\u00e4",
        "5",
        "-5",
        "5.5",
        "1e3",
        "1e999",
        "0x1",
        "STARTS_WITH",
        "STARTS_WITH(",
        "contains(subject,'a')",
        "NOT",
        "IN",
        "[",
        "]",
        "[0]",
        "\"x\"",
        ".",
        "..",
        "$",
        "-",
        "+",
        "ä",
        "\u{a0}",
        "\n",
        "\r\n",
        "\t",
        "==",
        "&&",
        "<>",
        "日本",
        "😀",
    ]);
    let blank = prop::sample::select(vec!["", " ", " ", " "]);
    prop::collection::vec((words, blank), 0..24).prop_map(|parts| {
        parts
            .into_iter()
            .flat_map(|(word, blank)| [word, blank])
            .collect()
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        check_any(&text);
    }

    #[test]
    fn no_soup_panics(text in soup()) {
        check_any(&text);
    }

    #[test]
    fn filters_read_back(text in crate::arbitrary::filter()) {
        assert!(RouteFilter::parse(&text, &FilterOptions::default()).is_ok(), "{text}");
        check_any(&text);
    }
}

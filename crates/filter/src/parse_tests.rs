//! What parses to what, and which words refuse the rest.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use twinroute_model::event::{Limits, Parts};

use crate::ast::{Expr, Literal, Operand};
use crate::explain::explain;
use crate::{Filter, Options};

/// The tree with every group in parentheses.
fn check(text: &str, expect: Expect) {
    let filter = Filter::parse(text, &Options::default()).expect(text);
    assert_eq!(filter.as_str(), text);
    expect.assert_eq(&filter.expr().to_string());
}

fn check_error(text: &str, expect: Expect) {
    check_errors(&[text], expect);
}

fn check_errors(texts: &[&str], expect: Expect) {
    let error = |text: &&str| {
        Filter::parse(text, &Options::default())
            .expect_err(text)
            .render()
    };
    expect.assert_eq(&texts.iter().map(error).collect::<String>());
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
fn the_recorded_refusal_is_reproduced() {
    check_error(
        "this is not a valid filter string",
        expect![[r#"
            Parsing error, Line=1, Position=6, Message=Unexpected input 'is'
                this is not a valid filter string
                     ^^
        "#]],
    );
}

#[test]
fn words_of_other_languages_get_a_hint() {
    check_errors(
        &[
            "type IN ['a', 'b']",
            "subject IS NOT NULL",
            "NOT type = 'a'",
            "a AND NOT (type = 'a')",
            "subject LIKE 'a%'",
            "$body.a BETWEEN 1 AND 2",
        ],
        expect![[r#"
            Parsing error, Line=1, Position=6, Message=Unexpected input 'IN'
                type IN ['a', 'b']
                     ^^
            hint: ADT filters have no IN; write type = 'a' OR type = 'b'
            Parsing error, Line=1, Position=9, Message=Unexpected input 'IS'
                subject IS NOT NULL
                        ^^
            hint: write = null or != null
            Parsing error, Line=1, Position=5, Message=Unexpected input 'type'
                NOT type = 'a'
                    ^^^^
            hint: ADT filters have no NOT; turn the comparison around, for example != instead of =
            Parsing error, Line=1, Position=7, Message=Unknown function 'NOT'
                a AND NOT (type = 'a')
                      ^^^
            hint: ADT filters have no NOT; turn the comparison around, for example != instead of =
            Parsing error, Line=1, Position=9, Message=Unexpected input 'LIKE'
                subject LIKE 'a%'
                        ^^^^
            hint: write STARTS_WITH(x, y), ENDS_WITH(x, y) or CONTAINS(x, y)
            Parsing error, Line=1, Position=9, Message=Unexpected input 'BETWEEN'
                $body.a BETWEEN 1 AND 2
                        ^^^^^^^
            hint: write x >= 1 AND x <= 2
        "#]],
    );
}

#[test]
fn functions_of_other_languages_get_a_hint() {
    check_errors(
        &[
            "is_defined($body.a)",
            "length($body.a) = 2",
            "$dt.IS_OF_MODEL('dtmi:a;1')",
        ],
        expect![[r#"
            Parsing error, Line=1, Position=1, Message=Unknown function 'is_defined'
                is_defined($body.a)
                ^^^^^^^^^^
            hint: write x != null or x = null
            Parsing error, Line=1, Position=1, Message=Unknown function 'length'
                length($body.a) = 2
                ^^^^^^
            hint: the functions are STARTS_WITH, ENDS_WITH and CONTAINS
            Parsing error, Line=1, Position=1, Message=Unknown function '$dt.IS_OF_MODEL'
                $dt.IS_OF_MODEL('dtmi:a;1')
                ^^^^^^^^^^^^^^^
            hint: write STARTS_WITH($body.$metadata.$model, 'dtmi:...') for created and deleted twins, STARTS_WITH($body.modelId, 'dtmi:...') for updates, STARTS_WITH(dataschema, 'dtmi:...') for telemetry
        "#]],
    );
}

#[test]
fn signs_of_other_languages_get_a_hint() {
    check_errors(
        &[
            "type = \"a\"",
            "subject = ‘a’",
            "type == 'a'",
            "subject <> 'a'",
            "a && b",
            "$body.patch[0].path = '/a'",
            "$body.a + 1 = 2",
            "a\u{a0}= 1",
        ],
        expect![[r#"
            Parsing error, Line=1, Position=8, Message=Unexpected input '"'
                type = "a"
                       ^
            hint: strings stand in single quotes: 'text'
            Parsing error, Line=1, Position=11, Message=Unexpected input '‘'
                subject = ‘a’
                          ^
            hint: strings stand in single quotes: 'text'
            Parsing error, Line=1, Position=6, Message=Unexpected input '=='
                type == 'a'
                     ^^
            hint: equality is written with a single =
            Parsing error, Line=1, Position=9, Message=Unexpected input '<>'
                subject <> 'a'
                        ^^
            hint: inequality is written !=, and there is no NOT
            Parsing error, Line=1, Position=3, Message=Unexpected input '&&'
                a && b
                  ^^
            hint: write AND
            Parsing error, Line=1, Position=12, Message=Unexpected input '['
                $body.patch[0].path = '/a'
                           ^
            hint: ADT filters cannot look into arrays, and so not into the patch of an update
            Parsing error, Line=1, Position=9, Message=Unexpected input '+'
                $body.a + 1 = 2
                        ^
            hint: ADT filters have no arithmetic; a sign belongs to a number
            Parsing error, Line=1, Position=2, Message=Unexpected input '\u{a0}'
                a = 1
                 ^
            hint: this is no ordinary blank; type it again
        "#]],
    );
}

#[test]
fn strings_and_numbers_that_are_none() {
    check_errors(
        &[
            "subject = 'it''s'",
            r"subject = 'C:\new'",
            r"subject = '\ud800'",
            r"subject = 'C:\'",
            "type = 'a",
            "$body.a = 0x1F",
            "$body.a = 5.",
            "$body.a = 5kg",
            "$body.a = 1e999",
        ],
        expect![[r#"
            Parsing error, Line=1, Position=14, Message=Unexpected input ''''
                subject = 'it''s'
                             ^^
            hint: a quote inside a string is written \'
            Parsing error, Line=1, Position=14, Message=Unknown escape '\n' in a string
                subject = 'C:\new'
                             ^^
            hint: the escapes are \' \" \\ and \uXXXX; a backslash itself is written \\
            Parsing error, Line=1, Position=12, Message=Unknown escape '\ud800' in a string
                subject = '\ud800'
                           ^^^^^^
            hint: the escapes are \' \" \\ and \uXXXX; a backslash itself is written \\
            Parsing error, Line=1, Position=11, Message=Unterminated string
                subject = 'C:\'
                          ^^^^^
            hint: \' is a quote inside the string; a backslash itself is written \\
            Parsing error, Line=1, Position=8, Message=Unterminated string
                type = 'a
                       ^^
            Parsing error, Line=1, Position=11, Message=Unexpected input '0x1F'
                $body.a = 0x1F
                          ^^^^
            hint: numbers are decimal
            Parsing error, Line=1, Position=11, Message=Unexpected input '5.'
                $body.a = 5.
                          ^^
            hint: numbers look like 20, -3, 5.5 or 1.5e3; text stands in single quotes
            Parsing error, Line=1, Position=11, Message=Unexpected input '5kg'
                $body.a = 5kg
                          ^^^
            hint: numbers look like 20, -3, 5.5 or 1.5e3; text stands in single quotes
            Parsing error, Line=1, Position=11, Message=Number out of range
                $body.a = 1e999
                          ^^^^^
        "#]],
    );
}

#[test]
fn errors_name_the_end() {
    check_errors(
        &[
            "",
            "type = ",
            "5",
            "null",
            "'x' AND a",
            "(a",
            "(a OR",
            "STARTS_WITH(a",
        ],
        expect![[r#"
            Parsing error, Line=1, Position=1, Message=Unexpected end of input
            hint: the filter that every event matches is true
            Parsing error, Line=1, Position=8, Message=Unexpected end of input
                type =
                       ^
            Parsing error, Line=1, Position=2, Message=Unexpected end of input
                5
                 ^
            hint: 5 alone is no condition; compare it with something, for example x = 5
            Parsing error, Line=1, Position=5, Message=Unexpected end of input
                null
                    ^
            hint: null alone is no condition; compare it with something, for example x = null
            Parsing error, Line=1, Position=5, Message=Unexpected input 'AND'
                'x' AND a
                    ^^^
            hint: 'x' alone is no condition; compare it with something, for example x = 'x'
            Parsing error, Line=1, Position=3, Message=Unexpected end of input
                (a
                  ^
            Parsing error, Line=1, Position=6, Message=Unexpected end of input
                (a OR
                     ^
            Parsing error, Line=1, Position=14, Message=Unexpected end of input
                STARTS_WITH(a
                             ^
        "#]],
    );
}

#[test]
fn errors_name_the_place() {
    check_errors(
        &[
            "a)",
            "a = b = c",
            "$body..a = 1",
            "STARTS_WITH(a)",
            "a OR\r\n\tb OR\r\n\tä und c OR\nd",
            &format!("{}x y {}", "a OR ".repeat(30), "OR z ".repeat(30)),
        ],
        expect![[r#"
            Parsing error, Line=1, Position=2, Message=Unexpected input ')'
                a)
                 ^
            Parsing error, Line=1, Position=7, Message=Unexpected input '='
                a = b = c
                      ^
            Parsing error, Line=1, Position=6, Message=Unexpected input '.'
                $body..a = 1
                     ^
            hint: a name is expected after the dot
            Parsing error, Line=1, Position=14, Message=Unexpected input ')'
                STARTS_WITH(a)
                             ^
            Parsing error, Line=3, Position=4, Message=Unexpected input 'und'
                 ä und c OR
                   ^^^
            Parsing error, Line=1, Position=153, Message=Unexpected input 'y'
                …OR a OR a OR a OR a OR a OR a OR a OR a OR a OR a OR a OR x y OR z OR z OR z OR z OR z OR z OR z OR z OR z OR z OR z OR …
                                                                             ^
        "#]],
    );
}

#[test]
fn limits_are_errors() {
    let options = Options {
        bytes_max: 10,
        depth_max: 2,
    };
    let error = |text: &str| Filter::parse(text, &options).expect_err(text).to_string();
    expect![
        "Parsing error, Line=1, Position=6, Message=Filter of 16 bytes is longer than 10 bytes"
    ]
    .assert_eq(&error("äääää = 'x'"));
    expect!["Parsing error, Line=1, Position=3, Message=Parentheses nested deeper than 2"]
        .assert_eq(&error("(((a)))"));
    assert!(Filter::parse("((a))", &options).is_ok());

    let path = |names: usize| format!("$body{} = 1", ".a".repeat(names));
    check_error(
        &path(64),
        expect![[r#"
        Parsing error, Line=1, Position=1, Message=Path of more than 64 names
            $body.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.…
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    assert!(Filter::parse(&path(63), &Options::default()).is_ok());
}

#[test]
fn depth_bombs_do_not_overflow() {
    let deepest = Options {
        bytes_max: usize::MAX,
        depth_max: u8::MAX,
    };
    for bomb in ["(", "a AND (", "STARTS_WITH(", "a = ", "((a) OR "] {
        assert!(Filter::parse(&bomb.repeat(1_000_000), &deepest).is_err());
    }
    let text = format!("{}a{}", "(".repeat(255), ")".repeat(255));
    assert!(Filter::parse(&text, &deepest).is_ok());
    let text = format!("{}a{}", "(a AND (b OR ".repeat(127), "))".repeat(127));
    let filter = Filter::parse(&text, &deepest).expect("within the limit");
    assert_eq!(format!("({})", filter.expr()), text);
    filter.warnings();
    filter.anchors();
    let event = Parts::new("1", "a", "b")
        .build(&Limits::default())
        .expect("a legal event");
    let explanation = explain(&filter, &event);
    assert_eq!(explanation.matches, filter.matches(&event));
    assert!(!explanation.to_string().is_empty());
    let chain = "a AND b OR ".repeat(100_000) + "c";
    assert!(Filter::parse(&chain, &deepest).is_ok());
}

/// The tree without places.
fn shape(expr: &Expr) -> String {
    let operand = |operand: &Operand| match operand {
        Operand::Literal(Literal::Text(text)) => format!("text {text:?}"),
        Operand::Literal(literal) => format!("{literal:?}"),
        Operand::Path(path) => format!("path {}", path.as_str()),
    };
    match expr {
        Expr::And(group) => format!(
            "and{:?}",
            group.children.iter().map(shape).collect::<Vec<_>>()
        ),
        Expr::Or(group) => format!(
            "or{:?}",
            group.children.iter().map(shape).collect::<Vec<_>>()
        ),
        Expr::Constant { value, .. } => value.to_string(),
        Expr::Flag(path) => path.as_str().to_owned(),
        Expr::Compare(clause) => {
            format!(
                "{} {} {}",
                operand(&clause.left),
                clause.op,
                operand(&clause.right)
            )
        }
        Expr::Call(clause) => {
            let (subject, part) = (operand(&clause.subject), operand(&clause.part));
            format!("{:?} {subject} {part}", clause.function)
        }
    }
}

/// Checks everything that must hold for any text whatever.
pub(crate) fn check_any(text: &str) {
    let options = Options::default();
    match Filter::parse(text, &options) {
        Ok(filter) => {
            assert_eq!(filter.as_str(), text);
            let canonical = filter.expr().to_string();
            if canonical.len() <= options.bytes_max {
                let again = Filter::parse(&canonical, &options).expect(&canonical);
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
fn check_spans(text: &str, expr: &Expr) {
    let part = expr.span().of(text);
    let again = Filter::parse(part, &Options::default()).expect(part);
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
        assert!(Filter::parse(&text, &Options::default()).is_ok(), "{text}");
        check_any(&text);
    }
}

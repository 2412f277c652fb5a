//! Which words refuse what does not parse, and where they point.

use expect_test::{Expect, expect};

use crate::{FilterOptions, RouteFilter};

fn check_error(text: &str, expect: Expect) {
    check_errors(&[text], expect);
}

fn check_errors(texts: &[&str], expect: Expect) {
    let error = |text: &&str| {
        RouteFilter::parse(text, &FilterOptions::default())
            .expect_err(text)
            .render()
    };
    expect.assert_eq(&texts.iter().map(error).collect::<String>());
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
            "\u{feff}true",
            "a = \u{200b}1",
            "a \u{ff1d} 1",
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
            Parsing error, Line=1, Position=1, Message=Unexpected input '﻿'
                ﻿true
                ^
            hint: this character has no width; delete it, or type what stands around it again
            Parsing error, Line=1, Position=5, Message=Unexpected input '​'
                a = ​1
                    ^
            hint: this character has no width; delete it, or type what stands around it again
            Parsing error, Line=1, Position=3, Message=Unexpected input '＝'
                a ＝ 1
                  ^
            hint: this is a sign of full width; type the one of ASCII
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
    let options = FilterOptions {
        bytes_max: 10,
        depth_max: 2,
    };
    let error = |text: &str| {
        RouteFilter::parse(text, &options)
            .expect_err(text)
            .to_string()
    };
    expect![
        "Parsing error, Line=1, Position=6, Message=Filter of 16 bytes is longer than 10 bytes"
    ]
    .assert_eq(&error("äääää = 'x'"));
    expect!["Parsing error, Line=1, Position=3, Message=Parentheses nested deeper than 2"]
        .assert_eq(&error("(((a)))"));
    assert!(RouteFilter::parse("((a))", &options).is_ok());

    let path = |names: usize| format!("$body{} = 1", ".a".repeat(names));
    check_error(
        &path(64),
        expect![[r#"
        Parsing error, Line=1, Position=1, Message=Path of more than 64 names
            $body.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.…
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    assert!(RouteFilter::parse(&path(63), &FilterOptions::default()).is_ok());
}

//! What one pass finds.

use super::*;

fn check(path: &str, json: &str, expect: Option<FieldValue<'_>>) {
    let mut paths = BodyPaths::new();
    let others = ["a.b.c", "a.x", "n", "deep.er"];
    for other in others {
        paths.intern(other);
    }
    let slot = paths.intern(path);
    let extracted = extract(&paths, json);
    assert_eq!(extracted.get(slot), expect, "{path} of {json}");
}

#[test]
fn values_are_found_by_path() {
    let json = r#"{"skip":[{"a":{"b":9}}],"a":{"b":{"c":1.5},"x":"t"},"n":null,"l":[1]}"#;
    check("a.b.c", json, Some(FieldValue::Double(1.5)));
    check("a.x", json, Some(FieldValue::Text("t")));
    check("a.b", json, Some(FieldValue::Object));
    check("n", json, Some(FieldValue::Null));
    check("l", json, Some(FieldValue::Array));
    check("", json, Some(FieldValue::Object));
    check("l.0", json, None);
    check("n.a", json, None);
    check("a.x.t", json, None);
    check("A.x", json, None);
    check("", "17", Some(FieldValue::Int(17)));
    check(
        "",
        "18446744073709551615",
        Some(FieldValue::Double(18_446_744_073_709_551_615.0)),
    );
    check("s", r#"{"s":"l\nf"}"#, Some(FieldValue::Text("l\nf")));
    check("s", r#"{"\u0073":"name"}"#, Some(FieldValue::Text("name")));
}

#[test]
fn the_last_of_repeated_members_counts() {
    check(
        "a.x",
        r#"{"a":{"x":1},"a":{"x":2}}"#,
        Some(FieldValue::Int(2)),
    );
    check("a.x", r#"{"a":{"x":1},"a":{"b":2}}"#, None);
    check("a.x", r#"{"a":{"x":1},"a":null}"#, None);
    check(
        "a.b.c",
        r#"{"a":{"b":{"c":1},"b":{"c":2,"c":3}},"a":{"b":{}}}"#,
        None,
    );
    check(
        "a.b.c",
        r#"{"a":0,"a":{"b":{"c":1},"b":{"c":2,"c":3}}}"#,
        Some(FieldValue::Int(3)),
    );
    let repeated = format!(
        r#"{{{}"a":{{"x":7}}}}"#,
        r#""a":{"x":1,"x":2},"#.repeat(1_000)
    );
    check("a.x", &repeated, Some(FieldValue::Int(7)));
    check(
        "a.x",
        &format!(r#"{{{}"a":{{}}}}"#, r#""a":{"x":1},"#.repeat(1_000)),
        None,
    );
}

#[test]
fn what_is_no_json_has_nothing_in_it() {
    for json in [
        "",
        "{",
        r#"{"a":{"x":1}"#,
        r#"{"a":{"x":1}} x"#,
        "nul",
        r#"{"a":{"x":01}}"#,
    ] {
        check("a.x", json, None);
        check("", json, None);
    }
}

#[test]
fn odd_values_hide_nothing_else() {
    let json = r#"{"a":{"x":1,"b":{"c":-1e999}},"n":"\ud800x","\udc00":1,"l":[1e999],"t":"\u0041",
        "a":{"x":2.5,"b":{"c":1e999}}}"#;
    check("a.x", json, Some(FieldValue::Double(2.5)));
    check("a.b.c", json, Some(FieldValue::Double(f64::INFINITY)));
    check(
        "n",
        json,
        Some(FieldValue::Text("\u{fffd}\u{fffd}\u{fffd}x")),
    );
    check("l", json, Some(FieldValue::Array));
    check("t", json, Some(FieldValue::Text("A")));
    check("", json, Some(FieldValue::Object));
    check(
        "n",
        r#"{"n":9223372036854775807,"a":{"x":1e999}}"#,
        Some(FieldValue::Int(i64::MAX)),
    );
    check("n", r#"{"n":null,"a":{"x":1e999}}"#, Some(FieldValue::Null));
    check("n", r#"{"n":1,"a":{"x":1e999}"#, None);
}

#[test]
fn depth_of_the_data_does_not_matter() {
    let json = format!(
        r#"{{"z":{}{},"n":1}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    check("n", &json, Some(FieldValue::Int(1)));
}

proptest::proptest! {
    #[test]
    fn quick_and_careful_reading_agree(json in crate::arbitrary::json()) {
        let mut paths = BodyPaths::new();
        let slots = ["", "a", "a.b", "a.a.c", "b", "l", "$metadata.$model", "c.b.a.l"];
        let slots = slots.map(|path| paths.intern(path));
        let quick = BodyWalk::extract(&paths, &json, ReadCare::Quick).expect("JSON");
        let careful = BodyWalk::extract(&paths, &json, ReadCare::Careful).expect("JSON");
        for slot in slots {
            proptest::prop_assert_eq!(quick.get(slot), careful.get(slot));
        }
    }
}

//! Whether what came out is what a page shows.

use crate::page::NumberRule;

/// Lines that no two runs have the same, and that pages leave out.
const DROPPED: [&str; 1] = ["date: "];

/// Says where the two differ.
pub(crate) fn compare(on_page: &[String], came: &str, numbers: NumberRule) -> Result<(), String> {
    let on_page: Vec<String> = lines(on_page.iter().map(String::as_str), numbers);
    let came: Vec<String> = lines(came.lines(), numbers);
    if fits(&on_page, &came) {
        return Ok(());
    }
    let fitting = (0..on_page.len()).rev().find(|count| {
        let mut head = on_page[..*count].to_vec();
        head.push("...".to_owned());
        fits(&head, &came)
    });
    let line = fitting.and_then(|count| on_page.get(count));
    let line = line.map(String::as_str).unwrap_or_default();
    Err(format!(
        "no line is: {line}\nthe page shows:\n{}\nwhat came:\n{}",
        indented(&on_page),
        indented(&came)
    ))
}

fn indented(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("    {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// As they are compared: without what varies, and without empty ones at the ends.
fn lines<'a>(lines: impl Iterator<Item = &'a str>, numbers: NumberRule) -> Vec<String> {
    let lines = lines.map(|line| line.trim_end());
    let lines = lines.filter(|line| !DROPPED.iter().any(|head| line.starts_with(head)));
    let mut lines: Vec<String> = lines.map(|line| elided(line, numbers)).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let first = lines.iter().position(|line| !line.is_empty());
    lines.drain(..first.unwrap_or(0));
    lines
}

/// `...` is any number of lines.
fn fits(on_page: &[String], came: &[String]) -> bool {
    match on_page.split_first() {
        None => came.is_empty(),
        Some((first, rest)) if first.trim_start() == "..." => {
            (0..=came.len()).any(|skipped| fits(rest, &came[skipped..]))
        }
        Some((first, rest)) => match came.split_first() {
            Some((line, more)) => same(first, line) && fits(rest, more),
            None => false,
        },
    }
}

fn same(on_page: &str, came: &str) -> bool {
    match on_page.strip_suffix('…') {
        Some(head) => came.starts_with(head),
        None => on_page == came,
    }
}

fn elided(line: &str, numbers: NumberRule) -> String {
    // Columns move with the numbers in them.
    let indent = line.len() - line.trim_start().len();
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text = format!("{}{words}", &line[..indent]);
    for (pattern, name) in [
        ("dddd-dd-ddTdd:dd:dd", "<time>"),
        ("dddd-dd-dd dd:dd:dd", "<time>"),
        ("/dddd/dd/dd/dd/", "/<hour>/"),
    ] {
        text = replaced(&text, pattern, name);
    }
    // What a time has behind its seconds.
    while let Some(at) = text.find("<time>.") {
        let end = at + "<time>".len();
        let digits = text[end + 1..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        text.replace_range(end..=end + digits, "");
    }
    text = text.replace("<time>Z", "<time>");
    text = hashes(&text);
    match numbers {
        NumberRule::Same => decimals(&text),
        NumberRule::Vary => without_numbers(&text),
    }
}

/// Puts `name` in for what a pattern fits, in which `d` is a digit.
fn replaced(text: &str, pattern: &str, name: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let fits = rest.len() >= pattern.len()
            && pattern.iter().zip(rest).all(|(wanted, char)| match wanted {
                'd' => char.is_ascii_digit(),
                wanted => wanted == char,
            });
        if fits {
            out.push_str(name);
            at += pattern.len();
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Runs of 32 hexadecimal digits and more.
fn hashes(text: &str) -> String {
    pieces(
        text,
        |char| char.is_ascii_hexdigit(),
        |run| (run.len() >= 32).then(|| "<hash>".to_owned()),
    )
}

/// Numbers with a decimal point are measured; addresses and versions have more points.
fn decimals(text: &str) -> String {
    let number = |char: char| char.is_ascii_digit() || char == '.';
    pieces(text, number, |run| {
        let mut parts = run.split('.');
        let is_number = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
        let measured = is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none();
        measured.then(|| "<measured>".to_owned())
    })
}

fn without_numbers(text: &str) -> String {
    pieces(
        text,
        |char| char.is_ascii_digit() || char == '.',
        |run| {
            run.contains(|char: char| char.is_ascii_digit())
                .then(|| "<n>".to_owned())
        },
    )
}

/// Replaces runs of some characters where `new` gives something for them.
fn pieces(
    text: &str,
    belongs: impl Fn(char) -> bool,
    new: impl Fn(&str) -> Option<String>,
) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(&belongs) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|char| !belongs(char)).unwrap_or(rest.len());
        let run = &rest[..end];
        out.push_str(&new(run).unwrap_or_else(|| run.to_owned()));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[test]
fn pages_what_varies_is_elided_and_nothing_else() {
    let check = |on_page: &str, came: &str| {
        let on_page: Vec<String> = on_page.lines().map(str::to_owned).collect();
        compare(&on_page, came, NumberRule::Same).is_ok()
    };
    assert!(check("a  1.5 b", "a   27.25  b"));
    assert!(!check("a 1 b", "a 2 b"));
    assert!(check("x\n...\ny", "x\n1\n2\ny\n"));
    assert!(check("x\n...", "x"));
    assert!(!check("x\n...\ny", "x\n1\n2"));
    assert!(check("type = 'abc…", "type = 'abcdef'"));
    assert!(check(
        "at 2026-11-22T15:48:44.789Z in x/2026/11/22/15/1.json",
        "at 2030-01-02T03:04:05Z in x/2030/01/02/03/1.json"
    ));
    assert!(check(
        "HTTP/1.1 202\ndate: x\n\nok",
        "HTTP/1.1 202\r\ndate: y\r\n\r\nok\n"
    ));
    assert!(!check("127.0.0.1:8080", "127.0.0.1:8081"));
}

//! What to write instead: for mistakes that people bring from other languages.
//!
//! Wording only. Nothing here decides whether a text is a filter.

use crate::ast::FilterFunction;
use twinroute_model::pasted;

pub(crate) const DOUBLED_QUOTE: &str = "a quote inside a string is written \\'";
pub(crate) const ESCAPES: &str =
    "the escapes are \\' \\\" \\\\ and \\uXXXX; a backslash itself is written \\\\";
pub(crate) const DOT: &str = "a name is expected after the dot";
pub(crate) const NOT: &str =
    "ADT filters have no NOT; turn the comparison around, for example != instead of =";

const IN: &str = "ADT filters have no IN; write type = 'a' OR type = 'b'";
const INDEX: &str = "ADT filters cannot look into arrays, and so not into the patch of an update";
const FLIP_QUOTE: &str = "strings stand in single quotes: 'text'";

/// For a sign that begins no token.
pub(crate) fn stray(sign: &str) -> Option<&'static str> {
    let hint = match sign {
        "\"" | "“" | "”" | "„" | "‘" | "’" | "`" | "´" => FLIP_QUOTE,
        "[" | "]" => INDEX,
        "==" => "equality is written with a single =",
        "<>" | "!" | "~" => "inequality is written !=, and there is no NOT",
        "&&" | "&" => "write AND",
        "||" | "|" => "write OR",
        "*" | "/" | "%" | "^" => "ADT filters have no arithmetic",
        "{" | "}" | "@" | "#" | "?" | ":" | ";" | "\\" => {
            "names hold letters, digits, _, $ and -; anything else belongs into a string"
        }
        "." => "a path begins with a name, for example $body.temperature",
        _ if sign.chars().all(char::is_whitespace) => "this is no ordinary blank; type it again",
        _ if pasted::check(sign).is_err() => {
            "this character has no width; delete it, or type what stands around it again"
        }
        "＝" | "＜" | "＞" | "（" | "）" | "＄" => {
            "this is a sign of full width; type the one of ASCII"
        }
        _ => return None,
    };
    Some(hint)
}

/// For a word that looked like a number.
pub(crate) fn number(word: &str) -> Option<&'static str> {
    let digits = word.trim_start_matches(['+', '-']);
    if digits.starts_with("0x") || digits.starts_with("0X") {
        Some("numbers are decimal")
    } else if digits.is_empty() {
        Some("ADT filters have no arithmetic; a sign belongs to a number")
    } else {
        Some("numbers look like 20, -3, 5.5 or 1.5e3; text stands in single quotes")
    }
}

/// For a string without an end.
pub(crate) fn unterminated(text: &str) -> Option<&'static str> {
    let escaped_quote = text.contains("\\'");
    escaped_quote.then_some("\\' is a quote inside the string; a backslash itself is written \\\\")
}

/// For a word after a complete operand or condition; `rest` is the text after it.
pub(crate) fn after(previous: Option<&str>, word: &str, rest: &str) -> Option<&'static str> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if previous.is_some_and(|previous| previous.eq_ignore_ascii_case("NOT")) {
        Some(NOT)
    } else if is("IN") || is("NIN") {
        Some(IN)
    } else if is("IS") && rest.to_ascii_lowercase().contains("null") {
        Some("write = null or != null")
    } else if is("LIKE") {
        Some("write STARTS_WITH(x, y), ENDS_WITH(x, y) or CONTAINS(x, y)")
    } else if is("BETWEEN") {
        Some("write x >= 1 AND x <= 2")
    } else if is("EQ") {
        Some("write =")
    } else if is("NE") {
        Some("write !=")
    } else {
        None
    }
}

/// For a call of something that is no function.
pub(crate) fn function(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let is = |other: &str| last.eq_ignore_ascii_case(other);
    if is("NOT") {
        return NOT.to_owned();
    }
    if is("IS_DEFINED") || is("IS_NULL") {
        return "write x != null or x = null".to_owned();
    }
    if is("IS_OF_MODEL") {
        return "write STARTS_WITH($body.$metadata.$model, 'dtmi:...') for created and deleted \
                twins, STARTS_WITH($body.modelId, 'dtmi:...') for updates, \
                STARTS_WITH(dataschema, 'dtmi:...') for telemetry"
            .to_owned();
    }
    let [first, second, third] = FilterFunction::ALL.map(FilterFunction::name);
    format!("the functions are {first}, {second} and {third}")
}

/// For something else where a condition should go on after `operand`.
pub(crate) fn comparison_expected(operand: &str) -> String {
    format!("{operand} alone is no condition; compare it with something, for example x = {operand}")
}

//! All mistakes at once, and where they are.

use super::*;
use crate::config::Config;

fn mistakes(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let read = read::<Config>(text, &mut ConfigOverrides::of(variables), |_| None);
    let mistakes = read.map(drop).unwrap_err().0;
    mistakes
        .iter()
        .map(|mistake| mistake.in_file("t.toml".as_ref()))
        .collect()
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = "instanze = 'x'\n\
                [ingress]\nlissten = []\nack = 'durabel'\n  access_keys = 'k'\n\
                [journal]\ncommit_window = 5\nseal = 'no'\nbytes_max = '1 XB'\n\
                [endpoints.hub-1]\norderin = 'twin'\nbatch = 1\n\
                [log]\nfilter = '${UNSET}'\n";
    let found = mistakes(text, &[]);
    let expect = [
        (
            "t.toml:1:1: instanze: unknown field `instanze`",
            "; did you mean `instance`?",
        ),
        (
            "t.toml:3:1: ingress.lissten: unknown field `lissten`",
            "; did you mean `listen`?",
        ),
        ("t.toml:4:7: ingress.ack: ", "or \"delivered\""),
        (
            "t.toml:5:17: ingress.access_keys: invalid type: string, expected a sequence",
            "; for example: access_keys = []",
        ),
        (
            "t.toml:7:17: journal.commit_window: invalid type: integer, ",
            "; for example: commit_window = \"1ms\"",
        ),
        (
            "t.toml:8:8: journal.seal: invalid type: string, expected a boolean",
            "; for example: seal = false",
        ),
        ("t.toml:9:13: journal.bytes_max: ", ""),
        (
            "t.toml:11:1: endpoints.hub-1.orderin: unknown field `orderin`",
            "; did you mean `ordering`?",
        ),
        (
            "t.toml:12:9: endpoints.hub-1.batch: invalid type: integer, expected a boolean",
            "; for example: batch = true",
        ),
        (
            "t.toml:14:10: the environment variable UNSET is not set",
            "",
        ),
    ];
    assert_eq!(found.len(), expect.len(), "{found:#?}");
    for (found, (begin, end)) in found.iter().zip(expect) {
        assert!(
            found.starts_with(begin) && found.ends_with(end),
            "{found}\n{begin} … {end}"
        );
    }
}

#[test]
fn mistakes_within_lists_leave_the_rest() {
    let text = "[ingress]\nlisten = ['127.0.0.1:1', 'x', '127.0.0.1:2', 'y']\n";
    let found = mistakes(text, &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("t.toml:2:26: ingress.listen[1]: "),
        "{found:#?}"
    );
}

#[test]
fn broken_toml_is_reported_where_it_breaks_and_alone() {
    let found = mistakes(
        "[ingress]\nlisten = [\n[journal]\nseal = 'x'\npath = = 'a'\n",
        &[],
    );
    assert!(
        found.iter().all(|line| !line.contains("seal")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|line| line.starts_with("t.toml:5:")),
        "{found:#?}"
    );
}

fn overridden(text: &str, variables: &[(&str, &str)]) -> Config {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read(text, &mut ConfigOverrides::of(variables), |_| None).unwrap()
}

#[test]
fn variables_override_keys_in_the_type_that_these_have() {
    let text = "[ingress]\nlisten = ['127.0.0.1:1']\n[journal]\nseal = true\n";
    let config = overridden(
        text,
        &[
            ("TWINROUTE_INGRESS__LISTEN", "127.0.0.1:2, [::1]:3"),
            ("TWINROUTE_INGRESS__LIMITS__CONNECTIONS_MAX", "7"),
            ("TWINROUTE_JOURNAL__PATH", "12"),
            ("TWINROUTE_JOURNAL__SEAL", "false"),
            ("TWINROUTE_JOURNAL__BYTES_MAX", "1 GiB"),
            ("TWINROUTE_LOG__FILTER", "debug"),
            ("TWINROUTE_ADMIN__LISTEN", "[]"),
            // None of these.
            ("TWINROUTE_SECRET_HUB__CONNECTION_STRING", "x"),
            ("TWINROUTE_ADMIN", "127.0.0.1:9"),
        ],
    );
    let listen: Vec<_> = config
        .ingress
        .listen
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(listen, ["127.0.0.1:2", "[::1]:3"]);
    assert_eq!(config.ingress.limits.connections_max, 7);
    assert_eq!(config.journal.path, std::path::Path::new("12"));
    assert!(!config.journal.seal && config.admin.listen.is_empty());
    assert_eq!(config.journal.bytes_max, bytesize::ByteSize::gib(1));
    assert_eq!(config.log.filter, "debug");
}

#[test]
fn mistakes_of_variables_are_named_with_them() {
    let found = mistakes(
        "",
        &[
            ("TWINROUTE_JOURNAL__SEAL", "maybe"),
            ("TWINROUTE_LOG__FILTRE", "x"),
        ],
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("TWINROUTE_JOURNAL__SEAL: journal.seal: invalid type")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|line| line
            .starts_with("TWINROUTE_LOG__FILTRE: log.filtre: unknown field")
            && line.ends_with("did you mean `filter`?")),
        "{found:#?}"
    );
}

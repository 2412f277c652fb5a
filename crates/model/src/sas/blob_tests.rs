use super::*;

/// The account key that every storage emulator has; it is published.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const ACCOUNT: &str = "devstoreaccount1";
const CONTAINER: &str = "dead-letters";
/// 2025-01-01 and 2030-01-01.
const NOW: Timestamp = Timestamp::from_unix_millis(1_735_689_600_000);
const END: Timestamp = Timestamp::from_unix_millis(1_893_456_000_000);

fn parse(query: &str) -> BlobSas {
    BlobSas::parse(query).unwrap().unwrap()
}

fn verify(query: &str, container: &str, blob: Option<&str>) -> Result<(), BlobSasRefusal> {
    parse(query).verify(ACCOUNT, &Secret::from(KEY), container, blob, NOW)
}

/// Made with azure-storage-blob 12.31.1 (Python) and @azure/storage-blob 12.32.0 (JavaScript).
const MADE_BY_CLIENTS: [(&str, BlobSasScope); 9] = [
    (
        "st=2020-01-01T12%3A30%3A00Z&se=2030-01-01T00%3A00%3A00Z&sp=rcwl&sv=2026-10-06&sr=c&sig=qf22vlap1N0hYuGK5gJ89LzS/8%2BSgCY68UHGLwaZEDg%3D",
        BlobSasScope::Container,
    ),
    (
        "se=2030-01-01T00%3A00%3A00Z&sp=r&spr=https%2Chttp&sv=2026-10-06&sr=b&rsct=text/plain&sig=YgL/vm1CcP7/pO67FN3quJnzoU2o9v7T5ECXJGEJO6M%3D",
        BlobSasScope::Blob,
    ),
    (
        "se=2030-01-01T00%3A00Z&sp=rwl&sv=2026-10-06&ss=b&srt=co&sig=F77It4v2czHG6ZCjDAbpTkTPCu1OlEX1S05CxqBuLJE%3D",
        BlobSasScope::Account,
    ),
    (
        "sv=2018-11-09&se=2030-01-01T00%3A00%3A00Z&sr=c&sp=w&sig=5Ka5TNCn6m24%2BH%2BH9Q7NvERqTjaHdWcsMAXZw0cJt%2BI%3D",
        BlobSasScope::Container,
    ),
    (
        "sv=2018-11-09&ss=btqf&srt=o&se=2030-01-01T00%3A00%3A00Z&sp=w&sig=hHfZI9h3bcfy9tyOL2ifxJj9RozMFb91U5hS44lSafc%3D",
        BlobSasScope::Account,
    ),
    (
        "sv=2020-10-02&se=2030-01-01T00%3A00%3A00Z&sr=c&sp=w&sig=RnzZI5Drpscd602npVGHMoBA8pqU7R2hrVMvpq%2FxsYg%3D",
        BlobSasScope::Container,
    ),
    (
        "sv=2020-10-02&ss=btqf&srt=o&se=2030-01-01T00%3A00%3A00Z&sp=w&sig=e7E%2FeDAUN4ja1npV6NcwSCDQs5qGbwB0PrKTpZ40RKI%3D",
        BlobSasScope::Account,
    ),
    (
        "sv=2026-04-06&se=2030-01-01T00%3A00%3A00Z&sr=c&sp=w&sig=ghcnfW%2BmOgxWJffnvdqVQ%2BzgLWCsrbN%2FPL0Yt2Z2WTY%3D",
        BlobSasScope::Container,
    ),
    (
        "sv=2026-04-06&ss=btqf&srt=o&se=2030-01-01T00%3A00%3A00Z&sp=w&sig=RcQsjzluta4xWkGmJPVc2jTuoy9DD8JadsdRL%2FIh724%3D",
        BlobSasScope::Account,
    ),
];

#[test]
fn signatures_of_the_azure_clients_verify_for_what_they_cover() {
    for (query, scope) in MADE_BY_CLIENTS {
        let sas = parse(query);
        assert_eq!(sas.scope(), scope, "{query}");
        assert_eq!(sas.expiry(), END, "{query}");
        let blob = Some("a/b c.json");
        assert_eq!(verify(query, CONTAINER, blob), Ok(()), "{query}");
        let other = verify(query, "other", blob);
        let expect = if scope == BlobSasScope::Account {
            Ok(())
        } else {
            Err(BlobSasRefusal::Mismatch)
        };
        assert_eq!(other, expect, "{query}");
        if scope == BlobSasScope::Blob {
            let other = verify(query, CONTAINER, Some("a/b c"));
            assert_eq!(other, Err(BlobSasRefusal::Mismatch));
        }
        let key = Secret::new(BASE64.encode("another"));
        let another = sas.verify(ACCOUNT, &key, CONTAINER, blob, NOW);
        assert_eq!(another, Err(BlobSasRefusal::Mismatch), "{query}");
        let late = sas.verify(ACCOUNT, &Secret::from(KEY), CONTAINER, blob, END);
        assert_eq!(late, Err(BlobSasRefusal::Expired), "{query}");
    }
}

#[test]
fn changing_any_signed_field_spoils_the_signature() {
    for (query, _) in MADE_BY_CLIENTS {
        let changes = [
            ("sp=", "sp=d"),
            ("se=2030", "se=2031"),
            ("sv=20", "sv=30"),
            ("st=2020", "st=2019"),
            ("srt=", "srt=s"),
            ("rsct=", "rsct=x"),
            ("spr=https%2Chttp", "spr=https"),
        ];
        for (from, to) in changes {
            let changed = query.replacen(from, to, 1);
            if changed != query {
                let refused = verify(&changed, CONTAINER, Some("a/b c.json"));
                assert_eq!(refused, Err(BlobSasRefusal::Mismatch), "{changed}");
            }
        }
        for added in ["&ses=scope", "&sip=1.2.3.4"] {
            let longer = format!("{query}{added}");
            let signed = !(added.contains("ses") && parse(query).field("sv") < WITH_SCOPE);
            let expect = if signed {
                Err(BlobSasRefusal::Mismatch)
            } else {
                Ok(())
            };
            let verified = verify(&longer, CONTAINER, Some("a/b c.json"));
            assert_eq!(verified, expect, "{longer}");
        }
    }
}

#[test]
fn a_container_signature_verifies_from_its_start_to_its_end() {
    let key = Secret::from(KEY);
    let made = container_sas(ACCOUNT, &key, CONTAINER, "lwr", Some(NOW), END).unwrap();
    let head =
        "sp=rwl&st=2025-01-01T00%3A00%3A00Z&se=2030-01-01T00%3A00%3A00Z&sv=2021-08-06&sr=c&sig=";
    assert!(made.expose().starts_with(head), "{}", made.expose());
    let sas = parse(made.expose());
    assert_eq!((sas.start(), sas.expiry()), (Some(NOW), END));
    assert!(sas.permits('w') && !sas.permits('d'));
    let at = |now| sas.verify(ACCOUNT, &key, CONTAINER, Some("b"), now);
    let before = Timestamp::from_unix_millis(NOW.unix_millis() - 1);
    assert_eq!(at(before), Err(BlobSasRefusal::NotYetValid));
    assert_eq!(at(NOW), Ok(()));
    assert_eq!(at(END), Err(BlobSasRefusal::Expired));
    let debug_text = format!("{sas:?}");
    assert!(
        debug_text.contains("rwl") && !debug_text.contains("sig"),
        "{debug_text}"
    );
    let make = |permissions, key| container_sas(ACCOUNT, &key, CONTAINER, permissions, None, END);
    assert_eq!(
        make("rq", key.clone()),
        Err(BlobSasRefusal::Malformed("sp"))
    );
    assert_eq!(make("", key), Err(BlobSasRefusal::Malformed("sp")));
    assert_eq!(
        make("r", Secret::from("no base64!")),
        Err(BlobSasRefusal::Key)
    );
}

#[test]
fn malformed_queries_name_the_field() {
    assert_eq!(BlobSas::parse("restype=container"), Ok(None));
    let whole = "sp=w&se=2030-01-01&sv=2021-08-06&sr=c&sig=QQ%3D%3D";
    assert!(parse(whole).permits('w'));
    let long = format!("{whole}&x={}", "x".repeat(QUERY_BYTES_MAX));
    for (query, field) in [
        (whole.replace("QQ%3D%3D", "?"), "sig"),
        (whole.replace("2021-08-06", "2017-04-17"), "sv"),
        (whole.replace("2021-08-06", "next"), "sv"),
        (whole.replace("sr=c", "sr=d"), "sr"),
        (whole.replace("sr=c", "sr=c&ss=b"), "sr"),
        (whole.replace("sp=w&", ""), "sp"),
        (whole.replace("se=2030-01-01&", ""), "se"),
        (whole.replace("2030-01-01", "2030-13-01"), "se"),
        (format!("{whole}&st=soon"), "st"),
        (long, "sig"),
    ] {
        assert_eq!(
            BlobSas::parse(&query),
            Err(BlobSasRefusal::Malformed(field))
        );
    }
}

#[test]
fn moments_are_read_in_every_published_form() {
    for text in [
        "2030-01-01",
        "2030-01-01T00:00Z",
        "2030-01-01T00:00:00Z",
        "2030-01-01T00:00:00.0000000Z",
    ] {
        assert_eq!(moment(text), Some(END), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_query_panics(query in "((sig|sv|sr|sp|st|se|ss|srt|x)(=|%3D)?(QQ==|%|c|2021-08-06|2030-01-01T0|\\PC)?&?){0,12}") {
        if let Ok(Some(sas)) = BlobSas::parse(&query) {
            let verified = sas.verify(ACCOUNT, &Secret::from(KEY), CONTAINER, Some("b"), NOW);
            proptest::prop_assert!(verified.is_err());
        }
    }
}

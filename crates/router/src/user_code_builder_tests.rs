//! What is refused when a router is built with parts of a program.

use super::*;

fn refused(builder: crate::RouterBuilder) -> String {
    builder.build().map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn settings_of_a_sink_are_checked() {
    let settings = EndpointSettings::default().with(|own| own.batches_in_flight_max = 0);
    let builder = Router::builder().sink_with("hub", ScriptedSink::default(), settings);
    assert_eq!(
        refused(builder),
        "endpoint hub: batches_in_flight_max must be 1 to 64"
    );
}

#[tokio::test]
async fn two_sinks_of_one_name_are_refused() {
    let builder = Router::builder()
        .sink("hub", ScriptedSink::default())
        .sink("HUB", ScriptedSink::default());
    let expect = "endpoint HUB: it was given two sinks; give each an endpoint of its own";
    assert_eq!(refused(builder), expect);
}

#[tokio::test(start_paused = true)]
async fn a_store_finds_its_endpoint_in_whatever_order() {
    let first = || Router::builder().dead_letters(RudeSink::default());
    let named = || Router::builder().dead_letters_of("rude", RudeSink::default());
    let (sink, late) = (ScriptedSink::default, Router::builder);
    for builder in [
        first().sink("rude", sink()).sink("other", sink()),
        named().sink("other", sink()).sink("rude", sink()),
        late()
            .sink("rude", sink())
            .dead_letters_of("RUDE", RudeSink::default()),
        late()
            .sink("other", sink())
            .sink("rude", sink())
            .dead_letters(RudeSink::default()),
    ] {
        let router = builder.build().unwrap();
        assert_eq!(rude_status(&router).dead_letters.store.as_str(), "ok");
    }
}

#[tokio::test]
async fn a_store_without_its_endpoint_is_refused() {
    let named = |name| {
        Router::builder()
            .sink("archive", ScriptedSink::default())
            .sink("pager", ScriptedSink::default())
            .dead_letters_of(name, RudeSink::default())
    };
    assert_eq!(
        refused(named("archvie")),
        "endpoint archvie: the program gave no sink of this name; did you mean archive?"
    );
    assert_eq!(
        refused(named("hub-1")),
        "endpoint hub-1: the program gave no sink of this name; \
         there are archive, pager"
    );
    let none = Router::builder().dead_letters(RudeSink::default()).build();
    assert!(matches!(none, Err(BuildError::StoreWithoutSink)));
    let twice = named("archive").dead_letters_of("archive", RudeSink::default());
    assert_eq!(
        refused(twice),
        "endpoint archive: it was given two dead-letter stores; keep one of them"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_purge_gives_can_be_named() {
    let router = Router::builder()
        .sink("rude", ScriptedSink::default())
        .build()
        .unwrap();
    let purged: crate::dead_letters::PurgeResult =
        router.endpoint(None, "rude").unwrap().purge(true);
    assert_eq!(purged, crate::dead_letters::PurgeResult::default());
    let events = vec![event(1, "a")];
    assert!(router.accept(None, events, AckLevel::Memory).await.is_ok());
}

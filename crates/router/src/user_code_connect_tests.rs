//! Programs whose makers of sinks, or whose sinks at their end, panic.

use super::*;

/// Its end panics.
struct EndsBadly(ScriptedSink, PanicsWhenDropped);

impl Sink for EndsBadly {
    fn limits(&self) -> BatchLimits {
        self.0.limits()
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        self.0.send(batch)
    }
}

/// Makes sinks whose end panics; panics itself for some.
struct RudeConnect(ScriptedSink);

impl Connect for RudeConnect {
    fn connect(
        &self,
        endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        assert!(endpoint.name.as_str() != "panics", "on purpose, in connect");
        Ok(Arc::new(EndsBadly(self.0.clone(), PanicsWhenDropped)))
    }

    fn dead_letters(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> {
        assert!(
            endpoint.name.as_str() != "panics-late",
            "on purpose, in dead_letters"
        );
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_panics_keeps_the_table() {
    let sink = ScriptedSink::default();
    let routes = [("all", "hub", "true")];
    let router = Router::builder()
        .connect(RudeConnect(sink.clone()))
        .definitions(definitions(&["hub"], &routes))
        .build()
        .unwrap();
    for (name, function) in [("panics", "connect"), ("panics-late", "dead_letters")] {
        let faults = router
            .apply(&definitions(&["hub", name], &routes))
            .unwrap_err();
        let expect = format!(
            "endpoint default/{name}: the program's Connect panicked in {function}; fix it, then apply again"
        );
        assert_eq!(faults.to_string(), expect);
        assert_eq!(router.status().table.errors, [expect]);
    }
    accept(&router, vec![event(1, "a")]).await;
    within(router.settled()).await;
    assert_eq!(sink.ids(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_whose_drop_panics_goes_without_harm() {
    let sink = ScriptedSink::default();
    let first = definitions(&["hub"], &[("all", "hub", "true")]);
    let router = Router::builder()
        .connect(RudeConnect(sink.clone()))
        .definitions(first.clone())
        .build()
        .unwrap();
    let mut second = first.clone();
    let settings = EndpointSettings::default().with(|own| own.linger = Duration::ZERO);
    second.settings = crate::table::source::Settings::new([("hub".to_owned(), settings)]);
    assert_eq!(router.apply(&second).unwrap(), 2, "it has another sink now");
    accept(&router, vec![event(1, "a")]).await;
    within(router.settled()).await;
    router.apply(&definitions(&[], &[])).unwrap();
    sleep(Duration::from_secs(10)).await;
    router.apply(&first).unwrap();
    accept(&router, vec![event(2, "a")]).await;
    within(router.settled()).await;
    assert_eq!(sink.ids(), ["1", "2"]);
    router.stop(Duration::ZERO).await;
}

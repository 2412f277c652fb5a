//! What a recorder of the program is given.

use crate::{CollectingSink, event};
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use twinroute::prelude::*;

/// Keeps descriptions, and what histograms get.
#[derive(Default)]
struct KeepingRecorder {
    described: Mutex<BTreeMap<String, (Option<Unit>, String)>>,
    registered: Mutex<Vec<Key>>,
    histograms: Mutex<Vec<(Key, Arc<KeptValues>)>>,
}

#[derive(Default)]
struct KeptValues(Mutex<Vec<f64>>);

impl HistogramFn for KeptValues {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl KeepingRecorder {
    fn describe(&self, name: &KeyName, unit: Option<Unit>, text: &SharedString) {
        let described = (unit, text.to_string());
        let mut all = self.described.lock().unwrap();
        all.insert(name.as_str().to_owned(), described);
    }

    fn values(&self, name: &str) -> Vec<f64> {
        let all = self.histograms.lock().unwrap();
        let found = all.iter().find(|(key, _)| key.name() == name);
        let (key, values) = found.unwrap();
        let labels: Vec<_> = key.labels().map(|one| (one.key(), one.value())).collect();
        let expect = [("adt_instance", "default"), ("endpoint", "archive")];
        assert_eq!(labels, expect);
        values.0.lock().unwrap().clone()
    }
}

impl Recorder for KeepingRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, unit, &text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, unit, &text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, unit, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.registered.lock().unwrap().push(key.clone());
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.registered.lock().unwrap().push(key.clone());
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.registered.lock().unwrap().push(key.clone());
        let values = Arc::new(KeptValues::default());
        let mut all = self.histograms.lock().unwrap();
        all.push((key.clone(), Arc::clone(&values)));
        Histogram::from_arc(values)
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_gets_durations_and_a_description_of_each_metric() {
    let recorder = KeepingRecorder::default();
    // Of this thread, on which the whole router runs.
    let _installed = metrics::set_default_local_recorder(&recorder);
    let sink = CollectingSink::default();
    let builder = Router::builder().sink("archive", sink.clone());
    let builder = builder.route("all", "archive", "true");
    let router = builder.start().await.unwrap();
    router.accept_batch((1..=3).map(event)).await.unwrap();
    router.settled().await;
    drop(router.status());
    let deliveries = recorder.values("twinroute_delivery_duration_seconds");
    assert_eq!(deliveries.len(), 3);
    assert!(
        deliveries
            .iter()
            .all(|seconds| (0.0..60.0).contains(seconds))
    );
    assert_eq!(
        recorder.values("twinroute_attempt_duration_seconds").len(),
        1
    );
    let described = recorder.described.lock().unwrap();
    for key in recorder.registered.lock().unwrap().iter() {
        let (_, text) = described
            .get(key.name())
            .unwrap_or_else(|| panic!("{key} has no description"));
        assert!(!text.is_empty(), "{key}");
    }
    let unit = |name: &str| described[name].0;
    assert_eq!(
        unit("twinroute_delivery_duration_seconds"),
        Some(Unit::Seconds)
    );
    assert_eq!(unit("twinroute_journal_bytes"), Some(Unit::Bytes));
}

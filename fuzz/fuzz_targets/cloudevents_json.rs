//! Any body: it is an event, a batch or refused, and what is read survives being written and read again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use twinroute_model::cloudevents::json;
use twinroute_model::event::Limits;

fuzz_target!(|body: &[u8]| {
    let limits = Limits::default();
    if let Ok(event) = json::parse(Bytes::copy_from_slice(body), &limits) {
        let mut written = Vec::new();
        json::write(&event, &mut written);
        let again = json::parse(written.clone().into(), &limits).expect("what is written is read");
        let mut twice = Vec::new();
        json::write(&again, &mut twice);
        assert_eq!(written, twice);
    }
    if let Ok(events) = json::parse_batch(Bytes::copy_from_slice(body), &limits) {
        let mut written = Vec::new();
        json::write_batch(&events, &mut written);
        let again = json::parse_batch(written.into(), &limits).expect("what is written is read");
        assert_eq!(again.len(), events.len());
    }
});

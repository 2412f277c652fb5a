//! Any text: the parser returns, and what it accepts survives being written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twinroute_filter::{Filter, Options};

fuzz_target!(|text: &str| {
    let options = Options::default();
    match Filter::parse(text, &options) {
        Ok(filter) => {
            assert_eq!(filter.as_str(), text);
            for warning in filter.warnings() {
                assert!(!warning.render(&filter).is_empty());
            }
            filter.anchors();
            let canonical = filter.expr().to_string();
            if canonical.len() <= options.bytes_max {
                let again = Filter::parse(&canonical, &options).expect("the canonical form parses");
                assert_eq!(again.expr().to_string(), canonical);
            }
        }
        Err(error) => assert!(error.render().starts_with("Parsing error, Line=")),
    }
});

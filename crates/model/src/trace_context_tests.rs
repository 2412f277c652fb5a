use super::*;
use crate::event::{EventLimits, EventParts};
use proptest::prelude::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn parsed(parent: &str) -> Option<String> {
    TraceContext::parse(parent).map(|context| context.parent().as_str().to_owned())
}

#[test]
fn a_traceparent_is_read_by_the_rules_of_w3c() {
    let good = format!("00-{TRACE}-{SPAN}-01");
    for (text, expect) in [
        (good.clone(), Some(good.clone())),
        (
            format!("00-{TRACE}-{SPAN}-00"),
            Some(format!("00-{TRACE}-{SPAN}-00")),
        ),
        // The flag of random ids is handed on, others are not.
        (
            format!("00-{TRACE}-{SPAN}-03"),
            Some(format!("00-{TRACE}-{SPAN}-03")),
        ),
        (format!("00-{TRACE}-{SPAN}-fd"), Some(good.clone())),
        // Versions to come: what is known of them counts.
        (format!("01-{TRACE}-{SPAN}-01"), Some(good.clone())),
        (format!("cc-{TRACE}-{SPAN}-01-what-follows"), Some(good)),
        (
            format!("cc-{TRACE}-{SPAN}-01-"),
            parsed(&format!("00-{TRACE}-{SPAN}-01")),
        ),
        (format!("cc-{TRACE}-{SPAN}-01.what-follows"), None),
        (format!("cc-{TRACE}-{SPAN}-012"), None),
        (format!("ff-{TRACE}-{SPAN}-01"), None),
        // Version 00 has one length.
        (format!("00-{TRACE}-{SPAN}-01-what-follows"), None),
        (format!("00-{TRACE}-{SPAN}-0"), None),
        (format!("00-{TRACE}-{SPAN}-011"), None),
        // Zeros name nothing.
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
        // Letters are lower case.
        (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
        (format!("00-{TRACE}-{}-01", SPAN.to_uppercase()), None),
        (format!("0A-{TRACE}-{SPAN}-01"), None),
        (format!("00-{TRACE}-{SPAN}-0A"), None),
        (format!("00-{}g-{SPAN}-01", &TRACE[1..]), None),
        (format!("00-{TRACE}-{}+-01", &SPAN[1..]), None),
        (format!("00_{TRACE}-{SPAN}-01"), None),
        (format!("00-{TRACE}_{SPAN}-01"), None),
        (format!("00-{TRACE}-{SPAN}_01"), None),
        (format!(" 00-{TRACE}-{SPAN}-01"), None),
        (format!("00-{TRACE}-{SPAN}-01 "), None),
        (format!("00-{}é-{SPAN}-01", &TRACE[2..]), None),
        ("00-x".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(parsed(&text), expect, "{text:?}");
    }
}

#[test]
fn a_tracestate_is_handed_on_as_it_came_or_not_at_all() {
    let context = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
    let state = |text: &str| {
        let with = context.clone().with_state(text);
        with.state().map(str::to_owned)
    };
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|number| format!("k{number}=v")).collect();
        members.join(",")
    };
    for good in [
        "rojo=00f067aa0ba902b7",
        "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        "fw529a3039@dt=FfEACfNP,a=b",
        "a=1, b=2 ,,c=3",
        "a= leading blank",
        &many(32),
    ] {
        assert_eq!(state(good).as_deref(), Some(good), "{good}");
    }
    assert_eq!(state(" a=1\t").as_deref(), Some("a=1"));
    let long = "v".repeat(257);
    for bad in [
        "",
        ",",
        "a",
        "A=1",
        "=1",
        "a=",
        "a=1,a=2",
        "a=1=2",
        "a b=1",
        "a=é",
        "a=1\nb=2",
        &format!("a={long}"),
        &format!("{}=1", "k".repeat(257)),
        &many(33),
    ] {
        assert_eq!(state(bad), None, "{bad}");
    }
}

#[test]
fn of_a_tracestate_that_is_too_long_the_last_members_are_left_out() {
    let context = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
    let member = |name: &str| format!("{name}={}", "v".repeat(200));
    let text = [member("a"), member("b"), member("c"), "d=1".to_owned()].join(",");
    let kept = context.with_state(&text);
    assert_eq!(
        kept.state(),
        Some([member("a"), member("b")].join(",").as_str())
    );
}

#[test]
fn a_child_stays_in_the_trace_and_a_root_begins_one() {
    let context = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
    let child = context.with_state("a=1").child(0xb7);
    assert_eq!(
        child.parent().as_str(),
        format!("00-{TRACE}-00000000000000b7-01")
    );
    assert_eq!(child.state(), Some("a=1"));
    assert!(child.is_sampled());
    let root = TraceContext::root(7, 8).unwrap();
    assert_eq!(
        root.parent().as_str(),
        "00-00000000000000000000000000000007-0000000000000008-03"
    );
    assert_eq!(TraceContext::root(0, 8), None);
    assert_eq!(TraceContext::root(7, 0), None);
}

#[test]
fn an_event_brings_its_context_in_the_extension() {
    let event = |parent: &str, state: Option<&str>| {
        let parts = EventParts::new("1", "h", "t");
        let mut parts = parts.set("traceparent", parent).unwrap();
        if let Some(state) = state {
            parts = parts.set("tracestate", state).unwrap();
        }
        let event = parts.build(&EventLimits::default()).unwrap();
        TraceContext::of_event(&event)
    };
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let found = event(&parent, Some("a=1")).unwrap();
    assert_eq!(found.parent().as_str(), parent);
    assert_eq!(found.state(), Some("a=1"));
    // A bad state costs the state alone.
    assert_eq!(event(&parent, Some("a")).unwrap().state(), None);
    assert_eq!(event("00-x", Some("a=1")), None);
    let none = EventParts::new("1", "h", "t").build(&EventLimits::default());
    assert_eq!(TraceContext::of_event(&none.unwrap()), None);
}

proptest! {
    /// What anybody sends is read or is none; what was read is written as it is read again.
    #[test]
    fn any_text_is_read_or_is_none(parent in "\\PC{0,70}", near in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", state in "[ -~\\t,=]{0,700}") {
        for text in [&parent, &near] {
            let Some(context) = TraceContext::parse(text) else {
                continue;
            };
            let again = TraceContext::parse(context.parent().as_str());
            prop_assert_eq!(again.as_ref(), Some(&context));
            let with = context.with_state(&state);
            let kept = with.state().unwrap_or_default();
            prop_assert!(kept.len() <= 512 && state.contains(kept));
            let again = with.clone().with_state(kept);
            prop_assert_eq!(again.state(), with.state());
        }
    }
}

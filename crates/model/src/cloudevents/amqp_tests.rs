use super::*;
use crate::event::{EventLimits, EventParts};
use crate::fixtures::{self, value};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// A reader of its own: what the encoder means must be told by the standard alone (AMQP 1.0 part 1).
struct AmqpReader<'a>(&'a [u8]);

impl<'a> AmqpReader<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn word(&mut self) -> usize {
        u32::from_be_bytes(self.take(4).try_into().unwrap()) as usize
    }

    fn value(&mut self) -> Value {
        let code = self.byte();
        match code {
            0x40 => Value::Null,
            0x41 => true.into(),
            0x42 => false.into(),
            0x71 => i32::from_be_bytes(self.take(4).try_into().unwrap()).into(),
            0xa1 | 0xa3 => {
                let len = self.byte().into();
                self.text(len)
            }
            0xb1 | 0xb3 => {
                let len = self.word();
                self.text(len)
            }
            0xd0 => {
                let mut items = self.compound();
                let count = items.word();
                let list: Vec<Value> = (0..count).map(|_| items.value()).collect();
                assert!(items.0.is_empty());
                list.into()
            }
            0xd1 => {
                let mut items = self.compound();
                let count = items.word();
                assert!(count.is_multiple_of(2));
                let mut map = Map::new();
                for _ in 0..count / 2 {
                    let key = items.value().as_str().unwrap().to_owned();
                    assert!(map.insert(key, items.value()).is_none());
                }
                assert!(items.0.is_empty());
                map.into()
            }
            _ => panic!("format code {code:#x}"),
        }
    }

    fn text(&mut self, len: usize) -> Value {
        std::str::from_utf8(self.take(len)).unwrap().into()
    }

    fn compound(&mut self) -> AmqpReader<'a> {
        let size = self.word();
        AmqpReader(self.take(size))
    }

    /// All sections by their code; the data section is given apart.
    fn message(mut self) -> (Vec<(u8, Value)>, &'a [u8]) {
        let mut sections = Vec::new();
        loop {
            assert_eq!(self.take(2), [0x00, 0x53]);
            let code = self.byte();
            if code != DATA {
                sections.push((code, self.value()));
                continue;
            }
            let len = match self.byte() {
                0xa0 => self.byte().into(),
                0xb0 => self.word(),
                code => panic!("format code {code:#x}"),
            };
            let data = self.take(len);
            assert!(self.0.is_empty());
            return (sections, data);
        }
    }
}

fn written(event: &Event, envelope: &MessageEnvelope<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write(event, envelope, &mut out);
    out
}

#[test]
fn messages_are_what_azure_writes() {
    for fixture in fixtures::ALL {
        let event = fixture.event();
        let message = written(&event, &MessageEnvelope::default());
        let (sections, data) = AmqpReader(&message).message();
        let expect = value(fixture.amqp);
        let content_type = expect["properties"]["content-type"].clone();
        let properties: Vec<Value> = [vec![Value::Null; 6], vec![content_type]].concat();
        assert_eq!(
            sections,
            [
                (PROPERTIES, properties.into()),
                (
                    APPLICATION_PROPERTIES,
                    expect["application-properties"].clone()
                ),
            ],
            "{}",
            fixture.name
        );
        assert_eq!(data, event.json_data().unwrap().as_bytes());
        assert_eq!(value(str::from_utf8(data).unwrap()), expect["data"]);
    }
}

#[test]
fn an_envelope_fills_its_sections_alone() {
    let event = EventParts::new("1", "s", "t")
        .build(&EventLimits::default())
        .unwrap();
    let id = message_id(&event);
    assert_eq!(id.len(), 43);
    let envelope = MessageEnvelope {
        partition_key: Some("7"),
        message_id: Some(&id),
        group_id: Some("room1"),
        trace: None,
    };
    let message = written(&event, &envelope);
    let (sections, data) = AmqpReader(&message).message();
    assert!(data.is_empty());
    let null = Value::Null;
    let mut properties = vec![null; 11];
    properties[0] = id.as_str().into();
    properties[10] = "room1".into();
    assert_eq!(
        sections[0],
        (MESSAGE_ANNOTATIONS, value(r#"{"x-opt-partition-key":"7"}"#))
    );
    assert_eq!(sections[1], (PROPERTIES, properties.into()));
    let mut batch = Vec::new();
    write_annotations(&envelope, &mut batch);
    write_properties(&envelope, None, &mut batch);
    assert!(message.starts_with(&batch));
    write_data(&message, &mut batch);
    assert_eq!(AmqpReader(&batch).message().1, message);
}

#[test]
fn the_message_id_tells_events_apart_and_never_changes() {
    let id = |source: &str, id: &str| {
        message_id(
            &EventParts::new(id, source, "t")
                .build(&EventLimits::default())
                .unwrap(),
        )
    };
    assert_eq!(id("s", "1"), "7WV2QR07v9DczTAxIeUSVTPBXH05ZH12JLELfwwCuNA");
    assert_ne!(id("s1", "1"), id("s", "11"));
}

proptest! {
    #[test]
    fn any_event_is_readable(
        id in "[ -~äß€]{1,300}",
        extension in "[ -~ü]{0,300}",
        number: i32,
        truth: bool,
        data in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let event = EventParts::new(&id, "s", "t")
            .set("datacontenttype", "application/octet-stream").unwrap()
            .set("ext1", &extension).unwrap()
            .extension("number", ExtensionValue::Integer(number)).unwrap()
            .extension("truth", ExtensionValue::Boolean(truth)).unwrap()
            .data(data.clone().into())
            .build(&EventLimits::default()).unwrap();
        let message = written(&event, &MessageEnvelope::default());
        let (sections, read) = AmqpReader(&message).message();
        prop_assert_eq!(read, &*data);
        let expect = serde_json::json!({
            "cloudEvents:id": id, "cloudEvents:source": "s", "cloudEvents:specversion": "1.0",
            "cloudEvents:type": "t", "cloudEvents:ext1": extension,
            "cloudEvents:number": number, "cloudEvents:truth": truth,
        });
        prop_assert_eq!(&sections[1], &(APPLICATION_PROPERTIES, expect));
        let mut section = Vec::new();
        write_data(&data, &mut section);
        let overhead = if data.len() < 256 { 5 } else { 8 };
        prop_assert_eq!(section.len(), data.len() + overhead);
    }
}

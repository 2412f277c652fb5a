//! The event that is posted, and the mark by which the receiving end knows it again.
//!
//! The mark stands in `data`, so that it arrives whatever an envelope is made into.

/// What stands before a mark: its number, a dash, the moment it was sent.
const MARK: &[u8] = b"\"mark\":\"";
const ID: &[u8] = b"\"id\":\"e";
const AREA: &[u8] = b"\"area-";
const NUMBER_DIGITS: usize = 10;
const AREA_DIGITS: usize = 5;
const TIME_DIGITS: usize = 20;
/// From here on an event has the attributes that real ones have too.
const LONG_BYTES: usize = 600;

/// An event of a fixed length whose number, area and moment can be written over.
pub(crate) struct EventTemplate {
    pub(crate) text: Vec<u8>,
    id_at: usize,
    area_at: usize,
    mark_at: usize,
}

impl EventTemplate {
    /// An event of so many bytes, or of a little over 200 where that is more.
    pub(crate) fn new(bytes: usize) -> Self {
        let long = bytes >= LONG_BYTES;
        let extra = if long {
            r#","time":"2026-03-02T06:15:00.1203395Z","datacontenttype":"application/json","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad8-01""#
        } else {
            ""
        };
        let patch = if long {
            r#""modelId":"dtmi:contoso:mill:Pump;2","patch":[{"op":"replace","path":"/flow","value":17.25},{"op":"add","path":"/label","value":"n\u00e9w \"ok\""}],"#
        } else {
            ""
        };
        let head = format!(
            r#"{{"specversion":"1.0","id":"e0000000000","source":"contoso-mill","type":"Microsoft.DigitalTwins.Twin.Update","subject":"area-00000/pump"{extra},"data":{{{patch}"mark":"0000000000-00000000000000000000","pad":""#
        );
        let tail = "\"}}";
        let pad = bytes.saturating_sub(head.len() + tail.len());
        let text = format!("{head}{}{tail}", "x".repeat(pad)).into_bytes();
        let after = |name: &[u8]| {
            let at = memchr::memmem::find(&text, name);
            at.expect("the template has it") + name.len()
        };
        let (id_at, area_at, mark_at) = (after(ID), after(AREA), after(MARK));
        Self {
            text,
            id_at,
            area_at,
            mark_at,
        }
    }

    /// Makes the event that begins at `at` another one.
    pub(crate) fn stamp(&self, body: &mut [u8], number: u64, area: u64, moment: u64) {
        let id = &mut body[self.id_at..];
        put_digits(&mut id[..NUMBER_DIGITS], number);
        let place = &mut body[self.area_at..];
        put_digits(&mut place[..AREA_DIGITS], area);
        let mark = &mut body[self.mark_at..];
        put_digits(&mut mark[..NUMBER_DIGITS], number);
        let time = &mut mark[NUMBER_DIGITS + 1..];
        put_digits(&mut time[..TIME_DIGITS], moment);
    }
}

/// Number and moment of every event in a body.
pub(crate) fn marks(body: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    memchr::memmem::find_iter(body, MARK).filter_map(|at| {
        let mark = &body[at + MARK.len()..];
        let number = mark.get(..NUMBER_DIGITS)?;
        let moment = mark.get(NUMBER_DIGITS + 1..NUMBER_DIGITS + 1 + TIME_DIGITS)?;
        Some((digits(number), digits(moment)))
    })
}

fn put_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn digits(text: &[u8]) -> u64 {
    text.iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit & 15))
}

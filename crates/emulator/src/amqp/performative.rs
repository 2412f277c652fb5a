//! The performatives, read leniently and written as full-length lists.
//!
//! azure-eventhub 5.15.1 indexes `open` (10 fields), `begin` (8), `attach` (14) and `transfer` (11)
//! by position; a list with its trailing nulls cut off breaks it.

use super::decode::{AmqpDecoder, DecodeError};
use super::encode;
use super::frame::{self, FrameKind};
use super::state::{AmqpError, problem_or_null};
use super::value::AmqpValue;
use bytes::{Bytes, BytesMut};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AmqpPerformative {
    Open(OpenFrame),
    Begin(BeginFrame),
    Attach(Box<AttachFrame>),
    Flow(FlowFrame),
    Transfer(TransferFrame),
    Disposition(DispositionFrame),
    Detach(DetachFrame),
    End(Option<AmqpError>),
    Close(Option<AmqpError>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OpenFrame {
    pub(crate) container_id: String,
    pub(crate) max_frame_bytes: Option<u32>,
    pub(crate) channel_max: Option<u16>,
    pub(crate) idle_timeout_ms: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BeginFrame {
    pub(crate) remote_channel: Option<u16>,
    pub(crate) next_outgoing_id: u32,
    pub(crate) incoming_window: u32,
    pub(crate) outgoing_window: u32,
    pub(crate) handle_max: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AttachFrame {
    pub(crate) name: String,
    pub(crate) handle: u32,
    /// Whether the one who sends this performative receives on the link.
    pub(crate) receiver: bool,
    pub(crate) snd_settle_mode: Option<u8>,
    pub(crate) rcv_settle_mode: Option<u8>,
    pub(crate) source: AmqpValue,
    pub(crate) target: AmqpValue,
    pub(crate) initial_delivery_count: Option<u32>,
    pub(crate) message_bytes_max: Option<u64>,
    pub(crate) desired_capabilities: AmqpValue,
    pub(crate) properties: AmqpValue,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FlowFrame {
    pub(crate) next_incoming_id: Option<u32>,
    pub(crate) incoming_window: u32,
    pub(crate) next_outgoing_id: u32,
    pub(crate) outgoing_window: u32,
    pub(crate) handle: Option<u32>,
    pub(crate) delivery_count: Option<u32>,
    pub(crate) link_credit: Option<u32>,
    pub(crate) available: Option<u32>,
    pub(crate) drain: bool,
    pub(crate) echo: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TransferFrame {
    pub(crate) handle: u32,
    pub(crate) delivery_id: Option<u32>,
    pub(crate) delivery_tag: Option<Bytes>,
    pub(crate) message_format: Option<u32>,
    pub(crate) settled: Option<bool>,
    pub(crate) more: bool,
    pub(crate) aborted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DispositionFrame {
    pub(crate) receiver: bool,
    pub(crate) first: u32,
    pub(crate) last: Option<u32>,
    pub(crate) settled: bool,
    pub(crate) state: AmqpValue,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DetachFrame {
    pub(crate) handle: u32,
    pub(crate) closed: bool,
    pub(crate) error: Option<AmqpError>,
}

/// Fields of a list by position; a field that is not there reads as null.
struct FieldList(std::vec::IntoIter<AmqpValue>);

impl FieldList {
    fn any(&mut self) -> AmqpValue {
        self.0.next().unwrap_or(AmqpValue::Null)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.any();
        }
    }

    fn number<T: TryFrom<i64>>(&mut self) -> Option<T> {
        self.any()
            .as_i64()
            .and_then(|number| T::try_from(number).ok())
    }

    fn need(&mut self) -> Result<u32, DecodeError> {
        self.number().ok_or(DecodeError::Range)
    }

    fn flag(&mut self) -> bool {
        self.any().as_bool().unwrap_or_default()
    }

    fn text(&mut self) -> String {
        match self.any() {
            AmqpValue::String(text) | AmqpValue::Symbol(text) => text,
            _ => String::new(),
        }
    }
}

/// Reads the performative at the front of a frame's body; the rest is payload.
pub(crate) fn read(body: &Bytes) -> Result<(AmqpPerformative, Bytes), DecodeError> {
    let mut decoder = AmqpDecoder::new(body);
    let (code, mut fields) = code_and_fields(&mut decoder)?;
    let performative = match code {
        0x10 => AmqpPerformative::Open(open(&mut fields)),
        0x11 => AmqpPerformative::Begin(begin(&mut fields)?),
        0x12 => AmqpPerformative::Attach(Box::new(attach(&mut fields)?)),
        0x13 => AmqpPerformative::Flow(flow(&mut fields)?),
        0x14 => AmqpPerformative::Transfer(transfer(&mut fields)?),
        0x15 => AmqpPerformative::Disposition(DispositionFrame {
            receiver: fields.flag(),
            first: fields.need()?,
            last: fields.number(),
            settled: fields.flag(),
            state: fields.any(),
        }),
        0x16 => AmqpPerformative::Detach(DetachFrame {
            handle: fields.need()?,
            closed: fields.flag(),
            error: problem(&fields.any()),
        }),
        0x17 => AmqpPerformative::End(problem(&fields.any())),
        0x18 => AmqpPerformative::Close(problem(&fields.any())),
        _ => return Err(DecodeError::Descriptor),
    };
    Ok((performative, body.slice(decoder.position()..)))
}

/// The mechanism and initial response of a `sasl-init`.
pub(crate) fn read_sasl_init(body: &Bytes) -> Result<(String, Bytes), DecodeError> {
    let (code, mut fields) = code_and_fields(&mut AmqpDecoder::new(body))?;
    if code != 0x41 {
        return Err(DecodeError::Descriptor);
    }
    let mechanism = fields.text();
    match fields.any() {
        AmqpValue::Binary(response) => Ok((mechanism, response)),
        _ => Ok((mechanism, Bytes::new())),
    }
}

fn code_and_fields(decoder: &mut AmqpDecoder<'_>) -> Result<(i64, FieldList), DecodeError> {
    let AmqpValue::Described(both) = decoder.value()? else {
        return Err(DecodeError::Descriptor);
    };
    let (descriptor, content) = *both;
    let AmqpValue::List(items) = content else {
        return Err(DecodeError::Descriptor);
    };
    Ok((
        descriptor.as_i64().ok_or(DecodeError::Descriptor)?,
        FieldList(items.into_iter()),
    ))
}

fn problem(value: &AmqpValue) -> Option<AmqpError> {
    let items = value.items();
    let text = |at: usize| {
        items
            .get(at)
            .and_then(AmqpValue::as_str)
            .unwrap_or_default()
    };
    (!items.is_empty()).then(|| AmqpError::new(text(0), text(1)))
}

fn open(fields: &mut FieldList) -> OpenFrame {
    let container_id = fields.text();
    fields.skip(1);
    OpenFrame {
        container_id,
        max_frame_bytes: fields.number(),
        channel_max: fields.number(),
        idle_timeout_ms: fields.number(),
    }
}

fn begin(fields: &mut FieldList) -> Result<BeginFrame, DecodeError> {
    Ok(BeginFrame {
        remote_channel: fields.number(),
        next_outgoing_id: fields.need()?,
        incoming_window: fields.need()?,
        outgoing_window: fields.need()?,
        handle_max: fields.number().unwrap_or(u32::MAX),
    })
}

fn attach(fields: &mut FieldList) -> Result<AttachFrame, DecodeError> {
    let name = fields.text();
    let handle = fields.need()?;
    let receiver = fields.flag();
    let snd_settle_mode = fields.number();
    let rcv_settle_mode = fields.number();
    let (source, target) = (fields.any(), fields.any());
    fields.skip(2);
    let initial_delivery_count = fields.number();
    let message_bytes_max = match fields.any() {
        AmqpValue::Ulong(bytes) => Some(bytes),
        _ => None,
    };
    fields.skip(1);
    Ok(AttachFrame {
        name,
        handle,
        receiver,
        snd_settle_mode,
        rcv_settle_mode,
        source,
        target,
        initial_delivery_count,
        message_bytes_max,
        desired_capabilities: fields.any(),
        properties: fields.any(),
    })
}

fn flow(fields: &mut FieldList) -> Result<FlowFrame, DecodeError> {
    Ok(FlowFrame {
        next_incoming_id: fields.number(),
        incoming_window: fields.need()?,
        next_outgoing_id: fields.need()?,
        outgoing_window: fields.need()?,
        handle: fields.number(),
        delivery_count: fields.number(),
        link_credit: fields.number(),
        available: fields.number(),
        drain: fields.flag(),
        echo: fields.flag(),
    })
}

fn transfer(fields: &mut FieldList) -> Result<TransferFrame, DecodeError> {
    let handle = fields.need()?;
    let delivery_id = fields.number();
    let delivery_tag = match fields.any() {
        AmqpValue::Binary(tag) => Some(tag),
        _ => None,
    };
    let message_format = fields.number();
    let settled = fields.any().as_bool();
    let more = fields.flag();
    fields.skip(3);
    Ok(TransferFrame {
        handle,
        delivery_id,
        delivery_tag,
        message_format,
        settled,
        more,
        aborted: fields.flag(),
    })
}

impl AmqpPerformative {
    /// Appends a frame with this performative and `payload`.
    pub(crate) fn put(&self, channel: u16, payload: &[u8], out: &mut BytesMut) {
        let (code, fields) = self.fields();
        frame::put(FrameKind::Amqp, channel, out, |out| {
            encode::described(code, &AmqpValue::List(fields), out);
            out.extend_from_slice(payload);
        });
    }

    fn fields(&self) -> (u8, Vec<AmqpValue>) {
        match self {
            Self::Open(open) => (0x10, open_fields(open)),
            Self::Begin(begin) => (0x11, begin_fields(begin)),
            Self::Attach(attach) => (0x12, attach_fields(attach)),
            Self::Flow(flow) => (0x13, flow_fields(flow)),
            Self::Transfer(transfer) => (0x14, transfer_fields(transfer)),
            Self::Disposition(disposition) => (
                0x15,
                vec![
                    AmqpValue::Bool(disposition.receiver),
                    AmqpValue::Uint(disposition.first),
                    uint(disposition.last),
                    AmqpValue::Bool(disposition.settled),
                    disposition.state.clone(),
                    AmqpValue::Bool(false),
                ],
            ),
            Self::Detach(detach) => (
                0x16,
                vec![
                    AmqpValue::Uint(detach.handle),
                    AmqpValue::Bool(detach.closed),
                    problem_or_null(detach.error.as_ref()),
                ],
            ),
            Self::End(problem) => (0x17, vec![problem_or_null(problem.as_ref())]),
            Self::Close(problem) => (0x18, vec![problem_or_null(problem.as_ref())]),
        }
    }
}

fn uint(number: Option<u32>) -> AmqpValue {
    number.map_or(AmqpValue::Null, AmqpValue::Uint)
}

fn open_fields(open: &OpenFrame) -> Vec<AmqpValue> {
    let mut fields = vec![
        AmqpValue::string(&open.container_id),
        AmqpValue::Null,
        uint(open.max_frame_bytes),
        open.channel_max.map_or(AmqpValue::Null, AmqpValue::Ushort),
        uint(open.idle_timeout_ms),
    ];
    fields.resize(10, AmqpValue::Null);
    fields
}

fn begin_fields(begin: &BeginFrame) -> Vec<AmqpValue> {
    let mut fields = vec![
        begin
            .remote_channel
            .map_or(AmqpValue::Null, AmqpValue::Ushort),
        AmqpValue::Uint(begin.next_outgoing_id),
        AmqpValue::Uint(begin.incoming_window),
        AmqpValue::Uint(begin.outgoing_window),
        AmqpValue::Uint(begin.handle_max),
    ];
    fields.resize(8, AmqpValue::Null);
    fields
}

fn attach_fields(attach: &AttachFrame) -> Vec<AmqpValue> {
    vec![
        AmqpValue::string(&attach.name),
        AmqpValue::Uint(attach.handle),
        AmqpValue::Bool(attach.receiver),
        attach
            .snd_settle_mode
            .map_or(AmqpValue::Null, AmqpValue::Ubyte),
        attach
            .rcv_settle_mode
            .map_or(AmqpValue::Null, AmqpValue::Ubyte),
        attach.source.clone(),
        attach.target.clone(),
        AmqpValue::Null,
        AmqpValue::Null,
        uint(attach.initial_delivery_count),
        attach
            .message_bytes_max
            .map_or(AmqpValue::Null, AmqpValue::Ulong),
        AmqpValue::Null,
        attach.desired_capabilities.clone(),
        attach.properties.clone(),
    ]
}

fn flow_fields(flow: &FlowFrame) -> Vec<AmqpValue> {
    vec![
        uint(flow.next_incoming_id),
        AmqpValue::Uint(flow.incoming_window),
        AmqpValue::Uint(flow.next_outgoing_id),
        AmqpValue::Uint(flow.outgoing_window),
        uint(flow.handle),
        uint(flow.delivery_count),
        uint(flow.link_credit),
        uint(flow.available),
        AmqpValue::Bool(flow.drain),
        AmqpValue::Bool(flow.echo),
        AmqpValue::Null,
    ]
}

fn transfer_fields(transfer: &TransferFrame) -> Vec<AmqpValue> {
    vec![
        AmqpValue::Uint(transfer.handle),
        uint(transfer.delivery_id),
        transfer
            .delivery_tag
            .clone()
            .map_or(AmqpValue::Null, AmqpValue::Binary),
        uint(transfer.message_format),
        transfer.settled.map_or(AmqpValue::Null, AmqpValue::Bool),
        AmqpValue::Bool(transfer.more),
        AmqpValue::Null,
        AmqpValue::Null,
        AmqpValue::Null,
        AmqpValue::Bool(transfer.aborted),
        AmqpValue::Null,
    ]
}

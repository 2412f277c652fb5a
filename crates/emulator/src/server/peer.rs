//! The protocol state of one connection: bytes in, bytes out, no socket.

use super::context::{FRAME_BYTES_MIN, PeerContext, PeerEnding};
use super::session::{HANDLE_MAX, INCOMING_WINDOW, LinkSession, SessionLink};
use super::{attach, incoming, outgoing, settle};
use crate::amqp::encode;
use crate::amqp::frame::{self, AMQP_HEADER, AmqpFrame, FrameKind, HEADER_BYTES, SASL_HEADER};
use crate::amqp::performative::{
    self, AmqpPerformative, BeginFrame, DetachFrame, FlowFrame, OpenFrame,
};
use crate::amqp::value::AmqpValue;
use crate::broker::message_broker::MessageBroker;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The highest channel number, as the service gives it.
const CHANNEL_MAX: u16 = 4_999;
/// Sessions on one connection.
const SESSIONS_MAX: usize = 1_024;
/// How often expired locks, tokens and silent connections are looked for.
const TICK: Duration = Duration::from_millis(200);
/// A connection that put no token within this time is dropped, as the service does.
const TOKEN_WAIT: Duration = Duration::from_secs(20);
const MECHANISMS: [&str; 4] = ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerPhase {
    Header,
    SaslInit,
    AmqpHeader,
    Open,
    Running,
}

pub(crate) struct AmqpPeer {
    phase: PeerPhase,
    sessions: BTreeMap<u16, LinkSession>,
    context: PeerContext,
    keep_alive: Option<Duration>,
    last_written: Instant,
    next_tick: Instant,
    opened_at: Instant,
}

impl AmqpPeer {
    pub(crate) fn new(broker: Arc<MessageBroker>) -> Self {
        let now = Instant::now();
        Self {
            phase: PeerPhase::Header,
            sessions: BTreeMap::new(),
            context: PeerContext::new(broker),
            keep_alive: None,
            last_written: now,
            next_tick: now + TICK,
            opened_at: now,
        }
    }

    pub(crate) fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.context.wake)
    }

    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.context.out
    }

    pub(crate) fn take_output(&mut self) -> Bytes {
        self.context.out.split().freeze()
    }

    /// When [`AmqpPeer::tick`] wants to be called.
    pub(crate) fn next_timer(&self) -> Instant {
        let due = self.context.next_due();
        due.map_or(self.next_tick, |at| at.min(self.next_tick))
    }

    /// Takes what was read; leaves an unfinished frame in `input`.
    pub(crate) fn feed(&mut self, input: &mut BytesMut) -> Result<(), PeerEnding> {
        loop {
            if matches!(self.phase, PeerPhase::Header | PeerPhase::AmqpHeader) {
                if input.len() < HEADER_BYTES {
                    break;
                }
                let header = input.split_to(HEADER_BYTES);
                self.header(&header)?;
                continue;
            }
            let bytes_max = self.context.broker.settings.limits.frame_bytes_max;
            match frame::take(input, bytes_max) {
                Ok(Some(frame)) => self.frame(frame)?,
                Ok(None) => break,
                Err(error) => {
                    let text = error.to_string();
                    return Err(self.context.close("amqp:connection:framing-error", &text));
                }
            }
        }
        self.pump()
    }

    /// Called when something was written: delivers more if that had to wait.
    pub(crate) fn written(&mut self) -> Result<(), PeerEnding> {
        self.last_written = Instant::now();
        if std::mem::take(&mut self.context.paused) {
            self.pump()
        } else {
            Ok(())
        }
    }

    /// Delivers what is there for links with credit.
    pub(crate) fn pump(&mut self) -> Result<(), PeerEnding> {
        for session in self.sessions.values_mut() {
            attach::retry_waiting(&mut self.context, session);
            outgoing::pump(&mut self.context, session);
        }
        Ok(())
    }

    /// Does what depends on time.
    pub(crate) fn tick(&mut self) -> Result<(), PeerEnding> {
        let now = Instant::now();
        self.context.send_due(now);
        if now < self.next_tick {
            return Ok(());
        }
        self.next_tick = now + TICK.min(self.keep_alive.unwrap_or(TICK));
        if self
            .keep_alive
            .is_some_and(|wait| now.duration_since(self.last_written) >= wait)
        {
            self.context.out.extend_from_slice(&frame::EMPTY);
            self.last_written = now;
        }
        if self.context.grants.is_empty() && now.duration_since(self.opened_at) > TOKEN_WAIT {
            let text = "no token was put in time";
            return Err(self.context.close("amqp:unauthorized-access", text));
        }
        for session in self.sessions.values_mut() {
            attach::review(&mut self.context, session);
        }
        self.pump()
    }

    fn header(&mut self, header: &[u8]) -> Result<(), PeerEnding> {
        if header == SASL_HEADER && self.phase == PeerPhase::Header {
            self.context.out.extend_from_slice(&SASL_HEADER);
            let names = MECHANISMS
                .iter()
                .map(|name| AmqpValue::symbol(*name))
                .collect();
            self.sasl(0x40, AmqpValue::Array(names));
            self.phase = PeerPhase::SaslInit;
            return Ok(());
        }
        self.context.out.extend_from_slice(&AMQP_HEADER);
        if header == AMQP_HEADER {
            self.phase = PeerPhase::Open;
            return Ok(());
        }
        // AMQP 1.0 part 2 §2.2: an unknown header is answered with one that would do.
        Err(PeerEnding::Flush)
    }

    fn sasl(&mut self, code: u8, field: AmqpValue) {
        frame::put(FrameKind::Sasl, 0, &mut self.context.out, |out| {
            encode::described(code, &AmqpValue::List(vec![field]), out);
        });
    }

    fn frame(&mut self, frame: AmqpFrame) -> Result<(), PeerEnding> {
        if self.phase == PeerPhase::SaslInit {
            return self.sasl_init(&frame);
        }
        if frame.kind == FrameKind::Sasl {
            return Err(self
                .context
                .close("amqp:connection:framing-error", "SASL was over"));
        }
        if frame.body.is_empty() {
            return Ok(());
        }
        let (performative, payload) = match performative::read(&frame.body) {
            Ok(read) => read,
            Err(error) => {
                return Err(self.context.close("amqp:decode-error", &error.to_string()));
            }
        };
        match (self.phase, performative) {
            (PeerPhase::Open, AmqpPerformative::Open(open)) => self.open(&open),
            (PeerPhase::Running, performative) => {
                self.running(frame.channel, performative, payload)
            }
            _ => Err(self
                .context
                .close("amqp:not-allowed", "the connection is not open")),
        }
    }

    fn sasl_init(&mut self, frame: &AmqpFrame) -> Result<(), PeerEnding> {
        let (mechanism, response) = match performative::read_sasl_init(&frame.body) {
            Ok(init) if frame.kind == FrameKind::Sasl => init,
            _ => return Err(PeerEnding::Drop),
        };
        let accepted = match mechanism.as_str() {
            "PLAIN" => {
                let grant = self.context.broker.rules.plain(&response);
                if let Some(grant) = grant {
                    self.context.grants.add_plain(grant);
                }
                grant.is_some()
            }
            other => MECHANISMS.contains(&other),
        };
        // AMQP 1.0 part 5 §5.3.3.6: 0 is ok, 1 is a failed authentication.
        self.sasl(0x44, AmqpValue::Ubyte(u8::from(!accepted)));
        self.phase = PeerPhase::AmqpHeader;
        if accepted {
            Ok(())
        } else {
            Err(PeerEnding::Flush)
        }
    }

    fn open(&mut self, open: &OpenFrame) -> Result<(), PeerEnding> {
        let frame_bytes_max = self.context.broker.settings.limits.frame_bytes_max;
        let remote = open
            .max_frame_bytes
            .unwrap_or(u32::MAX)
            .max(FRAME_BYTES_MIN);
        let ours = frame_bytes_max.max(FRAME_BYTES_MIN);
        self.context.remote_frame_bytes_max = remote.min(ours) as usize;
        // The client stops waiting after its time-out, so something is sent well before.
        let keep_alive = open.idle_timeout_ms.filter(|millis| *millis > 0);
        self.keep_alive = keep_alive.map(|millis| Duration::from_millis(u64::from(millis) / 4));
        self.next_tick = Instant::now() + TICK.min(self.keep_alive.unwrap_or(TICK));
        let answer = OpenFrame {
            container_id: "twinroute-emulator".to_owned(),
            max_frame_bytes: Some(frame_bytes_max),
            channel_max: Some(CHANNEL_MAX.min(open.channel_max.unwrap_or(u16::MAX))),
            idle_timeout_ms: None,
        };
        self.context.send(0, &AmqpPerformative::Open(answer));
        self.phase = PeerPhase::Running;
        Ok(())
    }

    fn running(
        &mut self,
        channel: u16,
        input: AmqpPerformative,
        body: Bytes,
    ) -> Result<(), PeerEnding> {
        let context = &mut self.context;
        let Some(session) = self.sessions.get_mut(&channel) else {
            return self.without_session(channel, input);
        };
        match input {
            AmqpPerformative::Attach(attach) => attach::attach(context, session, *attach),
            AmqpPerformative::Flow(flow) => link_flow(context, session, &flow),
            AmqpPerformative::Transfer(transfer) => {
                return incoming::transfer(context, session, transfer, body);
            }
            AmqpPerformative::Disposition(disposition) => {
                settle::disposition(context, session, &disposition);
            }
            AmqpPerformative::Detach(detach) => detached(context, session, &detach),
            AmqpPerformative::End(_) => {
                context.send(channel, &AmqpPerformative::End(None));
                self.drop_session(channel);
            }
            AmqpPerformative::Close(_) => return self.closed(),
            AmqpPerformative::Open(_) | AmqpPerformative::Begin(_) => {
                return Err(context.close("amqp:not-allowed", "it is open already"));
            }
        }
        Ok(())
    }

    fn without_session(&mut self, channel: u16, input: AmqpPerformative) -> Result<(), PeerEnding> {
        match input {
            AmqpPerformative::Begin(begin) => self.begin(channel, &begin),
            AmqpPerformative::Close(_) => self.closed(),
            AmqpPerformative::Open(_) => Err(self
                .context
                .close("amqp:not-allowed", "the connection is open already")),
            // The Python clients detach links of a session they have just ended.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, channel: u16, begin: &BeginFrame) -> Result<(), PeerEnding> {
        if self.sessions.len() >= SESSIONS_MAX || channel > CHANNEL_MAX {
            let text = "too many sessions";
            return Err(self.context.close("amqp:resource-limit-exceeded", text));
        }
        self.sessions
            .insert(channel, LinkSession::new(channel, begin));
        let answer = BeginFrame {
            remote_channel: Some(channel),
            next_outgoing_id: 0,
            incoming_window: INCOMING_WINDOW,
            outgoing_window: INCOMING_WINDOW,
            handle_max: HANDLE_MAX,
        };
        self.context.send(channel, &AmqpPerformative::Begin(answer));
        Ok(())
    }

    fn closed(&mut self) -> Result<(), PeerEnding> {
        self.context.send(0, &AmqpPerformative::Close(None));
        Err(PeerEnding::Flush)
    }

    fn drop_session(&mut self, channel: u16) {
        if let Some(session) = self.sessions.remove(&channel) {
            session.links.into_values().for_each(SessionLink::close);
        }
    }
}

impl Drop for AmqpPeer {
    fn drop(&mut self) {
        for session in std::mem::take(&mut self.sessions).into_values() {
            session.links.into_values().for_each(SessionLink::close);
        }
    }
}

fn link_flow(context: &mut PeerContext, session: &mut LinkSession, flow: &FlowFrame) {
    session.remote_flow(flow);
    if let Some(handle) = flow.handle {
        session.credit(handle, flow);
        if flow.echo
            && let Some(answer) = session.link_flow(handle)
        {
            context.send(session.channel, &AmqpPerformative::Flow(answer));
        }
    } else if flow.echo {
        let answer = session.flow();
        context.send(session.channel, &AmqpPerformative::Flow(answer));
    }
}

fn detached(context: &mut PeerContext, session: &mut LinkSession, detach: &DetachFrame) {
    if session.closing.remove(&detach.handle) {
        return;
    }
    if let Some(waiting) = session.waiting.remove(&detach.handle) {
        return attach::refuse(context, session, &waiting.asked, None);
    }
    if let Some(link) = session.links.remove(&detach.handle) {
        link.close();
        let answer = DetachFrame {
            handle: detach.handle,
            closed: detach.closed,
            error: None,
        };
        context.send(session.channel, &AmqpPerformative::Detach(answer));
    }
}

//! Attaching, refusing and detaching links.

use super::address::{self, LinkNode};
use super::context::PeerContext;
use super::reader::{self, PartitionReader};
use super::session::{
    HANDLE_MAX, InboundLink, LinkSession, LinkSource, OutboundLink, SessionLink, WaitingAttach,
};
use crate::amqp::performative::{AmqpPerformative, AttachFrame, DetachFrame};
use crate::amqp::state::AmqpError;
use crate::amqp::value::{AmqpValue, find, symbols};
use crate::broker::queue::{MessageQueue, ReceiveMode};
use crate::broker::session::SessionHold;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::Timestamp;

const SESSION_FILTER: &str = "com.microsoft:session-filter";
const TIMEOUT: &str = "com.microsoft:timeout";
/// .NET ticks (100 ns since the year 1) at the Unix epoch.
const DOTNET_EPOCH_TICKS: i64 = 621_355_968_000_000_000;

/// How long a receiver waits for a free session unless it says so, and the longest that it may say.
const SESSION_WAIT: Duration = Duration::from_secs(60);
const SESSION_WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// Answers an attach: with a link, or with a null terminus and a detach. A receiver of the next free
/// session is answered later when there is none.
pub(super) fn attach(context: &mut PeerContext, session: &mut LinkSession, asked: AttachFrame) {
    let until = Instant::now() + session_wait(&asked);
    let waiting = WaitingAttach {
        asked,
        until,
        flow: None,
    };
    try_attach(context, session, waiting);
}

/// Answers the receivers for whom a session has become free, or whose time is over.
pub(super) fn retry_waiting(context: &mut PeerContext, session: &mut LinkSession) {
    for (_, waiting) in std::mem::take(&mut session.waiting) {
        try_attach(context, session, waiting);
    }
}

fn try_attach(context: &mut PeerContext, session: &mut LinkSession, waiting: WaitingAttach) {
    let mut answer = answer_to(context, &waiting.asked);
    let handle = waiting.asked.handle;
    let made = make(context, session, &waiting.asked, &mut answer);
    let problem = match made {
        Ok(Some(link)) => {
            let inbound = matches!(link, SessionLink::Inbound(_));
            session.closing.remove(&handle);
            session.links.insert(handle, link);
            context.send(session.channel, &AmqpPerformative::Attach(Box::new(answer)));
            if inbound && let Some(flow) = session.link_flow(handle) {
                context.send(session.channel, &AmqpPerformative::Flow(flow));
            }
            if let Some(flow) = waiting.flow {
                session.credit(handle, &flow);
            }
            return;
        }
        Ok(None) if Instant::now() < waiting.until => {
            session.waiting.insert(handle, waiting);
            return;
        }
        Ok(None) => {
            let text = "no session with messages became free in time";
            AmqpError::new("com.microsoft:timeout", text)
        }
        Err(problem) => problem,
    };
    refuse(context, session, &waiting.asked, Some(problem));
}

/// Ends an attach that has not been answered.
pub(super) fn refuse(
    context: &mut PeerContext,
    session: &mut LinkSession,
    asked: &AttachFrame,
    problem: Option<AmqpError>,
) {
    let mut answer = answer_to(context, asked);
    // A null terminus is how a link is refused (AMQP 1.0 part 2 §2.6.3); azure-servicebus tells
    // the reason only when it sees one.
    *(if asked.receiver {
        &mut answer.source
    } else {
        &mut answer.target
    }) = AmqpValue::Null;
    context.send(session.channel, &AmqpPerformative::Attach(Box::new(answer)));
    match problem {
        Some(problem) => detach(context, session, asked.handle, problem),
        None => {
            let detach = DetachFrame {
                handle: asked.handle,
                closed: true,
                error: None,
            };
            context.send(session.channel, &AmqpPerformative::Detach(detach));
        }
    }
}

/// How long a receiver waits for a free session: property `com.microsoft:timeout`, in milliseconds.
fn session_wait(asked: &AttachFrame) -> Duration {
    let said = asked.properties.get(TIMEOUT).and_then(AmqpValue::as_i64);
    let said = said.and_then(|millis| u64::try_from(millis).ok());
    said.map_or(SESSION_WAIT, Duration::from_millis)
        .min(SESSION_WAIT_MAX)
}

/// Detaches a link of ours with an error.
pub(super) fn detach(
    context: &mut PeerContext,
    session: &mut LinkSession,
    handle: u32,
    problem: AmqpError,
) {
    if let Some(link) = session.links.remove(&handle) {
        link.close();
    }
    session.closing.insert(handle);
    let detach = DetachFrame {
        handle,
        closed: true,
        error: Some(problem),
    };
    context.send(session.channel, &AmqpPerformative::Detach(detach));
}

/// Detaches links that lost their right, and gives back messages whose lock has ended.
pub(super) fn review(context: &mut PeerContext, session: &mut LinkSession) {
    let now = context.broker.now();
    let live = context.broker.rules.live();
    let mut lost = Vec::new();
    for (handle, link) in &session.links {
        let claim = link.claim();
        let allowed = claim.map(|claim| context.grants.allow(link.address(), claim, now, &live));
        if let Some(Err(problem)) = allowed {
            lost.push((*handle, problem));
            continue;
        }
        let SessionLink::Outbound(link) = link else {
            continue;
        };
        match &link.source {
            LinkSource::Partition(reader) if reader.is_stolen() => {
                let text = "a reader with a higher or equal epoch has connected";
                lost.push((*handle, AmqpError::new("amqp:link:stolen", text)));
            }
            LinkSource::Queue { queue, session, .. } => {
                queue.sweep(now);
                if session
                    .as_ref()
                    .is_some_and(|hold| !queue.holds_session(hold))
                {
                    let text = "the lock of the session has ended";
                    let condition = "com.microsoft:session-lock-lost";
                    lost.push((*handle, AmqpError::new(condition, text)));
                }
            }
            _ => {}
        }
    }
    for (handle, problem) in lost {
        detach(context, session, handle, problem);
    }
}

fn answer_to(context: &PeerContext, asked: &AttachFrame) -> AttachFrame {
    AttachFrame {
        name: asked.name.clone(),
        handle: asked.handle,
        receiver: !asked.receiver,
        // A receiver that leaves it open (mixed, the default) gets what it must settle.
        snd_settle_mode: Some(match asked.snd_settle_mode {
            Some(1) => 1,
            _ if asked.receiver => 0,
            other => other.unwrap_or(2).min(2),
        }),
        rcv_settle_mode: Some(asked.rcv_settle_mode.unwrap_or(0).min(1)),
        source: terminus(&asked.source, 0x28),
        target: terminus(&asked.target, 0x29),
        initial_delivery_count: asked.receiver.then_some(0),
        message_bytes_max: Some(context.broker.settings.limits.message_bytes_max),
        desired_capabilities: AmqpValue::Null,
        properties: AmqpValue::Null,
    }
}

/// A null terminus in an answer would mean a refusal.
fn terminus(asked: &AmqpValue, code: u64) -> AmqpValue {
    match asked {
        AmqpValue::Null => AmqpValue::described(code, AmqpValue::List(Vec::new())),
        other => other.clone(),
    }
}

/// Makes a link; `None` when it must wait for a session to be free.
fn make(
    context: &mut PeerContext,
    session: &LinkSession,
    asked: &AttachFrame,
    answer: &mut AttachFrame,
) -> Result<Option<SessionLink>, AmqpError> {
    let taken = session.links.contains_key(&asked.handle);
    if asked.handle > HANDLE_MAX || taken || session.waiting.contains_key(&asked.handle) {
        return Err(AmqpError::new(
            "amqp:session:handle-in-use",
            "the handle is taken",
        ));
    }
    let terminus = if asked.receiver {
        &asked.source
    } else {
        &asked.target
    };
    let address = terminus
        .items()
        .first()
        .and_then(AmqpValue::as_str)
        .unwrap_or_default();
    let node = address::resolve(&context.broker, address)?;
    let now = context.broker.now();
    let live = context.broker.rules.live();
    if let Some(claim) = node.claim(asked.receiver) {
        context.grants.allow(address, claim, now, &live)?;
    }
    if asked.receiver {
        node.check_receiving()?;
        return outbound(context, asked, answer, node, address);
    }
    node.check_sending(address)?;
    let fault = node
        .entity()
        .and_then(|entity| context.broker.context.faults.next_attach(entity));
    if let Some(condition) = fault {
        return Err(AmqpError::new(condition, "scripted"));
    }
    Ok(Some(SessionLink::Inbound(InboundLink {
        node,
        address: address.to_owned(),
        delivery_count: asked.initial_delivery_count.unwrap_or(0),
        credit: context.broker.settings.limits.link_credit,
        partial: None,
    })))
}

fn outbound(
    context: &mut PeerContext,
    asked: &AttachFrame,
    answer: &mut AttachFrame,
    node: LinkNode,
    address: &str,
) -> Result<Option<SessionLink>, AmqpError> {
    let settled = asked.snd_settle_mode == Some(1);
    let claim = node.claim(true);
    let source = match node {
        LinkNode::Cbs | LinkNode::Management | LinkNode::QueueManagement(_) => {
            LinkSource::Replies(VecDeque::new())
        }
        LinkNode::HubReader {
            hub,
            group,
            partition,
        } => LinkSource::Partition(PartitionReader::open(
            &hub,
            &group,
            partition,
            asked,
            &context.wake,
        )?),
        LinkNode::Queue(queue) => {
            queue.waiters.add(&context.wake);
            let mode = if settled {
                ReceiveMode::ReceiveAndDelete
            } else {
                ReceiveMode::PeekLock
            };
            let now = context.broker.now();
            let session = match accept_session(&queue, asked, now)? {
                SessionChoice::Plain => None,
                SessionChoice::Session(hold, until) => {
                    name_session(answer, &hold.name, until);
                    Some(hold)
                }
                SessionChoice::Waits => return Ok(None),
            };
            LinkSource::Queue {
                queue: Arc::clone(&queue),
                session,
                mode,
            }
        }
        LinkNode::Hub(..) | LinkNode::Topic(_) => {
            let text = "nothing is received from this node";
            return Err(AmqpError::new("amqp:not-allowed", text));
        }
    };
    let reply_to = asked
        .target
        .items()
        .first()
        .and_then(AmqpValue::as_str)
        .map(str::to_owned);
    Ok(Some(SessionLink::Outbound(OutboundLink {
        name: asked.name.clone(),
        address: address.to_owned(),
        reply_to,
        claim,
        source,
        settled,
        credit: 0,
        delivery_count: 0,
        drain: false,
        sending: None,
    })))
}

/// What a receiver of a queue gets.
enum SessionChoice {
    /// The queue has no sessions.
    Plain,
    Session(SessionHold, Timestamp),
    Waits,
}

/// Locks what the receiver's session filter asks for: a session by name, or the next free one.
fn accept_session(
    queue: &MessageQueue,
    asked: &AttachFrame,
    now: Timestamp,
) -> Result<SessionChoice, AmqpError> {
    let wanted = find(reader::filters(&asked.source), SESSION_FILTER);
    let refused = |text: String| Err(AmqpError::new("amqp:not-allowed", text));
    let wanted = match (wanted, queue.settings.requires_session) {
        (None, false) => return Ok(SessionChoice::Plain),
        (Some(_), false) => {
            return refused(format!(
                "{} has no sessions: receive from it without a session, or make it with sessions",
                queue.path
            ));
        }
        (None, true) => {
            return refused(format!(
                "{} has sessions: its receivers must accept one",
                queue.path
            ));
        }
        (Some(wanted), true) => wanted.plain().as_str(),
    };
    Ok(match queue.lock_session(wanted, now)? {
        Some((hold, until)) => SessionChoice::Session(hold, until),
        None => SessionChoice::Waits,
    })
}

/// The answer names the session that was chosen and how long it is locked.
fn name_session(answer: &mut AttachFrame, name: &str, until: Timestamp) {
    let ticks = until
        .unix_millis()
        .saturating_mul(10_000)
        .saturating_add(DOTNET_EPOCH_TICKS);
    let locked = ("com.microsoft:locked-until-utc", AmqpValue::Long(ticks));
    answer.properties = AmqpValue::Map(symbols([locked]));
    let mut fields = answer.source.clone().into_items();
    if let Some(AmqpValue::Map(filters)) = fields.get_mut(7) {
        for (key, value) in filters {
            if *key == SESSION_FILTER {
                *value = AmqpValue::string(name);
            }
        }
    }
    answer.source = AmqpValue::described(0x28, AmqpValue::List(fields));
}

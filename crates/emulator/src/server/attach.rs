//! Attaching, refusing and detaching links.

use super::address::{self, Node};
use super::peer::Context;
use super::reader::{self, PartitionReader};
use super::session::{HANDLE_MAX, Inbound, Link, Outbound, Session, Source};
use crate::amqp::performative::{Attach, Detach, Performative};
use crate::amqp::state::Problem;
use crate::amqp::value::{Value, find};
use crate::broker::queue::Mode;
use std::collections::VecDeque;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;

const SESSION_FILTER: &str = "com.microsoft:session-filter";
/// .NET ticks (100 ns since the year 1) at the Unix epoch.
const DOTNET_EPOCH_TICKS: i64 = 621_355_968_000_000_000;

/// Answers an attach: with a link, or with a null terminus and a detach.
pub(super) fn attach(context: &mut Context, session: &mut Session, channel: u16, asked: Attach) {
    let mut answer = answer_to(context, &asked);
    let handle = asked.handle;
    let made = make(context, session, &asked, &mut answer);
    let problem = match made {
        Ok(link) => {
            let inbound = matches!(link, Link::Inbound(_));
            session.closing.remove(&handle);
            session.links.insert(handle, link);
            context.send(channel, &Performative::Attach(Box::new(answer)));
            if inbound && let Some(flow) = session.link_flow(handle) {
                context.send(channel, &Performative::Flow(flow));
            }
            return;
        }
        Err(problem) => problem,
    };
    // A null terminus is how a link is refused (AMQP 1.0 part 2 §2.6.3); azure-servicebus tells
    // the reason only when it sees one.
    *(if asked.receiver {
        &mut answer.source
    } else {
        &mut answer.target
    }) = Value::Null;
    context.send(channel, &Performative::Attach(Box::new(answer)));
    detach(context, session, channel, handle, problem);
}

/// Detaches a link of ours with an error.
pub(super) fn detach(
    context: &mut Context,
    session: &mut Session,
    channel: u16,
    handle: u32,
    problem: Problem,
) {
    if let Some(link) = session.links.remove(&handle) {
        link.close();
    }
    session.closing.insert(handle);
    let detach = Detach {
        handle,
        closed: true,
        error: Some(problem),
    };
    context.send(channel, &Performative::Detach(detach));
}

/// Detaches links that lost their right, and gives back messages whose lock has ended.
pub(super) fn review(context: &mut Context, session: &mut Session, channel: u16) {
    let now = context.store.now();
    let live = context.store.rule.live();
    let mut lost = Vec::new();
    for (handle, link) in &session.links {
        let open = address::path(link.address()).eq_ignore_ascii_case("$cbs");
        if !open && !context.grants.allow(link.address(), now, live) {
            lost.push((
                *handle,
                Problem::new("amqp:unauthorized-access", "the token has ended"),
            ));
            continue;
        }
        let Link::Outbound(link) = link else { continue };
        match &link.source {
            Source::Partition(reader) if reader.is_stolen() => {
                let text = "a reader with a higher or equal epoch has connected";
                lost.push((*handle, Problem::new("amqp:link:stolen", text)));
            }
            Source::Queue { queue, session, .. } => {
                queue.sweep(now);
                if session
                    .as_ref()
                    .is_some_and(|name| !queue.holds_session(name))
                {
                    let text = "the lock of the session has ended";
                    let condition = "com.microsoft:session-lock-lost";
                    lost.push((*handle, Problem::new(condition, text)));
                }
            }
            _ => {}
        }
    }
    for (handle, problem) in lost {
        detach(context, session, channel, handle, problem);
    }
}

fn answer_to(context: &Context, asked: &Attach) -> Attach {
    Attach {
        name: asked.name.clone(),
        handle: asked.handle,
        receiver: !asked.receiver,
        snd_settle_mode: Some(asked.snd_settle_mode.unwrap_or(0).min(1)),
        rcv_settle_mode: Some(asked.rcv_settle_mode.unwrap_or(0).min(1)),
        source: terminus(&asked.source, 0x28),
        target: terminus(&asked.target, 0x29),
        initial_delivery_count: asked.receiver.then_some(0),
        message_bytes_max: Some(context.store.settings.limits.message_bytes_max),
        desired_capabilities: Value::Null,
        properties: Value::Null,
    }
}

/// A null terminus in an answer would mean a refusal.
fn terminus(asked: &Value, code: u64) -> Value {
    match asked {
        Value::Null => Value::described(code, Value::List(Vec::new())),
        other => other.clone(),
    }
}

fn make(
    context: &mut Context,
    session: &Session,
    asked: &Attach,
    answer: &mut Attach,
) -> Result<Link, Problem> {
    if asked.handle > HANDLE_MAX || session.links.contains_key(&asked.handle) {
        return Err(Problem::new(
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
        .and_then(Value::as_str)
        .unwrap_or_default();
    let not_found = || {
        let text = format!(
            "the messaging entity '{}' could not be found",
            address::path(address)
        );
        Problem::new("amqp:not-found", text)
    };
    let node = address::resolve(&context.store, address).ok_or_else(not_found)?;
    let now = context.store.now();
    let live = context.store.rule.live();
    if !matches!(node, Node::Cbs) && !context.grants.allow(address, now, live) {
        let text = format!(
            "no token on this connection covers {}",
            address::path(address)
        );
        return Err(Problem::new("amqp:unauthorized-access", text));
    }
    if asked.receiver {
        if !node.gives_messages() {
            return Err(not_found());
        }
        return outbound(context, asked, answer, node, address).map(Link::Outbound);
    }
    if !node.takes_messages() {
        return Err(not_found());
    }
    let fault = node
        .entity()
        .and_then(|entity| context.store.faults().next_attach(entity));
    if let Some(condition) = fault {
        return Err(Problem::new(condition, "scripted"));
    }
    Ok(Link::Inbound(Inbound {
        node,
        address: address.to_owned(),
        delivery_count: asked.initial_delivery_count.unwrap_or(0),
        credit: context.store.settings.limits.link_credit,
        partial: None,
    }))
}

fn outbound(
    context: &mut Context,
    asked: &Attach,
    answer: &mut Attach,
    node: Node,
    address: &str,
) -> Result<Outbound, Problem> {
    let settled = asked.snd_settle_mode == Some(1);
    let source = match node {
        Node::Cbs | Node::Management | Node::QueueManagement(_) => Source::Replies(VecDeque::new()),
        Node::HubReader {
            hub,
            group,
            partition,
        } => Source::Partition(PartitionReader::open(
            &hub,
            &group,
            partition,
            asked,
            &context.wake,
        )?),
        Node::Queue(queue) => {
            queue.waiters.add(&context.wake);
            let mode = if settled {
                Mode::ReceiveAndDelete
            } else {
                Mode::PeekLock
            };
            let wanted = find(reader::filters(&asked.source), SESSION_FILTER);
            let session = match wanted {
                Some(wanted) => {
                    let wanted = wanted.plain().as_str();
                    let (name, until) = queue.lock_session(wanted, context.store.now())?;
                    tell_session(answer, &name, until);
                    Some(name)
                }
                None if queue.settings.requires_session => {
                    let text = "the entity needs a session filter";
                    return Err(Problem::new("amqp:not-allowed", text));
                }
                None => None,
            };
            Source::Queue {
                queue: Arc::clone(&queue),
                session,
                mode,
            }
        }
        Node::Hub(..) | Node::Topic(_) => {
            return Err(Problem::new(
                "amqp:not-found",
                "nothing is received from this node",
            ));
        }
    };
    let reply_to = asked
        .target
        .items()
        .first()
        .and_then(Value::as_str)
        .map(str::to_owned);
    Ok(Outbound {
        name: asked.name.clone(),
        address: address.to_owned(),
        reply_to,
        source,
        settled,
        credit: 0,
        delivery_count: 0,
        drain: false,
        sending: None,
    })
}

/// The answer names the session that was chosen and how long it is locked.
fn tell_session(answer: &mut Attach, name: &str, until: Timestamp) {
    let ticks = until
        .unix_millis()
        .saturating_mul(10_000)
        .saturating_add(DOTNET_EPOCH_TICKS);
    let locked = (
        Value::symbol("com.microsoft:locked-until-utc"),
        Value::Long(ticks),
    );
    answer.properties = Value::Map(vec![locked]);
    let mut fields = answer.source.clone().into_items();
    if let Some(Value::Map(filters)) = fields.get_mut(7) {
        for (key, value) in filters {
            if *key == SESSION_FILTER {
                *value = Value::string(name);
            }
        }
    }
    answer.source = Value::described(0x28, Value::List(fields));
}

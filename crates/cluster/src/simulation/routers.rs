//! Simulated routers: each runs the cluster's own code in tasks that can be paused and ended together.

use super::lanes::SimulatedLanes;
use super::link::LogLink;
use super::log::SimulatedLog;
use super::world::{SimulatedClock, SimulatedWorld};
use crate::log_health::LogHealth;
use crate::membership_view::MembershipView;
use crate::planted::PlantedFaults;
use crate::producer::ClusterProducer;
use crate::router_loop::ClusterMember;
use crate::settings::{ClusterContext, ClusterTimes, TaskSpawner};
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};
use twinroute_journal::partition::{GroupOrigin, LaneRegister};
use twinroute_journal::{ClusterLogFacts, LaneId, RouterName};

/// A life of a router. Dropping it is a crash.
pub(super) struct SimulatedRouter {
    pub(super) name: String,
    pub(super) producer: ClusterProducer,
    pub(super) lanes: [LaneId; 2],
    pub(super) link: LogLink,
    pub(super) clock: SimulatedClock,
    pause: PauseGate,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

/// What routers are made with.
#[derive(Clone)]
pub(super) struct RouterMaker {
    pub(super) world: SimulatedWorld,
    pub(super) log: SimulatedLog,
    pub(super) partitions: u8,
    pub(super) planted: PlantedFaults,
    pub(super) seed: u64,
}

impl RouterMaker {
    /// Starts a life of a router.
    pub(super) fn start(&self, name: &str, incarnation: u64) -> SimulatedRouter {
        self.world
            .trace(format_args!("{name} starts as {incarnation}"));
        let tasks: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let pause = PauseGate::new();
        let (spawned, gate) = (Arc::clone(&tasks), pause.clone());
        let spawner = TaskSpawner::new(move |task| {
            let task = PausedTask {
                task,
                gate: gate.clone(),
                pause: None,
            };
            let task = tokio::spawn(task);
            spawned
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(task);
        });
        let link = LogLink::new(&self.log);
        let clock = SimulatedClock::new(&self.world);
        let context = self.context(name, incarnation, &link, &clock, spawner.clone());
        let lanes = SimulatedLanes::bind(&context.register);
        let producer = ClusterProducer::start(&context);
        let (news, heard) = mpsc::unbounded_channel();
        let simulated = SimulatedLanes {
            world: self.world.clone(),
            log: self.log.clone(),
            clock: clock.clone(),
            router: name.to_owned(),
            lanes,
            planted: self.planted,
            rng: fastrand::Rng::with_seed(self.seed ^ incarnation),
        };
        spawner.spawn(simulated.run(heard));
        let (stop, stopped) = watch::channel(false);
        let (ended_sender, ended) = watch::channel(false);
        let member = ClusterMember::new(
            context,
            producer.clone(),
            news,
            watch::channel(MembershipView::default()).0,
        );
        let (world, own_name) = (self.world.clone(), name.to_owned());
        spawner.spawn(async move {
            let end = member.run(stopped).await;
            world.trace(format_args!("{own_name}: {end}"));
            ended_sender.send_replace(true);
        });
        SimulatedRouter {
            name: name.to_owned(),
            producer,
            lanes,
            link,
            clock,
            pause,
            tasks,
            stop,
            ended,
        }
    }

    fn context(
        &self,
        name: &str,
        incarnation: u64,
        link: &LogLink,
        clock: &SimulatedClock,
        spawner: TaskSpawner,
    ) -> ClusterContext {
        ClusterContext {
            log: Arc::new(link.clone()),
            facts: ClusterLogFacts {
                partitions: self.partitions,
                record_bytes_max: 1 << 20,
                entry_bytes_max: 1 << 20,
                durable: Ok(()),
            },
            origin: GroupOrigin {
                router: RouterName::new(name).expect("a right name"),
                incarnation,
            },
            register: LaneRegister::default(),
            health: LogHealth::default(),
            clock: Arc::new(clock.clone()),
            spawner,
            times: ClusterTimes {
                checkpoint_every: Duration::from_secs(7),
                settle_delay: Duration::from_millis(40),
                planted: self.planted,
                ..ClusterTimes::default()
            },
        }
    }
}

impl SimulatedRouter {
    /// Nothing of it runs for so long.
    pub(super) fn pause(&self, lasts: Duration) {
        self.pause.set(Instant::now() + lasts);
    }

    pub(super) fn is_paused(&self) -> bool {
        Instant::now() < self.pause.until()
    }

    /// Hands over all it owns and leaves.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it has left.
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }
}

impl Drop for SimulatedRouter {
    fn drop(&mut self) {
        for task in self
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            task.abort();
        }
    }
}

/// A router's tasks are polled at most so often without time going on.
const POLLS_MAX: u32 = 200_000;

#[derive(Clone)]
struct PauseGate(Arc<Mutex<GateState>>);

struct GateState {
    paused_until: Instant,
    /// How often tasks were polled in this moment.
    polls: (Instant, u32),
}

impl PauseGate {
    fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(GateState {
            paused_until: now,
            polls: (now, 0),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, until: Instant) {
        self.lock().paused_until = until;
    }

    fn until(&self) -> Instant {
        self.lock().paused_until
    }

    /// Counts a poll; true when there were far too many.
    fn is_stuck(&self, now: Instant) -> bool {
        let mut state = self.lock();
        match &mut state.polls {
            (at, polls) if *at == now => *polls += 1,
            polls => *polls = (now, 1),
        }
        state.polls.1 > POLLS_MAX
    }
}

/// A task of a router that may be paused: whatever it waits for, it hears of it afterwards.
struct PausedTask {
    task: BoxFuture<'static, ()>,
    gate: PauseGate,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for PausedTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let until = self.gate.until();
            let now = Instant::now();
            if now >= until {
                self.pause = None;
                if self.gate.is_stuck(now) {
                    // It would go on for ever, and time with it would not.
                    return Poll::Pending;
                }
                return self.task.as_mut().poll(context);
            }
            let pause = self
                .pause
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
    }
}

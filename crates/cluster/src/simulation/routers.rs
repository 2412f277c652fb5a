//! Simulated routers: each runs the cluster's own code in tasks that can be paused and ended together.

use super::lanes::SimulatedLanes;
use super::link::LogLink;
use super::log::SimulatedLog;
use super::world::SimulatedWorld;
use crate::log_health::LogHealth;
use crate::membership_view::MembershipView;
use crate::planted::PlantedFaults;
use crate::producer::ClusterProducer;
use crate::router_loop::ClusterMember;
use crate::settings::{ClusterContext, ClusterTimes, TaskSpawner};
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};
use twinroute_journal::partition::{GroupOrigin, LaneRegister};
use twinroute_journal::{ClusterLogFacts, LaneId, RouterName};

/// A life of a router. Dropping it is a crash.
pub(super) struct SimulatedRouter {
    pub(super) producer: ClusterProducer,
    pub(super) lanes: [LaneId; 2],
    pub(super) link: LogLink,
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
        let context = self.context(name, incarnation, &link, spawner.clone());
        let lanes = SimulatedLanes::bind(&context.register);
        let producer = ClusterProducer::start(&context);
        let (news, heard) = mpsc::unbounded_channel();
        let simulated = SimulatedLanes {
            world: self.world.clone(),
            log: self.log.clone(),
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
        let (world, name) = (self.world.clone(), name.to_owned());
        spawner.spawn(async move {
            let end = member.run(stopped).await;
            world.trace(format_args!("{name}: {end}"));
            ended_sender.send_replace(true);
        });
        SimulatedRouter {
            producer,
            lanes,
            link,
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
            clock: Arc::new(self.world.clone()),
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

#[derive(Clone)]
struct PauseGate(Arc<Mutex<Instant>>);

impl PauseGate {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn set(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn until(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            if Instant::now() >= until {
                self.pause = None;
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

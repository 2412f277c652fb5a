//! `twinroute demo`: emulator, router, ingress and a building of twins, on free loopback ports.

mod events;
mod live;
mod trouble;

use super::table;
use crate::cli::output;
use crate::logging::{self, LogFormat};
use crate::stop_signals::StopSignals;
use crate::{daemon, scene};
use anyhow::{Context as _, bail};
use clap::Args;
use events::BuildingEvents;
use live::LiveScreen;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use trouble::DemoFault;
use twinroute_admin::{AdminServer, MetricsRecorder};
use twinroute_emulator::RunningEmulator;
use twinroute_ingress::IngressServer;
use twinroute_listen::{HttpLimits, ListenAddress, ListeningSocket};
use twinroute_model::clock::{Clock as _, SystemClock};
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::Router;
use twinroute_router::status::RouterStatus;

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Sends this many events, waits until all are settled, prints the sums and ends.
    #[arg(long)]
    events: Option<u64>,
    /// Events a second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Port of the ingress on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the admin API on 127.0.0.1, for `status`, `top`, `tap` and other commands; 8081, or one that is free.
    #[arg(long)]
    admin_port: Option<u16>,
    /// With --events: an endpoint that misbehaves for the middle third of them, as NAME=unavailable (switched
    /// off and on again) or NAME=rejects (its events become dead letters, which are listed and
    /// replayed). May be given several times.
    #[arg(long, value_name = "NAME=KIND", requires = "events")]
    fault: Vec<DemoFault>,
}

/// How long the demo waits for what it sent to be settled.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// Where commands ask unless an option says otherwise.
const ADMIN: &str = "127.0.0.1:8081";

/// What to do when it is over.
const NEXT: &str = "\nNext:\n  \
    twinroute demo                                  again; beside it `twinroute top`, `tap`, `status --watch`\n  \
    twinroute demo --events 600 --fault telemetry-hub=unavailable   an endpoint that is down for a while\n  \
    twinroute config init sidecar twinroute.toml    a configuration of your own\n  \
    twinroute emulator                              endpoints to try it with, then: twinroute run -c twinroute.toml";

/// How often the live table is drawn.
const REFRESH: Duration = Duration::from_millis(500);

/// Everything the demo runs.
struct DemoStage {
    emulator: RunningEmulator,
    router: Router,
    url: String,
    /// Where the admin API answers.
    admin: String,
    stop: watch::Sender<bool>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

pub(super) async fn run(options: DemoOptions) -> anyhow::Result<ExitCode> {
    if options.rate == 0 {
        bail!("--rate must be at least 1");
    }
    drop(logging::install(LogFormat::Pretty, "warn")?);
    let stage = DemoStage::set(options.port, options.admin_port).await?;
    output::line(stage.introduction())?;
    match options.events {
        Some(events) => stage.count(events, options.rate, &options.fault).await,
        None => stage.play(options.rate).await,
    }
}

impl DemoStage {
    async fn set(port: u16, admin_port: Option<u16>) -> anyhow::Result<Self> {
        let metrics = MetricsRecorder::install()?;
        let settings = scene::emulator_settings();
        let emulator = RunningEmulator::start(settings, Arc::new(SystemClock)).await?;
        let router = daemon::router(&OutgoingConnections::of_environment()?)?
            .default_instance(scene::instance())
            .definitions(scene::definitions(&emulator))
            .build()?;
        let address: ListenAddress = format!("127.0.0.1:{port}").parse()?;
        let mut settings = twinroute_ingress::Settings::default();
        settings.listen = vec![address];
        let listeners = ListeningSocket::bind_all(&settings.listen, &settings.sockets())?;
        let url = format!("http://{}/events", listeners[0].address());
        let (stop, mut stopped) = watch::channel(false);
        let mut admin_stopped = stop.subscribe();
        let ingress = IngressServer::new(&settings, router.clone(), Arc::new(SystemClock));
        let ingress = tokio::spawn(async move {
            let stopped = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
            ingress.serve(listeners, stopped).await;
        });
        let admin_listeners = admin_listeners(admin_port)?;
        let admin = admin_listeners[0].address().to_string();
        let server = AdminServer::new(router.clone(), metrics);
        let serving = tokio::spawn(async move {
            let stopped = async move { drop(admin_stopped.wait_for(|stopped| *stopped).await) };
            server
                .serve(admin_listeners, &HttpLimits::default(), stopped)
                .await;
        });
        Ok(Self {
            emulator,
            router,
            url,
            admin,
            stop,
            servers: vec![ingress, serving],
        })
    }

    fn introduction(&self) -> String {
        format!(
            "twinroute demo: six routes over three endpoints, all on this machine\n\n{}\n\
             Post an event of your own:\n    curl -i {} -H 'content-type: \
             application/cloudevents+json' -d '{{\"specversion\":\"1.0\",\"id\":\"1\",\
             \"source\":\"demo/digitaltwins/room7\",\"type\":\"microsoft.iot.telemetry\",\
             \"data\":{{\"temperature\":30}}}}'\n\
             Ask it, in another terminal:\n    twinroute top{}\n",
            scene::addresses(&self.emulator, &scene::emulator_settings()),
            self.url,
            self.option()
        )
    }

    /// What other commands need to find it.
    fn option(&self) -> String {
        match self.admin == ADMIN {
            true => String::new(),
            false => format!(" --admin {}", self.admin),
        }
    }

    /// Plays until it is told to stop.
    async fn play(self, rate: u32) -> anyhow::Result<ExitCode> {
        let live = std::io::stdout().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let mut producer = DemoProducer::new(&self.url)?;
        let mut beat = interval(Duration::from_secs(1) / rate);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut draw = interval(if live { REFRESH } else { REFRESH * 10 });
        let mut screen = LiveScreen::new(self.introduction());
        let mut stop = StopSignals::new()?;
        loop {
            tokio::select! {
                () = stop.wait() => break,
                _ = beat.tick() => producer.post().await?,
                _ = draw.tick() => screen.draw(self.router.status(), live)?,
            }
        }
        output::line("")?;
        self.end(producer.posted).await
    }

    /// Sends so many events and ends when all are settled.
    async fn count(
        self,
        events: u64,
        rate: u32,
        troubles: &[DemoFault],
    ) -> anyhow::Result<ExitCode> {
        let mut producer = DemoProducer::new(&self.url)?;
        // A fixed number is not watched live, so it goes ten times as fast.
        let mut beat = interval(Duration::from_secs(1) / rate.saturating_mul(10));
        let started = Instant::now();
        for sent in 0..events {
            if !troubles.is_empty() && sent == events / 3 {
                for trouble in troubles {
                    output::line(format_args!(
                        "after {sent} events: {}",
                        trouble.begin(&self.emulator)
                    ))?;
                }
            }
            if !troubles.is_empty() && sent == events - events / 3 {
                output::line(format_args!(
                    "after {sent} events: everything is as it should be again"
                ))?;
                self.emulator.faults().clear();
            }
            beat.tick().await;
            producer.post().await?;
        }
        output::line(format_args!(
            "posted {events} events in {:.1} s; waiting until all are settled",
            started.elapsed().as_secs_f64()
        ))?;
        if !troubles.is_empty() {
            self.emulator.faults().clear();
            drop(timeout(SETTLE_MAX, self.router.settled()).await);
            output::line(format_args!(
                "\n{}",
                table::render(&self.router.status()).trim_end()
            ))?;
            if !trouble::bring_back(&self.emulator, &self.router).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        self.end(producer.posted).await
    }

    async fn end(self, posted: u64) -> anyhow::Result<ExitCode> {
        let in_time = timeout(SETTLE_MAX, self.router.settled()).await.is_ok();
        let status = self.router.stop(Duration::ZERO).await;
        self.stop.send_replace(true);
        for server in self.servers {
            server.await.context("a server of the demo")?;
        }
        output::line(format_args!("\n{}", table::render(&status)))?;
        let arrived = [
            (
                "telemetry-hub",
                self.emulator.broker().counts(scene::HUB).stored,
            ),
            (
                "alerts-topic",
                self.emulator.broker().counts(scene::TOPIC).stored,
            ),
            (
                "lifecycle-grid",
                self.emulator.event_grid().counts(scene::GRID).stored,
            ),
        ];
        let sums = DemoSums::of(&status, posted, &arrived);
        output::print(sums.text)?;
        output::line(NEXT)?;
        self.emulator.shutdown().await;
        if !in_time {
            output::line(format_args!(
                "not everything was settled within {} s",
                SETTLE_MAX.as_secs()
            ))?;
        }
        Ok(if sums.unaccounted == 0 && in_time {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The port that was asked for; without one that of other commands, or any.
fn admin_listeners(port: Option<u16>) -> anyhow::Result<Vec<ListeningSocket>> {
    let bind = |address: &str| {
        let address: ListenAddress = address.parse()?;
        let sockets = twinroute_ingress::Settings::default().sockets();
        anyhow::Ok(ListeningSocket::bind_all(&[address], &sockets)?)
    };
    match port {
        Some(port) => bind(&format!("127.0.0.1:{port}")),
        None => bind(ADMIN).or_else(|_| bind("127.0.0.1:0")),
    }
}

/// What was posted, against what the router says, against what the emulator holds.
struct DemoSums {
    text: String,
    unaccounted: u64,
}

impl DemoSums {
    fn of(status: &RouterStatus, posted: u64, arrived: &[(&str, u64)]) -> Self {
        let mut text = String::new();
        let mut unaccounted = posted.abs_diff(status.journal.accepted);
        for endpoint in status
            .instances
            .iter()
            .flat_map(|instance| &instance.endpoints)
        {
            let held = arrived.iter().find(|(name, _)| *name == endpoint.name);
            let held = held.map_or(0, |(_, held)| *held);
            text.push_str(&format!(
                "{:<16} matched {:>5} + replayed {:>4} = delivered {:>5} + dead-lettered {:>4} + \
                 discarded {:>3}; arrived {:>5}\n",
                endpoint.name,
                endpoint.matched,
                endpoint.replayed,
                endpoint.delivered,
                endpoint.dead_letters.all(),
                endpoint.discarded,
                held
            ));
            unaccounted += endpoint.unaccounted().unsigned_abs();
            // More may arrive than was acknowledged, never less.
            unaccounted += endpoint.delivered.saturating_sub(held);
            unaccounted += endpoint.queued + endpoint.in_flight + endpoint.retrying;
        }
        text.push_str(&format!(
            "posted {posted}, accepted {}, matched no route {}, unaccounted {unaccounted}\n",
            status.journal.accepted, status.journal.unmatched
        ));
        Self { text, unaccounted }
    }
}

/// Posts events over HTTP, one event a request, as a twin-producing program would.
struct DemoProducer {
    client: reqwest::Client,
    url: String,
    events: BuildingEvents,
    posted: u64,
}

impl DemoProducer {
    fn new(url: &str) -> anyhow::Result<Self> {
        let client = OutgoingConnections::of_environment()?
            .http()
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Self {
            client,
            url: url.to_owned(),
            events: BuildingEvents::new(7),
            posted: 0,
        })
    }

    async fn post(&mut self) -> anyhow::Result<()> {
        let event = self.events.next(SystemClock.now());
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/cloudevents+json")
            .body(event);
        let answer = request
            .send()
            .await
            .context("the ingress does not answer")?;
        if !answer.status().is_success() {
            bail!("the ingress refused an event: {}", answer.text().await?);
        }
        self.posted += 1;
        Ok(())
    }
}

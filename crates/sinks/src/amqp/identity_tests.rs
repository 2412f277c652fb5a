//! Sinks that log in with an identity: its tokens on a connection, and what their want costs.

use super::AmqpSink;
use super::entity::{AmqpEntity, IdentityEntity};
use super::testing::broker::TestBroker;
use super::testing::{TestWire, deliveries, manner, short, target_of};
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::time::OffsetDateTime;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_credential::token::TokenSource;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::settings::AmqpAuth;
use twinroute_router::sink::Sink;

const SCOPE: &str = "https://eventhubs.azure.net/.default";
const START: Timestamp = Timestamp::from_unix_millis(1_774_000_000_000);

/// Tells the time that tokio has, so that both stand still and go on together.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        START.after(self.0.elapsed())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenMood {
    /// Gives tokens that live so many seconds.
    Gives(u64),
    Refuses,
    Silent,
    Away,
}

/// What gives tokens; they are numbered.
struct NumberedTokens {
    mood: Mutex<TokenMood>,
    given: Mutex<HashMap<String, Timestamp>>,
    clock: Arc<PausedClock>,
}

impl std::fmt::Debug for NumberedTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Desk")
    }
}

impl NumberedTokens {
    fn new(mood: TokenMood) -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(mood),
            given: Mutex::default(),
            clock: Arc::new(PausedClock(Instant::now())),
        })
    }

    fn set(&self, mood: TokenMood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn sink(self: &Arc<Self>, broker: &Arc<TestBroker>) -> AmqpSink {
        let issuer = Arc::clone(self);
        let make = move || Ok(Arc::clone(&issuer) as Arc<dyn TokenCredential>);
        let clock: Arc<dyn Clock> = self.clock.clone();
        let tokens = TokenSource::from_credentials(make, Arc::clone(&clock));
        let place = IdentityEntity::new(("ns.example".to_owned(), None), "hub", tokens, SCOPE);
        let wire = TestWire::to(broker);
        let target = target_of(&wire, AmqpEntity::Identity(place), AmqpAuth::Cbs, clock);
        AmqpSink::new(vec![target], manner())
    }

    /// Lets the broker take tokens that have not ended alone.
    fn guards(self: &Arc<Self>, broker: &TestBroker) {
        let issuer = Arc::clone(self);
        broker.gate(move |token| {
            let ends = issuer.given.lock().unwrap()[token];
            Some(if issuer.clock.now() < ends { 202 } else { 401 })
        });
    }
}

#[async_trait]
impl TokenCredential for NumberedTokens {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, [SCOPE]);
        let mood = *self.mood.lock().unwrap();
        let seconds = match mood {
            TokenMood::Gives(seconds) => seconds,
            TokenMood::Refuses => {
                let text = "the identity is not assigned";
                return Err(Error::with_message(ErrorKind::Credential, text));
            }
            TokenMood::Away => return Err(Error::with_message(ErrorKind::Io, "no route to host")),
            TokenMood::Silent => return std::future::pending().await,
        };
        let ends = self.clock.now().after(Duration::from_secs(seconds));
        let mut given = self.given.lock().unwrap();
        let token = format!("h.{}.s", given.len());
        given.insert(token.clone(), ends);
        let expires_on = OffsetDateTime::from_unix_timestamp(ends.unix_seconds()).unwrap();
        Ok(AccessToken::new(token, expires_on))
    }
}

/// Sends every so many seconds with tokens that live so many, and counts those that were put.
async fn renewed(life: u64, every: u64) -> usize {
    let broker = Arc::new(TestBroker::default());
    let issuer = NumberedTokens::new(TokenMood::Gives(life));
    issuer.guards(&broker);
    let sink = issuer.sink(&broker);
    let mut put = Vec::new();
    for id in 0..720 {
        let sent = short(&sink.send(&deliveries(id..id + 1)).await);
        assert_eq!(sent, ["delivered"], "{id}");
        let tokens = broker.tokens.lock().unwrap().clone();
        if tokens.len() > put.len() {
            // The one that stood until now has not ended.
            if let Some((_, before)) = put.last() {
                assert!(issuer.clock.now() < issuer.given.lock().unwrap()[before]);
            }
            put = tokens;
        }
        tokio::time::sleep(Duration::from_secs(every)).await;
    }
    assert_eq!((broker.connections(), broker.ids().len()), (1, 720));
    assert!(
        put.iter()
            .all(|(audience, _)| audience == "sb://ns.example/hub")
    );
    let types = broker.token_types.lock().unwrap();
    assert!(types.iter().all(|kind| kind == "jwt"), "{types:?}");
    put.len()
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_on_the_live_connection_and_no_send_fails() {
    // One hour, with a new token at three quarters of ten minutes.
    let put = renewed(600, 5).await;
    assert!((7..=9).contains(&put), "{put}");
    // Twelve minutes, with a new token every 15 s or so.
    let put = renewed(20, 1).await;
    assert!((40..=50).contains(&put), "{put}");
}

#[tokio::test(start_paused = true)]
async fn without_a_token_there_is_no_connection_and_the_fault_is_the_endpoints() {
    for (mood, expect) in [
        (TokenMood::Refuses, "unauthorized no-token"),
        (TokenMood::Away, "unreachable no-token"),
        (TokenMood::Silent, "unreachable no-token"),
    ] {
        let broker = Arc::new(TestBroker::default());
        let issuer = NumberedTokens::new(mood);
        let sink = issuer.sink(&broker);
        let before = Instant::now();
        let sent = short(&sink.send(&deliveries(0..3)).await);
        assert_eq!(sent, [expect; 3], "{mood:?}");
        assert!(before.elapsed() <= Duration::from_secs(10), "{mood:?}");
        assert_eq!(broker.connections(), 0);
        issuer.set(TokenMood::Gives(3_600));
        // Longer than a source pauses after a failure, and than it waits for an answer.
        tokio::time::sleep(Duration::from_secs(130)).await;
        let sent = short(&sink.send(&deliveries(0..3)).await);
        assert_eq!(sent, ["delivered"; 3], "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_broker_refuses_is_asked_for_again() {
    let broker = Arc::new(TestBroker::default());
    let issuer = NumberedTokens::new(TokenMood::Gives(3_600));
    broker.gate(|token| Some(if token == "h.0.s" { 401 } else { 202 }));
    let sink = issuer.sink(&broker);
    let sent = short(&sink.send(&deliveries(0..1)).await);
    assert_eq!(sent, ["unauthorized cbs-401"]);
    let sent = short(&sink.send(&deliveries(0..1)).await);
    assert_eq!(sent, ["delivered"]);
    assert_eq!(broker.tokens.lock().unwrap()[1].1, "h.1.s");
}

#[tokio::test(start_paused = true)]
async fn the_last_token_serves_until_shortly_before_its_end() {
    let broker = Arc::new(TestBroker::default());
    let issuer = NumberedTokens::new(TokenMood::Gives(1_200));
    issuer.guards(&broker);
    let sink = issuer.sink(&broker);
    sink.send(&deliveries(0..1)).await;
    issuer.set(TokenMood::Away);
    tokio::time::sleep(Duration::from_secs(1_100)).await;
    let sent = short(&sink.send(&deliveries(1..2)).await);
    assert_eq!(sent, ["delivered"], "with the old token");
    assert_eq!(
        (broker.connections(), broker.tokens.lock().unwrap().len()),
        (1, 1)
    );
    tokio::time::sleep(Duration::from_secs(101)).await;
    let sent = short(&sink.send(&deliveries(2..3)).await);
    assert_eq!(sent, ["unreachable no-token"]);
    issuer.set(TokenMood::Gives(1_200));
    tokio::time::sleep(Duration::from_secs(61)).await;
    let sent = short(&sink.send(&deliveries(2..3)).await);
    assert_eq!(sent, ["delivered"]);
    assert_eq!(broker.ids(), ["0", "1", "2"]);
}

/// The identity comes back while the connection still stands: it goes on with the new token.
#[tokio::test(start_paused = true)]
async fn an_identity_that_comes_back_in_time_costs_no_connection() {
    let broker = Arc::new(TestBroker::default());
    let issuer = NumberedTokens::new(TokenMood::Gives(1_200));
    issuer.guards(&broker);
    let sink = issuer.sink(&broker);
    sink.send(&deliveries(0..1)).await;
    issuer.set(TokenMood::Refuses);
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    issuer.set(TokenMood::Gives(1_200));
    tokio::time::sleep(Duration::from_secs(300)).await;
    let sent = short(&sink.send(&deliveries(1..2)).await);
    assert_eq!(sent, ["delivered"]);
    assert_eq!(
        (broker.connections(), broker.tokens.lock().unwrap().len()),
        (1, 2)
    );
}

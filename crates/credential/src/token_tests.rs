use super::*;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Request, StatusCode};
use azure_core::time::OffsetDateTime;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use twinroute_model::clock::ManualClock;

const SCOPE: &str = "https://management.azure.com/.default";
const START: i64 = 1_774_000_000_000;

/// Says what the next answers are; each is given out with a permit.
#[derive(Debug)]
struct ScriptedEntra {
    answers: Mutex<VecDeque<Result<(&'static str, u64), &'static str>>>,
    permits: Semaphore,
    asked: AtomicUsize,
}

#[async_trait]
impl TokenCredential for ScriptedEntra {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, [SCOPE]);
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        match self.answers.lock().unwrap().pop_front().unwrap() {
            Ok((token, seconds)) => Ok(AccessToken {
                token: token.into(),
                expires_on: OffsetDateTime::from_unix_timestamp(
                    START / 1_000 + i64::try_from(seconds).unwrap(),
                )
                .unwrap(),
            }),
            Err(text) => Err(azure_core::Error::with_message(
                azure_core::error::ErrorKind::Credential,
                text,
            )),
        }
    }
}

struct TokenScene {
    entra: Arc<ScriptedEntra>,
    clock: ManualClock,
    tokens: TokenSource,
}

fn scene(answers: &[Result<(&'static str, u64), &'static str>], permits: usize) -> TokenScene {
    let entra = Arc::new(ScriptedEntra {
        answers: Mutex::new(answers.iter().copied().collect()),
        permits: Semaphore::new(permits),
        asked: AtomicUsize::new(0),
    });
    let clock = ManualClock::new(Timestamp::from_unix_millis(START));
    let credential = Arc::clone(&entra);
    let make = move || Ok(Arc::clone(&credential) as Arc<dyn TokenCredential>);
    let tokens = TokenSource::from_credentials(make, Arc::new(clock.clone()));
    TokenScene {
        entra,
        clock,
        tokens,
    }
}

impl TokenScene {
    async fn token(&self) -> Result<String, String> {
        let token = self.tokens.token(SCOPE).await;
        token
            .map(|token| token.secret.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    fn asked(&self) -> usize {
        self.entra.asked.load(Ordering::SeqCst)
    }

    /// Lets the renewal in the background come to its end.
    async fn settle(&self) {
        let renewal = self.tokens.0.entries()[SCOPE].renewal.clone();
        let mut renewal = renewal.unwrap();
        drop(renewal.wait_for(Option::is_some).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn callers_share_one_renewal_and_its_token() {
    let scene = scene(&[Ok(("one", 3_600))], 1);
    let (a, b) = tokio::join!(scene.token(), scene.token());
    assert_eq!(
        (a.unwrap(), b.unwrap()),
        ("one".to_owned(), "one".to_owned())
    );
    assert_eq!(scene.token().await.unwrap(), "one");
    assert_eq!(scene.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_token_serves_while_it_is_renewed_and_when_that_fails() {
    let scene = scene(
        &[
            Ok(("one", 3_600)),
            Err("IMDS is unavailable"),
            Ok(("two", 9_000)),
        ],
        1,
    );
    assert_eq!(scene.token().await.unwrap(), "one");
    scene.clock.advance(Duration::from_secs(2_999));
    assert_eq!(scene.token().await.unwrap(), "one");
    assert_eq!(
        scene.asked(),
        1,
        "ten minutes before its end is early enough"
    );

    scene.clock.advance(Duration::from_secs(2));
    assert_eq!(
        scene.token().await.unwrap(),
        "one",
        "nobody waits for the renewal"
    );
    scene.entra.permits.add_permits(1);
    scene.settle().await;
    assert_eq!(scene.asked(), 2);
    assert_eq!(scene.token().await.unwrap(), "one");
    assert_eq!(scene.asked(), 2, "there is a pause after a failure");

    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(scene.token().await.unwrap(), "one");
    scene.entra.permits.add_permits(1);
    scene.settle().await;
    assert_eq!(scene.token().await.unwrap(), "two");
    assert_eq!(scene.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_not_given_out_and_the_reason_is_kept() {
    let scene = scene(
        &[
            Ok(("one", 600)),
            Err("the secret expired"),
            Ok(("two", 7_200)),
        ],
        9,
    );
    assert_eq!(scene.token().await.unwrap(), "one");
    scene.clock.advance(Duration::from_secs(596));
    let expect = format!("no token for {SCOPE}: the secret expired");
    assert_eq!(scene.token().await.unwrap_err(), expect);
    assert_eq!(scene.token().await.unwrap_err(), expect);
    assert_eq!(scene.asked(), 2, "the second answer came from the pause");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(scene.token().await.unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let scene = scene(&[Ok(("late", 3_600))], 0);
    let began = Instant::now();
    let error = scene.token().await.unwrap_err();
    assert_eq!(began.elapsed(), WAIT_MAX);
    let expect = format!("no token for {SCOPE} within 10 s; it is still being asked for");
    assert_eq!(error, expect);
    scene.entra.permits.add_permits(1);
    assert_eq!(scene.token().await.unwrap(), "late");
    assert_eq!(scene.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_but_not_again_and_again() {
    let scene = scene(
        &[Ok(("one", 3_600)), Ok(("two", 3_600)), Ok(("three", 3_600))],
        9,
    );
    let one = scene.tokens.token(SCOPE).await.unwrap();
    assert!(scene.tokens.forget(SCOPE, &one));
    let two = scene.tokens.token(SCOPE).await.unwrap();
    assert_eq!(two.secret.expose(), "two");
    assert!(
        scene.tokens.forget(SCOPE, &one),
        "there is a newer one already"
    );
    assert!(!scene.tokens.forget(SCOPE, &two));
    assert_eq!(scene.token().await.unwrap(), "two");
    tokio::time::advance(Duration::from_secs(31)).await;
    assert!(scene.tokens.forget(SCOPE, &two));
    assert_eq!(scene.token().await.unwrap(), "three");
}

#[tokio::test]
async fn a_token_file_is_read_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let clock = ManualClock::new(Timestamp::from_unix_millis(START));
    let tokens = TokenSource::of(TokenOrigin::File(path.clone()), Arc::new(clock.clone()));
    let error = tokens.token(SCOPE).await.unwrap_err().to_string();
    assert!(
        error.contains("token file ") && error.contains("No such file"),
        "{error}"
    );

    std::fs::write(&path, "first\n").unwrap();
    let tokens = TokenSource::of(TokenOrigin::File(path.clone()), Arc::new(clock.clone()));
    assert_eq!(tokens.token(SCOPE).await.unwrap().secret.expose(), "first");
    std::fs::write(&path, "second").unwrap();
    clock.advance(Duration::from_secs(121));
    assert_eq!(tokens.token(SCOPE).await.unwrap().secret.expose(), "second");
    assert_eq!(format!("{tokens:?}"), "TokenSource(file)");
}

#[tokio::test]
async fn a_fixed_token_is_what_it_is() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix_millis(START)));
    let tokens = TokenSource::fixed("t0p".into(), clock);
    let token = tokens.token("any").await.unwrap();
    assert_eq!(token.secret.expose(), "t0p");
    assert!(!tokens.forget("any", &token));
    let debug_text = format!(
        "{tokens:?} {token:?} {:?}",
        LoginMethod::Token("t0p".into())
    );
    assert!(!debug_text.contains("t0p"), "{debug_text}");
    let azure = tokens.get_token(&["any"], None).await.unwrap();
    assert_eq!(azure.token.secret(), "t0p");
}

#[tokio::test]
async fn scopes_are_bounded() {
    let scene = scene(&[], 0);
    for index in 0..SCOPES_MAX {
        let key = index.to_string();
        scene.tokens.0.entries().insert(key, ScopeEntry::default());
    }
    let error = scene.tokens.token(SCOPE).await.unwrap_err();
    assert_eq!(error, TokenError::Scopes);
}

/// A token service that never comes to an end.
#[derive(Debug)]
struct EndlessEntra(StatusCode, Arc<AtomicUsize>);

#[async_trait]
impl HttpClient for EndlessEntra {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        let sent = Arc::clone(&self.1);
        let body = futures_util::stream::repeat_with(move || {
            sent.fetch_add(1 << 16, Ordering::SeqCst);
            Ok(vec![b' '; 1 << 16].into())
        });
        Ok(AsyncRawResponse::new(
            self.0,
            Headers::new(),
            Box::pin(body),
        ))
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_not_collected() {
    for status in [StatusCode::Ok, StatusCode::BadRequest] {
        for login in [
            LoginMethod::ManagedIdentity { client_id: None },
            LoginMethod::ClientSecret {
                tenant_id: "t".to_owned(),
                client_id: "c".to_owned(),
                secret: "s3cret".into(),
                authority: None,
            },
        ] {
            let sent = Arc::new(AtomicUsize::new(0));
            let http = Arc::new(EndlessEntra(status, Arc::clone(&sent)));
            let clock = ManualClock::new(Timestamp::from_unix_millis(START));
            let tokens = TokenSource::new(login, http, Arc::new(clock));
            let refused = tokens.token(SCOPE).await.unwrap_err().to_string();
            assert!(!refused.contains("s3cret"), "{refused}");
            // Azure's library tries again a few times.
            let sent = sent.load(Ordering::SeqCst);
            assert!(sent <= 10 * (ANSWER_BYTES_MAX + (1 << 17)), "{sent} bytes");
        }
    }
}

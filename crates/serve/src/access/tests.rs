use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use paddock_tls_profile::Client;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;

const PATH: &str = "/metrics";

/// Answers from a table, and counts what it is asked.
#[derive(Default)]
struct Table {
    away: bool,
    refuses: bool,
    slow: bool,
    tokens: AtomicUsize,
    accesses: AtomicUsize,
}

/// Lets the gate share the table with the test.
struct Shared(Arc<Table>);

impl Reviewer for Shared {
    fn token(&self, token: String) -> BoxFuture<'static, Answer<Option<User>>> {
        self.0.tokens.fetch_add(1, Ordering::SeqCst);
        let (away, refuses, slow) = (self.0.away, self.0.refuses, self.0.slow);
        Box::pin(async move {
            if slow {
                sleep(Duration::from_secs(1)).await;
            }
            match token.strip_prefix("token-of-") {
                _ if away => Err(Unreviewed::Away("away".to_owned())),
                _ if refuses => Err(Unreviewed::Refused("it answers 403 Forbidden".to_owned())),
                Some(name) => Ok(Some(User { name: name.to_owned(), ..User::default() })),
                None => Ok(None),
            }
        })
    }

    fn access(&self, user: User, path: String, verb: String) -> BoxFuture<'static, Answer<bool>> {
        self.0.accesses.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(user.name == "prometheus" && path == PATH && verb == "get") })
    }
}

fn gate(mode: MetricsAuth, table: &Arc<Table>) -> Gate {
    let clients = vec![Client { user: "scraper".to_owned(), paths: vec![PATH.to_owned()] }];
    let contract = Contract { metrics_auth: mode, clients, ..Contract::baseline("x") };
    Gate::new(move || contract.clone(), Some(Arc::new(Shared(table.clone()))))
}

fn with(authorization: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
}

async fn judge(gate: &Gate, headers: &HeaderMap) -> Verdict {
    gate.judge(None, headers, &Method::GET, PATH).await
}

fn peer(common_name: &str) -> Peer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    Peer::with_certificate(certificate.der().clone())
}

fn unauthorized(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unauthorized(_))
}

#[tokio::test(start_paused = true)]
async fn tls_f28_no_bad_allowed_and_denied_tokens_are_told_apart() {
    let gate = gate(MetricsAuth::Token, &Arc::default());
    for nobody in [HeaderMap::new(), with("Basic dTpw"), with("Bearer "), with("Bearer expired")] {
        assert!(unauthorized(&judge(&gate, &nobody).await), "{nobody:?}");
    }
    assert_eq!(judge(&gate, &with("Bearer token-of-prometheus")).await, Verdict::Allowed);
    assert!(matches!(judge(&gate, &with("bearer token-of-tenant")).await, Verdict::Forbidden(_)));
}

#[tokio::test(start_paused = true)]
async fn tls_f28_a_review_that_cannot_be_made_lets_nobody_in_and_is_asked_again() {
    let table = Arc::new(Table { away: true, ..Table::default() });
    let verdict = judge(&gate(MetricsAuth::Token, &table), &with("Bearer token-of-prometheus")).await;
    assert_eq!(verdict, Verdict::Unavailable("the review could not be made: away".to_owned()));
    assert_eq!(table.tokens.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn tls_f28_a_refusal_is_no_outage_and_is_told_at_once() {
    let table = Arc::new(Table { refuses: true, ..Table::default() });
    let began = Instant::now();
    let verdict = judge(&gate(MetricsAuth::Token, &table), &with("Bearer token-of-prometheus")).await;
    let why = "the API server refuses to review: it answers 403 Forbidden";
    assert_eq!(verdict, Verdict::Unavailable(why.to_owned()));
    assert_eq!((table.tokens.load(Ordering::SeqCst), began.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn tls_f28_a_review_that_never_ends_is_given_up() {
    struct Hangs;
    impl Reviewer for Hangs {
        fn token(&self, _: String) -> BoxFuture<'static, Answer<Option<User>>> {
            Box::pin(std::future::pending())
        }
        fn access(&self, _: User, _: String, _: String) -> BoxFuture<'static, Answer<bool>> {
            Box::pin(std::future::pending())
        }
    }
    let gate = Gate::new(|| Contract::baseline("x"), Some(Arc::new(Hangs)));
    assert!(matches!(judge(&gate, &with("Bearer a")).await, Verdict::Unavailable(_)));
}

#[tokio::test(start_paused = true)]
async fn tls_f28_an_answer_is_asked_for_once_and_holds_for_a_while() {
    let table = Arc::<Table>::default();
    let gate = gate(MetricsAuth::Token, &table);
    for _ in 0..10 {
        assert_eq!(judge(&gate, &with("Bearer token-of-prometheus")).await, Verdict::Allowed);
    }
    assert_eq!((table.tokens.load(Ordering::SeqCst), table.accesses.load(Ordering::SeqCst)), (1, 1));
    tokio::time::advance(TOKEN_GOOD).await;
    judge(&gate, &with("Bearer token-of-prometheus")).await;
    assert_eq!((table.tokens.load(Ordering::SeqCst), table.accesses.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn tls_f28_questions_at_the_same_time_are_one() {
    let table = Arc::new(Table { slow: true, ..Table::default() });
    let gate = gate(MetricsAuth::Token, &table);
    let headers = with("Bearer token-of-prometheus");
    let verdicts = futures::future::join_all((0..50).map(|_| judge(&gate, &headers))).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Allowed));
    assert_eq!(table.tokens.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_first_asker_went_away_is_answered_to_the_others() {
    let table = Arc::new(Table { slow: true, ..Table::default() });
    let gate = gate(MetricsAuth::Token, &table);
    let headers = with("Bearer token-of-prometheus");
    assert!(timeout(Duration::from_millis(1), judge(&gate, &headers)).await.is_err());
    assert_eq!(judge(&gate, &headers).await, Verdict::Allowed);
}

#[tokio::test(start_paused = true)]
async fn tls_f28_junk_tokens_at_the_same_time_start_a_bounded_number_of_reviews() {
    let table = Arc::new(Table { slow: true, ..Table::default() });
    let gate = gate(MetricsAuth::Token, &table);
    let headers: Vec<_> = (0..1000).map(|number| with(&format!("Bearer junk-{number}"))).collect();
    let verdicts = futures::future::join_all(headers.iter().map(|headers| judge(&gate, headers))).await;
    assert_eq!(table.tokens.load(Ordering::SeqCst), RUNNING);
    assert!(verdicts.iter().all(|verdict| *verdict != Verdict::Allowed));
}

#[tokio::test(start_paused = true)]
async fn a_listed_client_certificate_needs_no_review() {
    let table = Arc::new(Table { away: true, ..Table::default() });
    for mode in [MetricsAuth::Certificate, MetricsAuth::TokenOrCertificate] {
        let gate = gate(mode, &table);
        let (headers, get) = (HeaderMap::new(), Method::GET);
        assert_eq!(gate.judge(Some(&peer("scraper")), &headers, &get, PATH).await, Verdict::Allowed);
        let forbidden = [("scraper", "/tlsz"), ("stranger", PATH)];
        for (user, path) in forbidden {
            assert!(
                matches!(gate.judge(Some(&peer(user)), &headers, &get, path).await, Verdict::Forbidden(_)),
                "{user}"
            );
        }
        assert!(unauthorized(&gate.judge(None, &headers, &get, PATH).await));
    }
    assert_eq!(table.tokens.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_counts_only_where_the_contract_says_so() {
    let gate = gate(MetricsAuth::Token, &Arc::default());
    assert!(unauthorized(&gate.judge(Some(&peer("scraper")), &HeaderMap::new(), &Method::GET, PATH).await));
}

#[tokio::test(start_paused = true)]
async fn authentication_that_is_off_asks_nobody() {
    let table = Arc::<Table>::default();
    assert_eq!(judge(&gate(MetricsAuth::Off, &table), &HeaderMap::new()).await, Verdict::Allowed);
    assert_eq!(table.tokens.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_nobody_is_let_in_by_token() {
    let gate = Gate::new(|| Contract::baseline("x"), None);
    assert!(matches!(judge(&gate, &with("Bearer a")).await, Verdict::Unavailable(_)));
}

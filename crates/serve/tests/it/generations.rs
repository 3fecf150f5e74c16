//! What happens to connections when what is served changes under them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use paddock_serve::{Options, TlsMetrics, TlsSource};
use paddock_tls_profile::{Backend, Effective, Generation, Named, Profile, resolve};
use prometheus_client::registry::Registry;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::wire::{Authority, client_config, connect, get, http1, soon, start, whoami};

fn effective(profile: &Profile) -> Effective {
    resolve(profile, &Backend::RUSTLS_AWS_LC, &paddock_tls_profile::Options::default()).effective.unwrap()
}

fn named(named: Named) -> Effective {
    effective(&named.profile(Generation::C))
}

const DRAIN: Duration = Duration::from_millis(100);

#[tokio::test]
async fn tls_f22_a_tighter_profile_refuses_new_connections_that_it_excludes() {
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let server = start(Some(source.clone()), Options::default(), service_fn(whoami)).await;
    let tls12 = Arc::new(client_config(&authority, &[&rustls::version::TLS12]));
    connect(server.addr, &tls12).await.unwrap();
    source.set_profile(named(Named::Modern), DRAIN).unwrap();
    connect(server.addr, &tls12).await.unwrap_err();
    connect(server.addr, &Arc::new(client_config(&authority, &[&rustls::version::TLS13]))).await.unwrap();
}

#[tokio::test]
async fn tls_f22_idle_connections_of_a_wider_profile_are_closed_at_once() {
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let server = start(Some(source.clone()), Options::default(), service_fn(whoami)).await;
    let config = Arc::new(client_config(&authority, rustls::ALL_VERSIONS));
    let mut client = http1(connect(server.addr, &config).await.unwrap()).await;
    assert_eq!(client.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    source.set_profile(named(Named::Modern), Duration::from_secs(3600)).unwrap();
    soon(async {
        while client.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn tls_f22_a_busy_connection_of_a_wider_profile_ends_its_request() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let (release, gate) = tokio::sync::watch::channel(false);
    let slow = service_fn(move |_: Request<Incoming>| {
        let (entered, mut gate) = (entered.clone(), gate.clone());
        async move {
            entered.send(()).await.unwrap();
            gate.wait_for(|open| *open).await.unwrap();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
        }
    });
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let server = start(Some(source.clone()), Options::default(), slow).await;
    let config = Arc::new(client_config(&authority, rustls::ALL_VERSIONS));
    let mut client = http1(connect(server.addr, &config).await.unwrap()).await;
    let answer = tokio::spawn(async move { client.send_request(get("/")).await });
    has_entered.recv().await.unwrap();
    source.set_profile(named(Named::Modern), Duration::from_secs(3600)).unwrap();
    release.send(true).unwrap();
    let answer = soon(answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["connection"], "close");
}

#[tokio::test]
async fn tls_f22_what_does_not_end_by_itself_is_cut_at_the_deadline() {
    let echo = service_fn(async |request: Request<Incoming>| {
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut word = [0; 4];
            while io.read_exact(&mut word).await.is_ok() && io.write_all(&word).await.is_ok() {}
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "upgrade");
        Ok::<_, Infallible>(response.header("upgrade", "echo").body(Full::<Bytes>::default()).unwrap())
    });
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let server = start(Some(source.clone()), Options::default(), echo).await;
    let config = Arc::new(client_config(&authority, rustls::ALL_VERSIONS));
    let mut client = http1(connect(server.addr, &config).await.unwrap()).await;
    let mut request = get("/");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let mut io = TokioIo::new(hyper::upgrade::on(client.send_request(request).await.unwrap()).await.unwrap());
    let mut word = [0; 4];
    io.write_all(b"ping").await.unwrap();
    soon(io.read_exact(&mut word)).await.unwrap();

    source.set_profile(named(Named::Modern), DRAIN).unwrap();
    assert_eq!(
        source.population().iter().map(|one| (one.connections, one.leaving)).collect::<Vec<_>>(),
        [(1, true), (0, false)]
    );
    assert!(soon(io.read_exact(&mut word)).await.is_err());
    soon(async {
        while source.population().len() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wider_profile_leaves_open_connections_alone() {
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    source.set_profile(named(Named::Modern), DRAIN).unwrap();
    let server = start(Some(source.clone()), Options::default(), service_fn(whoami)).await;
    let config = Arc::new(client_config(&authority, rustls::ALL_VERSIONS));
    let mut client = http1(connect(server.addr, &config).await.unwrap()).await;
    client.send_request(get("/")).await.unwrap();
    source.set_profile(named(Named::Intermediate), DRAIN).unwrap();
    assert_eq!(client.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    assert!(source.population().iter().all(|one| !one.leaving));
}

#[tokio::test]
async fn an_authority_of_clients_that_is_dropped_drops_its_clients() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let source = TlsSource::new(servers.tls(&[&clients]));
    let server = start(Some(source.clone()), Options::default(), service_fn(whoami)).await;
    let config = Arc::new(client_config(&servers, rustls::ALL_VERSIONS));
    let _open = http1(connect(server.addr, &config).await.unwrap()).await;
    soon(async {
        while source.population()[0].connections == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    source.publish(servers.tls(&[]), DRAIN);
    assert!(source.population().iter().any(|one| one.leaving));
}

#[tokio::test]
async fn tls_f22_sessions_are_resumed_within_a_generation_and_never_across() {
    let authority = Authority::new("a");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let source = TlsSource::new(authority.tls(&[]));
        let server = start(Some(source.clone()), Options::default(), service_fn(whoami)).await;
        let config = Arc::new(client_config(&authority, &[version]));
        let mut kinds = Vec::new();
        for connection in 0..3 {
            if connection == 2 {
                // The same suites and groups, but not the same generation.
                source.set_profile(named(Named::Intermediate), DRAIN).unwrap();
            }
            let stream = connect(server.addr, &config).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            // A request gives the server the time to send its tickets.
            http1(stream).await.send_request(get("/")).await.unwrap();
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Full], "{version:?}");
    }
}

#[tokio::test]
async fn tls_f23_certificate_and_profile_change_in_one_step() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let source = TlsSource::new(old.tls(&[]));
    let server = start(Some(source.clone()), Options::default(), service_fn(whoami)).await;
    let both = |authority: &Authority, version| Arc::new(client_config(authority, &[version]));
    let (chain, key) = new.issue("server");
    let certificate = paddock_serve::Certificate::new(chain, key, Vec::new()).unwrap();
    source.publish(paddock_serve::Tls::new(certificate, named(Named::Modern)).unwrap(), DRAIN);
    connect(server.addr, &both(&new, &rustls::version::TLS13)).await.unwrap();
    connect(server.addr, &both(&new, &rustls::version::TLS12)).await.unwrap_err();
    connect(server.addr, &both(&old, &rustls::version::TLS13)).await.unwrap_err();
}

#[tokio::test]
async fn excluded_suites_of_tls13_and_groups_are_refused() {
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let profile = Profile {
        ciphers: Some(vec!["TLS_AES_256_GCM_SHA384".to_owned()]),
        min_version: Some(paddock_tls_profile::Version::Tls13),
        groups: Some(vec!["secp384r1".to_owned()]),
    };
    source.set_profile(effective(&profile), DRAIN).unwrap();
    let server = start(Some(source), Options::default(), service_fn(whoami)).await;
    let stream = connect(server.addr, &Arc::new(client_config(&authority, rustls::ALL_VERSIONS))).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(u16::from(connection.negotiated_cipher_suite().unwrap().suite()), 0x1302);
    assert_eq!(u16::from(connection.negotiated_key_exchange_group().unwrap().name()), 0x0018);
    let mut provider = rustls::crypto::CryptoProvider::clone(&paddock_serve::crypto_provider());
    provider.cipher_suites.retain(|suite| u16::from(suite.suite()) != 0x1302);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let other = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    connect(server.addr, &Arc::new(other)).await.unwrap_err();
}

#[tokio::test]
async fn handshakes_failures_and_connections_are_counted() {
    let (authority, metrics) = (Authority::new("a"), TlsMetrics::default());
    let mut registry = Registry::with_prefix("paddock");
    metrics.register(&mut registry);
    let source = TlsSource::counted(authority.tls(&[]), metrics);
    source.set_profile(named(Named::Modern), DRAIN).unwrap();
    let server = start(Some(source), Options::default(), service_fn(whoami)).await;
    connect(server.addr, &Arc::new(client_config(&authority, &[&rustls::version::TLS12]))).await.unwrap_err();
    let config = Arc::new(client_config(&authority, &[&rustls::version::TLS13]));
    let mut open = http1(connect(server.addr, &config).await.unwrap()).await;
    open.send_request(get("/")).await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"paddock_tls_handshakes_total{version="VersionTLS13",suite="TLS_AES_256_GCM_SHA384",group="X25519"} 1"#,
        r#"paddock_tls_handshake_failures_total{reason="version"} 1"#,
        r#"paddock_tls_connections{generation="2"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

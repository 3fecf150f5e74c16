//! The accept loop.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use paddock_serve::{Drained, Listener, Options, TlsSource, Traffic, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::wire::{Authority, body, get, handshake, http1, http2, soon, start, whoami};

#[tokio::test]
async fn one_http1_connection_carries_many_requests() {
    let server = start(None, Options::default(), service_fn(whoami)).await;
    let mut client = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    for _ in 0..3 {
        let response = client.send_request(get("/")).await.unwrap();
        assert_eq!(body(response).await, "HTTP/1.1 anonymous");
    }
}

#[tokio::test]
async fn alpn_chooses_h2_when_the_client_offers_it() {
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let server = start(Some(source), Options::default(), service_fn(whoami)).await;
    let stream = handshake(server.addr, &authority, None, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let response = http2(stream).await.send_request(get("/")).await.unwrap();
    assert_eq!(body(response).await, "HTTP/2.0 anonymous");
}

#[tokio::test]
async fn a_certificate_of_the_client_authority_is_verified() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let source = TlsSource::new(servers.tls(&[&clients]));
    let server = start(Some(source), Options::default(), service_fn(whoami)).await;
    let stream = handshake(server.addr, &servers, Some(clients.issue("admin")), &[b"http/1.1"]).await.unwrap();
    let response = http1(stream).await.send_request(get("/")).await.unwrap();
    assert_eq!(body(response).await, "HTTP/1.1 verified with 1 certificates");
}

#[tokio::test]
async fn a_certificate_of_another_authority_reaches_the_handler_as_rejected() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let source = TlsSource::new(servers.tls(&[&clients]));
    let server = start(Some(source), Options::default(), service_fn(whoami)).await;
    let stranger = Authority::new("clients").issue("admin");
    let stream = handshake(server.addr, &servers, Some(stranger), &[b"http/1.1"]).await.unwrap();
    let response = http1(stream).await.send_request(get("/")).await.unwrap();
    assert_eq!(body(response).await, "HTTP/1.1 rejected with 0 certificates");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_anonymous_where_one_is_optional() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let source = TlsSource::new(servers.tls(&[&clients]));
    let server = start(Some(source), Options::default(), service_fn(whoami)).await;
    let stream = handshake(server.addr, &servers, None, &[b"http/1.1"]).await.unwrap();
    let response = http1(stream).await.send_request(get("/")).await.unwrap();
    assert_eq!(body(response).await, "HTTP/1.1 anonymous");
}

#[tokio::test]
async fn replaced_material_is_presented_to_the_next_connection() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let source = TlsSource::new(old.tls(&[]));
    let server = start(Some(source.clone()), Options::default(), service_fn(whoami)).await;
    let mut open = http1(handshake(server.addr, &old, None, &[b"http/1.1"]).await.unwrap()).await;

    source.replace(new.tls(&[]));

    handshake(server.addr, &new, None, &[b"http/1.1"]).await.unwrap();
    let response = open.send_request(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_bad_handshake_leaves_the_listener_serving() {
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let server = start(Some(source), Options::default(), service_fn(whoami)).await;
    let mut plain = TcpStream::connect(server.addr).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(plain.read_to_end(&mut rest)).await;
    handshake(server.addr, &authority, None, &[b"http/1.1"]).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_given_up() {
    let authority = Authority::new("a");
    let source = TlsSource::new(authority.tls(&[]));
    let options = Options { handshake_timeout: Duration::from_millis(50), ..Options::default() };
    let server = start(Some(source), options, service_fn(whoami)).await;
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let options = Options { head_timeout: Duration::from_millis(50), ..Options::default() };
    let server = start(None, options, service_fn(whoami)).await;
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn an_h2_connection_that_nobody_uses_is_closed() {
    let short = Duration::from_millis(50);
    let traffic = Traffic::default();
    let options = Options { head_timeout: short, idle_timeout: short, traffic: traffic.clone(), ..Options::default() };
    let server = start(None, options, service_fn(whoami)).await;
    let mut client = http2(TcpStream::connect(server.addr).await.unwrap()).await;
    body(client.send_request(get("/")).await.unwrap()).await;
    soon(async {
        while traffic.counts().open > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(traffic.counts().idle, 1);
}

#[tokio::test]
async fn a_head_above_the_limit_is_refused() {
    let options = Options { max_head_bytes: 8192, ..Options::default() };
    let server = start(None, options, service_fn(whoami)).await;
    let mut client = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    let mut request = get("/");
    request.headers_mut().insert("x-long", "a".repeat(20_000).parse().unwrap());
    assert_eq!(client.send_request(request).await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn an_error_of_the_service_closes_the_connection_without_an_answer() {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr();
    let drop_it = service_fn(async |_: Request<Incoming>| {
        Err::<Response<Full<Bytes>>, std::io::Error>(std::io::Error::other("dropped by the fault plan"))
    });
    tokio::spawn(serve(listener, None, drop_it, Options::default(), CancellationToken::new()));
    let mut client = http1(TcpStream::connect(addr).await.unwrap()).await;
    assert!(client.send_request(get("/")).await.unwrap_err().is_incomplete_message());
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let options = Options { max_connections: 1, ..Options::default() };
    let server = start(None, options, service_fn(whoami)).await;
    let mut first = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    first.send_request(get("/")).await.unwrap();

    let mut second = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    let waiting = tokio::spawn(async move { second.send_request(get("/")).await.unwrap().status() });
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(soon(waiting).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn an_upgraded_connection_carries_raw_bytes() {
    let echo = service_fn(async |request: Request<Incoming>| {
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut word = [0; 4];
            io.read_exact(&mut word).await.unwrap();
            io.write_all(&word).await.unwrap();
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "upgrade");
        Ok::<_, Infallible>(response.header("upgrade", "echo").body(Full::<Bytes>::default()).unwrap())
    });
    let server = start(None, Options::default(), echo).await;
    let mut client = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    let mut request = get("/");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let response = client.send_request(request).await.unwrap();
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    let mut word = [0; 4];
    soon(io.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"ping");
}

#[tokio::test]
async fn a_running_request_ends_before_the_listener_does() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let release = CancellationToken::new();
    let gate = release.clone();
    let slow = service_fn(move |_: Request<Incoming>| {
        let (entered, gate) = (entered.clone(), gate.clone());
        async move {
            entered.send(()).await.unwrap();
            gate.cancelled().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
        }
    });
    let server = start(None, Options::default(), slow).await;
    let mut client = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    let answer = tokio::spawn(async move { body(client.send_request(get("/")).await.unwrap()).await });
    has_entered.recv().await.unwrap();

    server.stop.cancel();
    release.cancel();

    assert_eq!(soon(answer).await.unwrap(), "done");
    assert_eq!(soon(server.ended).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_drain() {
    let server = start(None, Options::default(), service_fn(whoami)).await;
    let mut client = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    client.send_request(get("/")).await.unwrap();
    let _silent = TcpStream::connect(server.addr).await.unwrap();
    server.stop.cancel();
    assert_eq!(soon(server.ended).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_at_the_deadline() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let stuck = service_fn(move |_: Request<Incoming>| {
        let entered = entered.clone();
        async move {
            entered.send(()).await.unwrap();
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        }
    });
    let options = Options { drain: Duration::from_millis(50), ..Options::default() };
    let server = start(None, options, stuck).await;
    let mut client = http1(TcpStream::connect(server.addr).await.unwrap()).await;
    let answer = tokio::spawn(async move { client.send_request(get("/")).await });
    has_entered.recv().await.unwrap();
    server.stop.cancel();
    assert_eq!(soon(server.ended).await.unwrap(), Drained { cut: 1 });
    assert!(soon(answer).await.unwrap().is_err());
}

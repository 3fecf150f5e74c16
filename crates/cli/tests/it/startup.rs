//! The start-up contract: what serves, serves without an API server, and becomes ready when there is one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use paddock_pki::{CertificateAuthority, Leaf};
use paddock_tls_profile::{Contract, Generation, MetricsAuth, Named, files};
use paddock_trials::certificate::{issued, trusting};
use paddock_trials::mount::Mount;
use paddock_trials::outage::Outage;
use rustls::pki_types::ServerName;

use crate::process::{Running, paddock, run, stderr};

/// What kubelet mounted, and who vouches for the certificate in it.
struct Mounted {
    _home: tempfile::TempDir,
    dir: PathBuf,
    mount: Mount,
    authority: CertificateAuthority,
    auth: MetricsAuth,
    leaf: Leaf,
}

impl Mounted {
    /// The operator wrote this, and kubelet brought it.
    fn ask_for(&mut self, named: Named) {
        let profile = named.profile(Generation::C);
        let profile_hash = Some(profile.hash());
        let contract = Contract { profile_hash, metrics_auth: self.auth, ..Contract::baseline("operator") };
        self.mount
            .write([
                (files::CONTRACT, contract.canonical().as_bytes()),
                (files::PROFILE, profile.canonical().as_bytes()),
                (files::CERTIFICATE, self.leaf.certificate_pem.as_bytes()),
                (files::KEY, self.leaf.key_pem.expose().as_bytes()),
            ])
            .unwrap();
    }
}

fn mounted(named: Named, auth: MetricsAuth) -> Mounted {
    let home = tempfile::tempdir().unwrap();
    let mount = Mount::new(home.path().join("startup")).unwrap();
    let (authority, leaf) = issued().unwrap();
    let mut mounted = Mounted { dir: mount.path().to_owned(), _home: home, mount, authority, auth, leaf };
    mounted.ask_for(named);
    mounted
}

/// A component, and what it logs.
struct Component {
    child: Child,
    lines: Receiver<serde_json::Value>,
}

impl Component {
    fn start(kubeconfig: &Path, startup: &Path) -> Self {
        let (kubeconfig, startup) = (kubeconfig.to_str().unwrap(), startup.to_str().unwrap());
        let which = ["operator", "--metrics-listen", "127.0.0.1:0", "--kubeconfig", kubeconfig];
        Self::of(&[&which[..], &["--tls-startup-dir", startup]].concat())
    }

    /// Any component, with its health port.
    fn of(arguments: &[&str]) -> Self {
        let mut child = paddock(arguments)
            .args(["--health-listen", "127.0.0.1:0", "--log-format", "json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = serde_json::from_str(&line).map(|line| sender.send(line));
            }
        });
        Self { child, lines }
    }

    /// A field of the next line that says this.
    fn said(&self, message: &str, field: &str) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let line = self.lines.recv_timeout(until - Instant::now()).expect("the line is logged in time");
            if line["message"] == message {
                return line[field].as_str().unwrap().to_owned();
            }
        }
    }

    fn health(&self) -> SocketAddr {
        self.said("health is served", "address").parse().unwrap()
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // Already gone is what a test that went well leaves behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of a GET.
fn get(stream: &mut (impl Read + Write), path: &str, token: Option<&str>) -> (u16, String) {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}\r\n").unwrap();
    let mut text = Vec::new();
    // A peer that closes TLS without saying so has said everything in its answer.
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn plain(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

type Secure = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn secure(
    addr: SocketAddr,
    mounted: &Mounted,
    version: &'static rustls::SupportedProtocolVersion,
) -> std::io::Result<Secure> {
    let config = trusting(&mounted.authority, &[version])?;
    let mut connection = rustls::ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = plain(addr);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(rustls::StreamOwned::new(connection, stream))
}

#[test]
fn tls_f01_tls_f02_the_operator_serves_without_an_api_server_however_it_fails_and_again_after_a_kill() {
    let mounted = mounted(Named::Modern, MetricsAuth::Token);
    for outage in Outage::ALL {
        let failing = outage.begin().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, failing.kubeconfig()).unwrap();
        let mut hashes = Vec::new();
        for _ in 0..2 {
            let mut operator = Component::start(&kubeconfig, &mounted.dir);
            let health: SocketAddr = operator.health();
            hashes.push(operator.said("the TLS profile is served", "hash"));
            let metrics: SocketAddr = operator.said("metrics are served", "address").parse().unwrap();
            assert_eq!(get(&mut plain(health), "/livez", None).0, 200, "{outage:?}");
            let (status, body) = get(&mut plain(health), "/readyz?verbose", None);
            assert_eq!(status, 503, "{outage:?}: {body}");
            assert!(body.contains("[+]tls-profile ok"), "{outage:?}: {body}");
            let mut stream = secure(metrics, &mounted, &rustls::version::TLS13).unwrap();
            assert_eq!(get(&mut stream, "/metrics", None).0, 401, "{outage:?}");
            assert!(secure(metrics, &mounted, &rustls::version::TLS12).is_err(), "{outage:?}");
            assert!(operator.is_running(), "{outage:?}");
        }
        assert_eq!(hashes[0], hashes[1], "{outage:?}");
    }
}

#[test]
fn tls_f28_a_token_that_cannot_be_reviewed_gets_503() {
    let mounted = mounted(Named::Modern, MetricsAuth::Token);
    let failing = Outage::Refused.begin().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, failing.kubeconfig()).unwrap();
    let operator = Component::start(&kubeconfig, &mounted.dir);
    let metrics: SocketAddr = operator.said("metrics are served", "address").parse().unwrap();
    let mut stream = secure(metrics, &mounted, &rustls::version::TLS13).unwrap();
    assert_eq!(get(&mut stream, "/metrics", Some("a-token")).0, 503);
}

#[test]
fn tls_f01_the_operator_becomes_ready_when_the_api_server_comes_and_reviews_its_clients() {
    let mounted = mounted(Named::Intermediate, MetricsAuth::Token);
    let dir = tempfile::tempdir().unwrap();
    let (kubeconfig, pki) = (dir.path().join("kubeconfig"), dir.path().join("pki"));
    let api_server = |listen: &str| {
        let arguments = ["apiserver", "--in-memory", "--listen", listen, "--pki-dir", pki.to_str().unwrap()];
        let out = ["--kubeconfig-out", kubeconfig.to_str().unwrap()];
        let mut server = Running::start(&[&arguments[..], &out].concat(), dir.path());
        let line = server.line().unwrap();
        (server, line.strip_prefix("Kubernetes API: https://").unwrap().to_owned())
    };
    let (server, address) = api_server("127.0.0.1:0");
    assert_eq!(server.terminate(), Some(0));

    let operator = Component::start(&kubeconfig, &mounted.dir);
    let health: SocketAddr = operator.health();
    let metrics: SocketAddr = operator.said("metrics are served", "address").parse().unwrap();
    assert_eq!(get(&mut plain(health), "/readyz", None).0, 503);

    let (_server, _) = api_server(&address);
    let until = Instant::now() + Duration::from_secs(30);
    while get(&mut plain(health), "/readyz", None).0 != 200 {
        assert!(Instant::now() < until, "{:?}", get(&mut plain(health), "/readyz?verbose", None));
        std::thread::yield_now();
    }
    let mut stream = secure(metrics, &mounted, &rustls::version::TLS13).unwrap();
    assert_eq!(get(&mut stream, "/metrics", Some("junk")).0, 401);
}

#[test]
fn tlsz_says_what_is_served() {
    let mounted = mounted(Named::Old, MetricsAuth::Off);
    let failing = Outage::Refused.begin().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, failing.kubeconfig()).unwrap();
    let operator = Component::start(&kubeconfig, &mounted.dir);
    let metrics: SocketAddr = operator.said("metrics are served", "address").parse().unwrap();
    let mut stream = secure(metrics, &mounted, &rustls::version::TLS13).unwrap();
    let (status, body) = get(&mut stream, "/tlsz", None);
    let report: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &report["resolution"]["outcome"]), (200, &"Reduced".into()));
    assert_eq!(report["profileHash"], Named::Old.profile(Generation::C).hash());
    let mut stream = secure(metrics, &mounted, &rustls::version::TLS13).unwrap();
    let (_, metrics) = get(&mut stream, "/metrics", None);
    assert!(metrics.contains("paddock_tls_profile_info{component=\"operator\""), "{metrics}");
    assert!(metrics.contains("outcome=\"Reduced\""), "{metrics}");
}

#[test]
fn the_embedded_api_serves_by_the_mounted_profile() {
    let mounted = mounted(Named::Modern, MetricsAuth::Token);
    let dir = tempfile::tempdir().unwrap();
    let (kubeconfig, pki) = (dir.path().join("kubeconfig"), dir.path().join("pki"));
    let arguments =
        ["apiserver", "--in-memory", "--listen", "127.0.0.1:0", "--tls-startup-dir", mounted.dir.to_str().unwrap()];
    let out = ["--kubeconfig-out", kubeconfig.to_str().unwrap(), "--pki-dir", pki.to_str().unwrap()];
    let mut server = Running::start(&[&arguments[..], &out].concat(), dir.path());
    let address = server.line().unwrap().strip_prefix("Kubernetes API: https://").unwrap().parse().unwrap();
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
    let authority = CertificateAuthority::from_pem(&read("ca.crt"), &read("ca.key")).unwrap();
    let mounted = Mounted { authority, ..mounted };
    assert!(secure(address, &mounted, &rustls::version::TLS12).is_err());
    assert_eq!(get(&mut secure(address, &mounted, &rustls::version::TLS13).unwrap(), "/livez", None).0, 200);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn tls_d17_flags_come_before_the_mounted_profile() {
    let output = run(&["up", "--tls-min-version", "TLS1.3"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: --tls-min-version: \"TLS1.3\" is not one of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13\n"
    );
    let output = run(&["up", "--tls-groups", "secp521r1", "--data-dir", "/does/not/matter"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no key exchange group of the profile can be served"), "{}", stderr(&output));
}

/// Polls, for what another process does soon.
fn eventually(mut what: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(30);
    while !what() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn tls_f03_tls_d12_where_nothing_was_ever_mounted_health_answers_at_once_and_the_process_ends_with_78() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let failing = Outage::Refused.begin().unwrap();
    std::fs::write(path("kubeconfig"), failing.kubeconfig()).unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    let (data, other, listen) = (path("up"), path("apiserver"), ["--listen", "127.0.0.1:0"]);
    let kubeconfig = path("kubeconfig");
    let components = [
        [&["up", "--data-dir", &data][..], &listen].concat(),
        [&["apiserver", "--data-dir", &other][..], &listen].concat(),
        ["operator", "--kubeconfig", &kubeconfig, "--metrics-listen", "127.0.0.1:0"].to_vec(),
    ];
    let mut running = Vec::new();
    for arguments in &components {
        let log = path(&format!("termination-log-of-{}", arguments[0]));
        std::fs::write(&log, "").unwrap();
        let more = ["--tls-startup-dir", &path("empty"), "--termination-log", &log];
        running.push((arguments[0], log.clone(), Component::of(&[&arguments[..], &more].concat())));
    }
    for (name, _, component) in &running {
        let health = component.health();
        assert_eq!(component.said("waiting for valid start-up data", "dir"), path("empty"), "{name}");
        assert_eq!(get(&mut plain(health), "/livez", None).0, 200, "{name}");
        let waits = || get(&mut plain(health), "/readyz", None).1.contains("tls-profile failed: waiting for valid");
        assert!(eventually(waits), "{name}: {:?}", get(&mut plain(health), "/readyz", None));
    }
    for (name, log, component) in &mut running {
        assert_eq!(component.child.wait().unwrap().code(), Some(78), "{name}");
        let message = std::fs::read_to_string(log).unwrap();
        assert!(message.starts_with("--tls-startup-dir: no valid start-up data in "), "{name}: {message}");
        assert!(message.ends_with(" is missing"), "{name}: {message}");
    }
}

#[test]
fn tls_f18_tls_d13_an_edit_is_followed_while_the_api_server_is_away_and_the_component_is_ready_when_it_is_back() {
    let mut mounted = mounted(Named::Intermediate, MetricsAuth::Token);
    let dir = tempfile::tempdir().unwrap();
    let (kubeconfig, pki) = (dir.path().join("kubeconfig"), dir.path().join("pki"));
    let api_server = |listen: &str| {
        let arguments = ["apiserver", "--in-memory", "--listen", listen, "--pki-dir", pki.to_str().unwrap()];
        let out = ["--kubeconfig-out", kubeconfig.to_str().unwrap()];
        let mut server = Running::start(&[&arguments[..], &out].concat(), dir.path());
        let line = server.line().unwrap();
        (server, line.strip_prefix("Kubernetes API: https://").unwrap().to_owned())
    };
    let (server, address) = api_server("127.0.0.1:0");
    let mut operator = Component::start(&kubeconfig, &mounted.dir);
    let health = operator.health();
    let metrics: SocketAddr = operator.said("metrics are served", "address").parse().unwrap();
    let ready = || get(&mut plain(health), "/readyz", None).0 == 200;
    assert!(eventually(ready));
    assert_eq!(server.terminate(), Some(0));

    assert!(secure(metrics, &mounted, &rustls::version::TLS12).is_ok());
    mounted.ask_for(Named::Modern);
    assert!(eventually(|| secure(metrics, &mounted, &rustls::version::TLS12).is_err()));
    assert!(secure(metrics, &mounted, &rustls::version::TLS13).is_ok());
    assert!(operator.is_running());

    let (_server, _) = api_server(&address);
    assert!(eventually(ready), "{:?}", get(&mut plain(health), "/readyz?verbose", None));
    assert!(secure(metrics, &mounted, &rustls::version::TLS12).is_err());
}

#[test]
fn up_and_the_embedded_api_count_their_handshakes_where_metrics_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for which in ["up", "apiserver"] {
        let data = dir.path().join(which);
        let component = Component::of(&[which, "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        let health = component.health();
        let api: SocketAddr = component.said("the Kubernetes API is served", "address").parse().unwrap();
        assert!(eventually(|| get(&mut plain(health), "/readyz", None).0 == 200), "{which}");
        let read = |name: &str| std::fs::read_to_string(data.join("pki").join(name)).unwrap();
        let authority = CertificateAuthority::from_pem(&read("ca.crt"), &read("ca.key")).unwrap();
        let mounted = Mounted { authority, ..mounted(Named::Modern, MetricsAuth::Token) };
        assert_eq!(get(&mut secure(api, &mounted, &rustls::version::TLS13).unwrap(), "/livez", None).0, 200);
        let (_, page) = get(&mut plain(health), "/metrics", None);
        assert!(page.contains("paddock_tls_handshakes_total{version=\"VersionTLS13\""), "{which}: {page}");
        assert!(page.contains("paddock_tls_profile_info{component=\"apiserver\""), "{which}: {page}");
        assert_eq!(get(&mut secure(api, &mounted, &rustls::version::TLS13).unwrap(), "/tlsz", None).0, 403, "{which}");
    }
}

//! Listeners under a start-up directory that an emulated kubelet keeps: every scenario of what may be mounted there and when.
#![expect(clippy::unwrap_used, reason = "test code: a panic is the report")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use paddock_pki::{CertificateAuthority, Leaf};
use paddock_serve::{Startup, StartupOptions, TlsMetrics};
use paddock_tls_profile::{
    Adherence, Contract, Decision, Generation, MetricsAuth, Named, Profile, Version, files, hex_sha256,
};
use paddock_trials::certificate::{issued, trusting};
use paddock_trials::component::Running;
use paddock_trials::mount::Mount;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// A component: what the operator wrote, what kubelet brought, what the process serves.
struct Component {
    home: tempfile::TempDir,
    mount: Mount,
    authority: CertificateAuthority,
    contract: Contract,
    profile: Option<String>,
    leaf: Leaf,
    expected: Option<String>,
}

impl Component {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mount = Mount::new(home.path().join("startup")).unwrap();
        let (authority, leaf) = issued().unwrap();
        let contract = Contract::baseline("metrics");
        Self { home, mount, authority, contract, profile: None, leaf, expected: None }
    }

    fn asking_for(named: Named) -> Self {
        let mut this = Self::new();
        this.ask_for(named);
        this
    }

    fn ask_for(&mut self, named: Named) {
        self.ask(&named.profile(Generation::C).canonical());
    }

    fn ask(&mut self, profile: &str) {
        self.contract.generation += 1;
        self.contract.profile_hash = Some(hex_sha256(profile.as_bytes()));
        self.profile = Some(profile.to_owned());
    }

    fn renew(&mut self) {
        (self.authority, self.leaf) = issued().unwrap();
    }

    fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut all = vec![
            (files::CONTRACT, self.contract.canonical().into_bytes()),
            (files::CERTIFICATE, self.leaf.certificate_pem.clone().into_bytes()),
            (files::KEY, self.leaf.key_pem.expose().to_owned().into_bytes()),
        ];
        all.extend(self.profile.as_ref().map(|profile| (files::PROFILE, profile.clone().into_bytes())));
        all.extend(self.expected.as_ref().map(|hash| (files::EXPECTED_HASH, hash.clone().into_bytes())));
        all
    }

    fn sync(&mut self) {
        let files = self.files();
        self.mount.write(files.iter().map(|(name, bytes)| (*name, bytes.as_slice()))).unwrap();
    }

    /// The files, one of them damaged.
    fn sync_with(&mut self, file: &str, bytes: Option<&[u8]>) {
        let files = self.files();
        let mut all: Vec<_> =
            files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).filter(|(n, _)| *n != file).collect();
        all.extend(bytes.map(|bytes| (file, bytes)));
        self.mount.write(all).unwrap();
    }

    fn options(&self) -> StartupOptions {
        let cache: PathBuf = self.home.path().join("cache");
        std::fs::create_dir_all(&cache).unwrap();
        StartupOptions { cache: Some(cache), ..StartupOptions::new(self.mount.path()) }
    }

    async fn start(&self) -> Process {
        Process::start(self.options()).await
    }

    /// The version and group that a client gets to that offers these versions.
    async fn shake(
        &self,
        process: &Process,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<Version> {
        shake(process.0.address, &self.authority, versions).await
    }

    async fn serves_tls12(&self, process: &Process) -> bool {
        self.shake(process, rustls::ALL_VERSIONS).await.expect("the listener serves");
        self.shake(process, &[&rustls::version::TLS12]).await.is_ok()
    }
}

async fn shake(
    addr: SocketAddr,
    authority: &CertificateAuthority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<Version> {
    let config = trusting(authority, versions)?;
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
    match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => Ok(Version::Tls13),
        _ => Ok(Version::Tls12),
    }
}

/// A running component.
struct Process(Running);

impl Process {
    async fn start(options: StartupOptions) -> Self {
        Self(Running::start(options, ([127, 0, 0, 1], 0).into()).await.unwrap())
    }

    fn report(&self, member: &str) -> serde_json::Value {
        self.0.startup.report()[member].clone()
    }

    /// Waits until the report says so.
    async fn until(&self, what: impl Fn(&serde_json::Value) -> bool) {
        let wait = async {
            while !what(&self.0.startup.report()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let report = || self.0.startup.report();
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{:#}", report()));
    }

    async fn until_served(&self, component: &Component) {
        let hash = component.contract.profile_hash.clone().unwrap();
        self.until(|report| report["profileHash"] == hash.as_str()).await;
    }
}

#[tokio::test]
async fn a_component_starts_from_its_directory_alone() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    let process = component.start().await;
    assert!(!component.serves_tls12(&process).await);
    assert_eq!(process.report("serving"), "Profile");
    assert_eq!(process.report("resolution")["outcome"], "Exact");
}

#[tokio::test]
async fn tls_f11_the_last_of_many_edits_is_served() {
    let mut component = Component::asking_for(Named::Intermediate);
    component.sync();
    let process = component.start().await;
    for named in [Named::Modern, Named::Intermediate, Named::Old, Named::Intermediate, Named::Modern] {
        component.ask_for(named);
        component.sync();
        component.shake(&process, rustls::ALL_VERSIONS).await.expect("no handshake is refused meanwhile");
    }
    process.until_served(&component).await;
    assert!(!component.serves_tls12(&process).await);
}

#[tokio::test]
async fn tls_f23_certificate_and_profile_arrive_together() {
    let mut component = Component::asking_for(Named::Intermediate);
    component.sync();
    let process = component.start().await;
    let before = issued_to(&component);
    component.renew();
    component.ask_for(Named::Modern);
    component.sync();
    process.until_served(&component).await;
    assert!(!component.serves_tls12(&process).await);
    assert_ne!(issued_to(&component), before);
}

fn issued_to(component: &Component) -> String {
    paddock_pki::inspect(&component.leaf.certificate_pem).unwrap().fingerprint
}

#[tokio::test]
async fn tls_f09_what_is_wrong_is_not_served_and_what_was_served_is() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    let process = component.start().await;
    let damages: [(&str, Option<&[u8]>, &str); 7] = [
        (files::PROFILE, Some(b"{"), "profile.json has the hash"),
        (files::PROFILE, None, "profile.json is missing"),
        (files::CONTRACT, Some(b"\xff\xfe"), "contract.json: not JSON"),
        (files::CONTRACT, None, "contract.json is missing"),
        (files::CERTIFICATE, Some(b"no certificate"), "certificate"),
        (files::KEY, None, "tls.key is missing"),
        (files::CONTRACT, Some(br#"{"schemaVersion":"2.0"}"#), "another major version"),
    ];
    for (file, bytes, problem) in damages {
        component.sync_with(file, bytes);
        process.until(|report| report["problem"].as_str().is_some_and(|told| told.contains(problem))).await;
        assert!(!component.serves_tls12(&process).await, "{file}");
        assert_eq!(process.report("stale"), true);
    }
    component.sync();
    process.until(|report| report["problem"].is_null() && report["stale"] == false).await;
}

#[tokio::test]
async fn tls_d12_after_a_restart_the_last_good_profile_stands_in() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    drop(component.start().await);
    component.sync_with(files::PROFILE, None);
    let process = component.start().await;
    assert_eq!(process.report("serving"), "LastKnownGood");
    assert!(!component.serves_tls12(&process).await);
    component.ask_for(Named::Intermediate);
    component.sync();
    process.until(|report| report["serving"] == "Profile").await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_valid_was_ever_there_nothing_is_made_up() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync_with(files::PROFILE, None);
    let startup = Startup::new(component.options(), TlsMetrics::default());
    assert!(startup.check().state.is_err());
    let error = startup.load().await.unwrap_err();
    assert_eq!(error.why.to_string(), "profile.json is missing");
    assert!(error.waited >= Duration::from_secs(30) && error.waited < Duration::from_secs(31), "{:?}", error.waited);
    assert_eq!(startup.check().state.unwrap_err(), "waiting for valid start-up data: profile.json is missing");
    assert!(startup.source().is_none());
}

#[tokio::test]
async fn a_directory_that_comes_late_is_waited_for() {
    let mut component = Component::asking_for(Named::Modern);
    std::fs::remove_dir_all(component.mount.path()).unwrap();
    let startup = Startup::new(component.options(), TlsMetrics::default());
    let loading = tokio::spawn({
        let startup = startup.clone();
        async move { startup.load().await }
    });
    while startup.check().state.err().is_none_or(|why| !why.contains("waiting")) {
        tokio::task::yield_now().await;
    }
    component.mount = Mount::new(component.mount.path()).unwrap();
    component.sync();
    loading.await.unwrap().unwrap();
    assert!(startup.check().state.is_ok());
}

#[tokio::test]
async fn tls_f16_a_kubelet_that_is_behind_is_noticed_and_catches_up() {
    let mut component = Component::asking_for(Named::Intermediate);
    component.sync();
    component.mount.fall_behind();
    component.ask_for(Named::Modern);
    component.sync();
    // The annotation arrives, the map does not.
    let new = component.contract.profile_hash.clone();
    std::fs::write(component.mount.path().join(files::EXPECTED_HASH), new.clone().unwrap()).unwrap();
    // The files behind the swap are what counts: kubelet writes the annotation there too.
    let behind = std::fs::read_link(component.mount.path().join("..data")).unwrap();
    std::fs::write(component.mount.path().join(behind).join(files::EXPECTED_HASH), new.clone().unwrap()).unwrap();
    let process = component.start().await;
    assert_eq!((process.report("stale"), process.report("expectedHash")), (true.into(), new.clone().into()));
    component.expected = new;
    component.sync();
    component.mount.refresh().unwrap();
    process.until(|report| report["stale"] == false).await;
    assert!(!component.serves_tls12(&process).await);
}

#[tokio::test]
async fn tls_f12_a_map_that_was_weakened_is_not_followed_by_the_running_nor_by_the_restarted() {
    let mut component = Component::asking_for(Named::Modern);
    component.expected = component.contract.profile_hash.clone();
    component.sync();
    let process = component.start().await;
    let good = (component.contract.clone(), component.profile.clone());
    component.ask_for(Named::Old);
    component.sync();
    process.until(|report| report["problem"].as_str().is_some_and(|why| why.contains("lets in more"))).await;
    assert!(!component.serves_tls12(&process).await);
    drop(process);
    let process = component.start().await;
    assert_eq!((process.report("serving"), process.report("stale")), ("LastKnownGood".into(), true.into()));
    assert!(!component.serves_tls12(&process).await);
    (component.contract, component.profile) = good;
    component.sync();
    process.until(|report| report["stale"] == false).await;
}

#[tokio::test]
async fn tls_f02_a_process_that_is_killed_serves_the_same_again() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    let before = component.start().await.report("profileHash");
    let process = component.start().await;
    assert_eq!(process.report("profileHash"), before);
    assert!(!component.serves_tls12(&process).await);
}

/// At every step of kubelet's writing what is served is the old or the new, certificate and profile of one set.
#[tokio::test]
async fn tls_f15_a_slow_kubelet_is_never_seen_half_way() {
    let mut component = Component::asking_for(Named::Intermediate);
    component.sync();
    let old = component.contract.profile_hash.clone().unwrap();
    let changing = Component::asking_for(Named::Modern);
    let new = changing.contract.profile_hash.clone().unwrap();
    let files = changing.files();
    let mut writing = component.mount.begin(files.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    let mut seen = Vec::new();
    loop {
        let process = component.start().await;
        let hash = process.report("profileHash");
        seen.push(hash.clone());
        let presents = if hash == new.as_str() { &changing.authority } else { &component.authority };
        shake(process.0.address, presents, rustls::ALL_VERSIONS).await.unwrap();
        if !writing.step().unwrap() {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen, [old, new]);
}

/// Wherever kubelet dies, the process serves a whole set, and follows when kubelet is back with a third one.
#[tokio::test]
async fn tls_f15_a_kubelet_that_died_at_any_step_leaves_a_whole_set_and_is_followed_when_it_is_back() {
    for died_after in 0.. {
        let mut component = Component::asking_for(Named::Modern);
        component.sync();
        let old = component.contract.profile_hash.clone().unwrap();
        component.ask_for(Named::Intermediate);
        let files = component.files();
        let mut writing = component.mount.begin(files.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
        let lived = (0..died_after).all(|_| writing.step().unwrap());
        let new = component.contract.profile_hash.clone().unwrap();

        let process = component.start().await;
        let hash = process.report("profileHash");
        assert!([old.as_str(), new.as_str()].contains(&hash.as_str().unwrap()), "{died_after}: {hash}");
        assert_eq!(component.serves_tls12(&process).await, hash == new.as_str(), "{died_after}");
        component.ask_for(Named::Old);
        component.sync();
        process.until_served(&component).await;
        if lived && !writing.step().unwrap_or(false) {
            return;
        }
    }
}

#[tokio::test]
async fn tls_f09_the_stand_in_for_what_cannot_be_served_is_told_as_such() {
    let mut component = Component::new();
    component.ask(r#"{"ciphers":null,"groups":["secp521r1"],"minTLSVersion":"VersionTLS13"}"#);
    component.sync();
    let process = component.start().await;
    assert_eq!(
        (process.report("serving"), process.report("resolution")["outcome"].clone()),
        ("Baseline".into(), "Unservable".into())
    );
}

#[tokio::test]
async fn tls_f09_after_a_restart_too_the_stand_in_lets_in_no_more_than_the_last_good_profile() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    drop(component.start().await);
    component.ask(r#"{"ciphers":null,"groups":["secp521r1"],"minTLSVersion":"VersionTLS13"}"#);
    component.sync();
    let process = component.start().await;
    assert_eq!((process.report("serving"), process.report("stale")), ("LastKnownGood".into(), true.into()));
    assert!(!component.serves_tls12(&process).await);
    component.ask_for(Named::Intermediate);
    component.sync();
    process.until_served(&component).await;
    assert_eq!(process.report("stale"), false);
}

/// Ten thousand names, more than a file may hold.
fn oversized() -> String {
    let ciphers = vec!["ECDHE-ECDSA-AES128-GCM-SHA256".to_owned(); 10_000];
    Profile { ciphers: Some(ciphers), ..Named::Intermediate.profile(Generation::C) }.canonical()
}

#[tokio::test]
async fn tls_f10_the_last_good_profile_stands_in_at_once_for_files_that_are_too_large_or_unreadable() {
    let large = vec![b' '; 300 * 1024];
    for (file, bytes) in
        [(files::PROFILE, oversized().into_bytes()), (files::CONTRACT, large.clone()), (files::EXPECTED_HASH, large)]
    {
        let mut component = Component::asking_for(Named::Modern);
        component.sync();
        drop(component.start().await);
        component.sync_with(file, Some(&bytes));
        let process = component.start().await;
        assert_eq!(process.report("serving"), "LastKnownGood", "{file}");
        let problem = process.report("problem").to_string();
        assert!(problem.contains("larger than 262144 bytes"), "{problem}");
        assert!(!component.serves_tls12(&process).await);
        component.sync();
        process.until(|report| report["serving"] == "Profile" && report["stale"] == false).await;
    }
}

#[tokio::test]
async fn tls_f09_a_file_that_can_be_read_again_is_stale_no_longer() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    let process = Process::start(StartupOptions { poll: Duration::from_millis(20), ..component.options() }).await;
    component.sync_with(files::CERTIFICATE, Some(&vec![b' '; 300 * 1024]));
    process.until(|report| report["problem"].as_str().is_some_and(|why| why.contains("larger than"))).await;
    component.sync();
    process.until(|report| report["problem"].is_null() && report["stale"] == false).await;
    // The whole directory goes away and comes back as it was.
    let (here, away) = (component.mount.path().to_owned(), component.home.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    process.until(|report| report["stale"] == true).await;
    assert!(shake(process.0.address, &component.authority, &[&rustls::version::TLS13]).await.is_ok());
    std::fs::rename(&away, &here).unwrap();
    process.until(|report| report["problem"].is_null() && report["stale"] == false).await;
}

#[tokio::test]
async fn tls_f26_a_strict_component_keeps_what_it_served() {
    let mut component = Component::asking_for(Named::Modern);
    component.contract.decision = Decision { adherence: Adherence::Strict, ..Decision::default() };
    component.sync();
    let process = component.start().await;
    component.ask(r#"{"ciphers":["AES128-SHA"],"groups":["secp521r1"],"minTLSVersion":"VersionTLS12"}"#);
    component.sync();
    process.until(|report| report["problem"].as_str().is_some_and(|why| why.contains("cannot be served"))).await;
    assert!(!component.serves_tls12(&process).await);
}

#[tokio::test]
async fn a_contract_alone_changes_no_session() {
    let mut component = Component::asking_for(Named::Intermediate);
    component.sync();
    let process = component.start().await;
    let source = process.0.startup.source().unwrap();
    component.contract.generation = 99;
    component.contract.metrics_auth = MetricsAuth::TokenOrCertificate;
    component.sync();
    process.until(|report| report["contractGeneration"] == 99).await;
    assert_eq!(source.generation(), 1);
    assert_eq!(process.0.startup.contract().metrics_auth, MetricsAuth::TokenOrCertificate);
}

#[tokio::test]
async fn tls_d10_a_renewed_certificate_is_followed_while_the_profile_is_bad() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    let process = component.start().await;
    component.renew();
    component.sync_with(files::PROFILE, Some(b"{}"));
    process.until(|report| report["stale"] == true).await;
    assert!(!component.serves_tls12(&process).await);
}

#[tokio::test]
async fn a_listener_with_a_certificate_of_its_own_follows_the_profile() {
    let mut component = Component::asking_for(Named::Intermediate);
    component.sync();
    let options = StartupOptions { own_key: Some(paddock_tls_profile::KeyKind::Ecdsa), ..component.options() };
    let startup = Startup::new(options, TlsMetrics::default());
    startup.load().await.unwrap();
    let (_, leaf) = issued().unwrap();
    let (chain, key) = (leaf.certificate_pem.as_bytes(), leaf.key_pem.expose().as_bytes());
    let own = paddock_serve::Certificate::from_pem(chain, key, None).unwrap();
    let source = startup.with_certificate(own).unwrap();
    let stop = CancellationToken::new();
    let (watching, until) = (startup.clone(), stop.clone());
    let watching = tokio::spawn(async move { watching.watch(until).await });
    component.ask_for(Named::Modern);
    component.sync();
    while source.served().effective().versions() != [Version::Tls13] {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn tls_d06_a_profile_of_kubernetes_nmstate_is_read() {
    let mut component = Component::new();
    let groups = Some(["X25519", "secp256r1"].map(str::to_owned).to_vec());
    let (text, _) = Profile { groups, ..Named::Modern.profile(Generation::B) }.canonical_for_nmstate();
    component.ask(&text);
    component.sync();
    let process = component.start().await;
    assert_eq!(process.report("served")["groups"], serde_json::json!(["X25519", "secp256r1"]));
}

#[tokio::test]
async fn tls_f07_tls_d05_where_nobody_asks_for_anything_intermediate_is_served() {
    let mut component = Component::new();
    component.sync();
    let process = component.start().await;
    assert_eq!((process.report("serving"), process.report("stale")), ("Builtin".into(), false.into()));
    assert!(component.serves_tls12(&process).await);
    assert_eq!(process.report("profileHash"), Profile::baseline().hash());
}

#[tokio::test]
async fn tls_f13_a_map_that_is_deleted_changes_nothing_and_one_that_returns_is_followed() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    let process = component.start().await;
    // Kubelet keeps the files of a running pod; an emptied volume is the worst that a restarted kubelet makes of it.
    component.mount.write([]).unwrap();
    process.until(|report| report["stale"] == true).await;
    assert!(!component.serves_tls12(&process).await);
    component.ask_for(Named::Intermediate);
    component.sync();
    process.until_served(&component).await;
    assert_eq!(process.report("stale"), false);
}

#[tokio::test]
async fn tls_f14_an_annotation_that_was_edited_or_removed_changes_nothing_that_is_served() {
    let mut component = Component::asking_for(Named::Modern);
    component.expected = component.contract.profile_hash.clone();
    component.sync();
    let process = component.start().await;
    for (edited, stale) in [(Some("junk"), true), (Some(""), false), (Some(&*"0".repeat(64)), true), (None, false)] {
        component.expected = edited.map(str::to_owned);
        component.contract.generation += 1;
        component.sync();
        let generation = component.contract.generation;
        process.until(|report| report["contractGeneration"] == generation).await;
        assert_eq!(process.report("stale"), stale, "{edited:?}");
        assert!(!component.serves_tls12(&process).await, "{edited:?}");
    }
}

#[tokio::test]
async fn tls_d09_a_bad_profile_leaves_a_healthy_component_ready() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    let process = component.start().await;
    component.sync_with(files::PROFILE, Some(b"{"));
    process.until(|report| report["stale"] == true).await;
    assert_eq!(process.0.startup.check().state, Ok(()));
}

#[tokio::test]
async fn tls_d11_names_with_apostrophes_and_newlines_arrive_as_they_are() {
    let mut component = Component::new();
    let ciphers = ["it's", "a\nb", "<&>", "TLS_AES_128_GCM_SHA256"].map(str::to_owned).to_vec();
    component.ask(&Profile { ciphers: Some(ciphers.clone()), ..Named::Modern.profile(Generation::C) }.canonical());
    component.sync();
    let process = component.start().await;
    assert_eq!(process.report("asked")["ciphers"], serde_json::json!(ciphers));
    assert_eq!(process.report("served")["suites"], serde_json::json!(["TLS_AES_128_GCM_SHA256"]));
}

#[tokio::test]
async fn tls_d12_a_cache_that_is_damaged_is_not_served() {
    for (file, damage) in [
        ("last-known-good.json", &b"{\"contract\": \"{"[..]),
        ("last-known-good.json", &b"\xff"[..]),
        ("last-known-good.json", &br#"{"contract": "{\"schemaVersion\":\"1.0\"}", "profile": "{}"}"#[..]),
    ] {
        let mut component = Component::asking_for(Named::Modern);
        component.sync();
        drop(component.start().await);
        let options = component.options();
        std::fs::write(options.cache.as_ref().unwrap().join(file), damage).unwrap();
        component.sync_with(files::PROFILE, None);
        let startup = Startup::new(StartupOptions { wait: Duration::ZERO, ..options }, TlsMetrics::default());
        assert_eq!(startup.load().await.unwrap_err().why.to_string(), "profile.json is missing");
    }
}

#[tokio::test]
async fn tls_d12_a_cache_whose_writing_was_cut_short_is_the_one_before() {
    let mut component = Component::asking_for(Named::Modern);
    component.sync();
    drop(component.start().await);
    let cache = component.options().cache.unwrap();
    std::fs::write(cache.join("last-known-good.new"), b"{\"contr").unwrap();
    component.sync_with(files::PROFILE, None);
    let process = component.start().await;
    assert_eq!(process.report("serving"), "LastKnownGood");
    assert!(!component.serves_tls12(&process).await);
}

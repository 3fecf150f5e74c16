//! The rows: every flag and environment variable of every command, each once.

use std::net::SocketAddr;
use std::path::PathBuf;

use paddock_api::{DataPolicy, DeletionPolicy, DriftPolicy};
use paddock_controllers::gateways::Share;
use paddock_tls_profile::{Generation, KeyKind, Tls13Policy};

use super::value::{Controllers, Count, Loops, Span, TlsVersion};
use super::{Default, LogFormat, OptionalAddr, Row, Setting};

/// The commands that have settings, in the order of the reference.
pub(crate) const COMMANDS: &[&str] = &[
    "demo",
    "up",
    "apiserver",
    "operator",
    "gateways plan",
    "gateways status",
    "gateways convert",
    "tls scan",
    "tls explain",
    "manifests",
    "bench",
    "completions",
    "docs",
];

/// Commands that need to know how gateways shall be.
const GATEWAYS: &[&str] = &["up", "operator", "gateways plan", "gateways convert"];

const LOGGING: &[&str] = &[
    "demo",
    "up",
    "apiserver",
    "operator",
    "gateways plan",
    "gateways status",
    "gateways convert",
    "tls scan",
    "bench",
];

/// `--listen`
pub(crate) static LISTEN: Setting<SocketAddr> = Setting::new(
    "listen",
    &["PADDOCK_LISTEN"],
    "ADDR",
    Default::Is("127.0.0.1:6443"),
    "Where the embedded API server listens; port 0 takes a free one and prints it",
    &["up", "apiserver"],
);

/// `--data-dir`
pub(crate) static DATA_DIR: Setting<PathBuf> = Setting::new(
    "data-dir",
    &["PADDOCK_DATA_DIR"],
    "DIR",
    Default::Absent(
        "`up`: `paddock` in `XDG_DATA_HOME` or `~/.local/share`; `apiserver`: this or `--in-memory` is required",
    ),
    "Where the embedded API server keeps its objects, certificates and keys",
    &["up", "apiserver"],
);

/// `--in-memory`
pub(crate) static IN_MEMORY: Setting<bool> = Setting::new(
    "in-memory",
    &[],
    "",
    Default::Is("false"),
    "Keep nothing: objects live as long as the process",
    &["apiserver"],
);

/// `--pki-dir`
pub(crate) static PKI_DIR: Setting<PathBuf> = Setting::new(
    "pki-dir",
    &[],
    "DIR",
    Default::Absent("certificates and keys stay in memory"),
    "With --in-memory, where to keep the client CA (ca.crt, ca.key) so that other tools can sign with it",
    &["apiserver"],
);

/// `--kubeconfig-out`
pub(crate) static KUBECONFIG_OUT: Setting<PathBuf> = Setting::new(
    "kubeconfig-out",
    &["PADDOCK_KUBECONFIG_OUT"],
    "FILE",
    Default::Absent("`kubeconfig` in the data directory; required with `--in-memory`"),
    "Where to write the administrator's kubeconfig, readable by its owner alone",
    &["up", "apiserver"],
);

/// `--no-controllers`
pub(crate) static NO_CONTROLLERS: Setting<bool> = Setting::new(
    "no-controllers",
    &[],
    "",
    Default::Is("false"),
    "Do not run any of the API server's own loops",
    &["apiserver"],
);

/// `--loops`
pub(crate) static LOOPS: Setting<Loops> = Setting::new(
    "loops",
    &[],
    "NAMES",
    Default::Is("all"),
    "Which of the API server's own loops run, separated by commas",
    &["apiserver"],
);

/// `--kubeconfig`
pub(crate) static KUBECONFIG: Setting<PathBuf> = Setting::new(
    "kubeconfig",
    &[],
    "FILE",
    Default::Absent("the ServiceAccount of the pod"),
    "The cluster to work on",
    &["operator"],
);

/// `--kubeconfig` of the commands that people run.
pub(crate) static KUBECONFIG_INTERACTIVE: Setting<PathBuf> = Setting::new(
    "kubeconfig",
    &[],
    "FILE",
    Default::Absent("as kubectl: `KUBECONFIG`, then `~/.kube/config`"),
    "The cluster to ask",
    &["gateways plan", "gateways status", "gateways convert"],
);

/// `--namespace` of the commands that people run.
pub(crate) static CONTROL_NAMESPACE: Setting<String> = Setting::new(
    "namespace",
    &["CP_RUNTIME_NAMESPACE"],
    "NAME",
    Default::Is("paddock-system"),
    "The control plane's own namespace, where `platform-config` lives",
    &["gateways plan", "gateways status", "gateways convert"],
);

/// `--file`
pub(crate) static PLAN_FILE: Setting<PathBuf> = Setting::new(
    "file",
    &[],
    "FILE",
    Default::Absent("the `platform-config` of the cluster"),
    "Take this `platform-config`, a manifest or the bare list; `-` reads it from stdin",
    &["gateways plan", "gateways convert"],
);

/// `--offline`
pub(crate) static PLAN_OFFLINE: Setting<bool> = Setting::new(
    "offline",
    &[],
    "",
    Default::Is("false"),
    "Ask no cluster: compare with nothing, or with --against",
    &["gateways plan"],
);

/// `--against`
pub(crate) static PLAN_AGAINST: Setting<PathBuf> = Setting::new(
    "against",
    &[],
    "PATH",
    Default::Absent("nothing exists"),
    "With --offline: the objects that exist, as a file or a directory of manifests",
    &["gateways plan"],
);

/// `--kubernetes-version`
pub(crate) static KUBERNETES_VERSION: Setting<String> = Setting::new(
    "kubernetes-version",
    &[],
    "VERSION",
    Default::Absent("unknown: what works on every cluster"),
    "Without a cluster: its version, such as `v1.35.0`",
    &["gateways plan", "gateways convert"],
);

/// `--tenant`
pub(crate) static PLAN_TENANT: Setting<String> = Setting::new(
    "tenant",
    &[],
    "NAME",
    Default::Absent("every tenant"),
    "Take this tenant alone",
    &["gateways plan", "gateways convert"],
);

/// `--watch`
pub(crate) static WATCH: Setting<bool> = Setting::new(
    "watch",
    &[],
    "",
    Default::Is("false"),
    "Go on: in place on a terminal, else a line for every change",
    &["gateways status"],
);

/// `--controllers`
pub(crate) static CONTROLLERS: Setting<Controllers> = Setting::new(
    "controllers",
    &["PADDOCK_CONTROLLERS"],
    "NAMES",
    Default::Is("gateways,tls-profile"),
    "Which controllers run, separated by commas",
    &["up", "operator"],
);

/// The control plane's namespace.
pub(crate) static NAMESPACE: Setting<String> = Setting::new(
    "",
    &["CP_RUNTIME_NAMESPACE", "NAMESPACE"],
    "",
    Default::Absent("the namespace of the pod's ServiceAccount, else `paddock-system`"),
    "The control plane's own namespace, where `platform-config` lives",
    &["operator"],
);

/// The image of gateways that name none.
pub(crate) static GATEWAY_IMAGE: Setting<String> = Setting::new(
    "gateways-image",
    &["OPENSHELL_GATEWAY_IMAGE"],
    "IMAGE",
    Default::Is(DEFAULT_GATEWAY_IMAGE),
    "The gateway image of tenants that name none",
    GATEWAYS,
);

/// The gateway that this build knows best.
pub(crate) const DEFAULT_GATEWAY_IMAGE: &str = "ghcr.io/nvidia/openshell/gateway:0.0.71";

/// Which images tenants may name.
pub(crate) static GATEWAY_IMAGES_ALLOWED: Setting<String> = Setting::new(
    "gateways-images-allowed",
    &["PADDOCK_GATEWAYS_IMAGES_ALLOWED"],
    "PREFIXES",
    Default::Absent("every fully qualified image"),
    "Registries and path prefixes that gateway images may come from, separated by commas",
    GATEWAYS,
);

/// Whether images need digests.
pub(crate) static GATEWAY_IMAGES_DIGEST: Setting<bool> = Setting::new(
    "gateways-images-digest-required",
    &["PADDOCK_GATEWAYS_IMAGES_DIGEST_REQUIRED"],
    "",
    Default::Is("false"),
    "Refuse images that are not pinned by digest, in entries and in `config`",
    GATEWAYS,
);

/// Whether images may be `latest`.
pub(crate) static GATEWAY_IMAGES_NO_LATEST: Setting<bool> = Setting::new(
    "gateways-images-no-latest",
    &["PADDOCK_GATEWAYS_IMAGES_NO_LATEST"],
    "",
    Default::Is("false"),
    "Refuse images whose tag is `latest` or missing, unless they are pinned by digest",
    GATEWAYS,
);

/// The image of sandboxes that name none.
pub(crate) static GATEWAY_SANDBOX_IMAGE: Setting<String> = Setting::new(
    "gateways-sandbox-image",
    &["GATEWAY_SANDBOX_IMAGE"],
    "IMAGE",
    Default::Is(paddock_controllers::gateways::DEFAULT_SANDBOX_IMAGE),
    "The image of sandboxes that name none, as gateways are told it (`default_image`)",
    GATEWAYS,
);

/// How many gateways may change at once.
pub(crate) static GATEWAY_MAX_UNAVAILABLE: Setting<Share> = Setting::new(
    "gateways-max-unavailable",
    &["PADDOCK_GATEWAYS_MAX_UNAVAILABLE"],
    "N[%]",
    Default::Is("10%"),
    "How many gateways may be on their way to a new revision of the platform at once, at least one",
    GATEWAYS,
);

/// How long a gateway proves itself.
pub(crate) static GATEWAY_SOAK: Setting<Span> = Setting::new(
    "gateways-soak-time",
    &["PADDOCK_GATEWAYS_SOAK_TIME"],
    "TIME",
    Default::Is("30s"),
    "How long a gateway must stay ready before its new revision counts as good and the next one goes",
    GATEWAYS,
);

/// How long a gateway may take.
pub(crate) static GATEWAY_PROGRESS_DEADLINE: Setting<Span> = Setting::new(
    "gateways-progress-deadline",
    &["PADDOCK_GATEWAYS_PROGRESS_DEADLINE"],
    "TIME",
    Default::Is("10m"),
    "How long a gateway may take to become ready before its new revision counts as failed and the last good one comes back",
    GATEWAYS,
);

/// How many may fail.
pub(crate) static GATEWAY_TOLERATED_FAILURES: Setting<Count> = Setting::new(
    "gateways-tolerated-failures",
    &["PADDOCK_GATEWAYS_TOLERATED_FAILURES"],
    "N",
    Default::Is("0"),
    "How many gateways may fail to take a new revision of the platform before its rollout pauses",
    GATEWAYS,
);

/// Who goes first.
pub(crate) static GATEWAY_CANARIES: Setting<String> = Setting::new(
    "gateways-canaries",
    &["PADDOCK_GATEWAYS_CANARIES"],
    "NAMES",
    Default::Absent("the gateways in namespaces labelled `paddock.dev/rollout=canary`"),
    "Tenants, separated by commas, whose gateways take a new revision of the platform first, besides those in labelled namespaces",
    GATEWAYS,
);

/// The Secret of an external database.
pub(crate) static GATEWAY_POSTGRES: Setting<String> = Setting::new(
    "gateways-postgres-secret",
    &["PADDOCK_GATEWAYS_POSTGRES_SECRET"],
    "NAME",
    Default::Absent("SQLite on a volume of its own for each gateway"),
    "The Secret in each tenant's namespace whose key `uri` is the connection string of the gateway's Postgres",
    GATEWAYS,
);

/// The namespaces that may hold gateways.
pub(crate) static GATEWAY_NAMESPACES: Setting<String> = Setting::new(
    "gateways-namespaces",
    &["PADDOCK_GATEWAYS_NAMESPACES"],
    "LABELS",
    Default::Absent("every namespace that is not reserved"),
    "The labels of the namespaces that may hold gateways, as `LABEL=VALUE,…`, or `LABEL` for any value; a namespace that loses them is reported and left alone",
    GATEWAYS,
);

/// The namespaces that may not hold gateways.
pub(crate) static GATEWAY_RESERVED: Setting<String> = Setting::new(
    "gateways-namespaces-reserved",
    &["PADDOCK_GATEWAYS_NAMESPACES_RESERVED"],
    "NAMES",
    Default::Absent("`kube-*,default,openshift,openshift-*`"),
    "The namespaces that never hold gateways, separated by commas, a trailing `*` for every name that begins so",
    GATEWAYS,
);

/// Gateways worked on at once.
pub(crate) static GATEWAY_CONCURRENCY: Setting<u32> = Setting::new(
    "gateways-concurrency",
    &["PADDOCK_GATEWAYS_CONCURRENCY"],
    "N",
    Default::Is("8"),
    "How many gateways are worked on at once",
    &["up", "operator"],
);

/// The longest wait between retries.
pub(crate) static GATEWAY_BACKOFF_MAX: Setting<u32> = Setting::new(
    "gateways-backoff-max",
    &["PADDOCK_GATEWAYS_BACKOFF_MAX"],
    "SECONDS",
    Default::Is("300"),
    "The longest wait between retries of a gateway whose objects cannot be written; the first is 1 second and it doubles",
    &["up", "operator"],
);

/// How often each gateway is looked at.
pub(crate) static GATEWAY_RESYNC: Setting<u32> = Setting::new(
    "gateways-resync",
    &["PADDOCK_GATEWAYS_RESYNC"],
    "SECONDS",
    Default::Is("600"),
    "How often each gateway is looked at even when nothing changes, from caches",
    &["up", "operator"],
);

/// Who may come in from outside.
pub(crate) static GATEWAY_INGRESS: Setting<String> = Setting::new(
    "gateways-ingress-from",
    &["PADDOCK_GATEWAYS_INGRESS_FROM"],
    "PODS",
    Default::Absent("nobody"),
    "The ingress controller's pods, which may reach gateways on 8080, as `NAMESPACE` or `NAMESPACE/LABEL=VALUE,…`",
    GATEWAYS,
);

/// Who may read the metrics.
pub(crate) static GATEWAY_MONITORING: Setting<String> = Setting::new(
    "gateways-monitoring-from",
    &["PADDOCK_GATEWAYS_MONITORING_FROM"],
    "PODS",
    Default::Absent("nobody"),
    "The monitoring system's pods, which may read gateways' metrics on 9090, as `NAMESPACE` or `NAMESPACE/LABEL=VALUE,…`",
    GATEWAYS,
);

/// Where gateways may connect to.
pub(crate) static GATEWAY_EGRESS: Setting<String> = Setting::new(
    "gateways-egress-to",
    &["PADDOCK_GATEWAYS_EGRESS_TO"],
    "NETWORKS",
    Default::Absent("anywhere"),
    "The only networks, besides DNS, that gateways may connect to, such as `10.96.0.1/32:443,2001:db8::/32:5432`: the API server, the identity provider, the database",
    GATEWAYS,
);

/// Break-glass: tenants may let everyone in.
pub(crate) static GATEWAY_BREAK_GLASS: Setting<bool> = Setting::new(
    "gateways-break-glass-unauthenticated",
    &["PADDOCK_GATEWAYS_BREAK_GLASS_UNAUTHENTICATED"],
    "",
    Default::Is("false"),
    "Let tenants set `allow_unauthenticated_users`: whoever holds a client certificate, as every sandbox does, is then an administrator of that gateway",
    GATEWAYS,
);

/// What becomes of live sandboxes when their tenant is removed.
pub(crate) static GATEWAY_DELETION: Setting<DeletionPolicy> = Setting::new(
    "gateways-deletion-policy",
    &["PADDOCK_GATEWAYS_DELETION_POLICY"],
    "POLICY",
    Default::Is("Block"),
    "A removed tenant's gateway waits for its live sandboxes (`Block`), deletes them first (`Drain`) or does not ask (`Force`)",
    GATEWAYS,
);

/// What becomes of data when its tenant is removed.
pub(crate) static GATEWAY_DATA: Setting<DataPolicy> = Setting::new(
    "gateways-data-policy",
    &["PADDOCK_GATEWAYS_DATA_POLICY"],
    "POLICY",
    Default::Is("Retain"),
    "A removed tenant's volume and the key of its stored credentials stay (`Retain`) or go (`Delete`), always together",
    GATEWAYS,
);

/// What becomes of what others change.
pub(crate) static GATEWAY_DRIFT: Setting<DriftPolicy> = Setting::new(
    "gateways-drift-policy",
    &["PADDOCK_GATEWAYS_DRIFT_POLICY"],
    "POLICY",
    Default::Is("Revert"),
    "What others change or delete of a gateway's objects is put right (`Revert`) or only reported (`Report`; Secrets are put right all the same)",
    GATEWAYS,
);

/// The circuit breaker.
pub(crate) static GATEWAY_MAX_REMOVALS: Setting<u32> = Setting::new(
    "gateways-max-removals",
    &["PADDOCK_GATEWAYS_MAX_REMOVALS"],
    "N",
    Default::Is("10"),
    "When more gateways than this would go at once, none does until an annotation on `platform-config` says that it is meant",
    GATEWAYS,
);

/// Take over what an earlier provisioner left.
pub(crate) static GATEWAY_ADOPT: Setting<bool> = Setting::new(
    "gateways-adopt",
    &["PADDOCK_GATEWAYS_ADOPT"],
    "",
    Default::Is("false"),
    "Take over what an earlier provisioner left in tenants' namespaces (`app.kubernetes.io/managed-by: agent-control-plane`) and the Secrets that OpenShell's own generator made",
    GATEWAYS,
);

/// Do not ask gateways whether they serve.
pub(crate) static GATEWAY_SKIP_PROBE: Setting<bool> = Setting::new(
    "gateways-skip-probe",
    &["PADDOCK_GATEWAYS_SKIP_PROBE"],
    "",
    Default::Is("false"),
    "Do not ask gateways whether they serve, for an operator that cannot reach their Services: there is no condition `Serving` then, and certificates are not verified",
    GATEWAYS,
);

/// `--health-listen` of a component in a pod.
pub(crate) static HEALTH_LISTEN: Setting<OptionalAddr> = Setting::new(
    "health-listen",
    &["PADDOCK_HEALTH_LISTEN"],
    "ADDR",
    Default::Is("0.0.0.0:8081"),
    "Where /healthz, /livez and /readyz answer over plain HTTP; /metrics answers there to clients on the same machine alone",
    &["operator"],
);

/// `--health-listen` of a process that has the API server in it.
pub(crate) static HEALTH_LISTEN_UP: Setting<OptionalAddr> = Setting::new(
    "health-listen",
    &["PADDOCK_HEALTH_LISTEN"],
    "ADDR",
    Default::Is("off"),
    "Where /healthz, /livez, /readyz and /metrics answer over plain HTTP, from the first moment on; of the controllers in `up`, of \
     the API server in `apiserver`",
    &["up", "apiserver"],
);

/// Commands that listen with TLS.
const LISTENS: &[&str] = &["up", "apiserver", "operator"];

/// `--tls-startup-dir`
pub(crate) static TLS_STARTUP_DIR: Setting<PathBuf> = Setting::new(
    "tls-startup-dir",
    &["PADDOCK_TLS_STARTUP_DIR"],
    "DIR",
    Default::Absent("the built-in profile, Intermediate"),
    "The mounted start-up directory (`contract.json`, `profile.json`; for `operator` also `tls.crt` and `tls.key`), followed while serving",
    LISTENS,
);

/// `--tls-cache-dir`
pub(crate) static TLS_CACHE_DIR: Setting<PathBuf> = Setting::new(
    "tls-cache-dir",
    &["PADDOCK_TLS_CACHE_DIR"],
    "DIR",
    Default::Absent("the last good profile is not kept over restarts"),
    "Where the last good TLS profile is kept for a start with a bad one, such as an `emptyDir`",
    LISTENS,
);

/// `--termination-log`
pub(crate) static TERMINATION_LOG: Setting<PathBuf> = Setting::new(
    "termination-log",
    &["PADDOCK_TERMINATION_LOG"],
    "FILE",
    Default::Is("/dev/termination-log"),
    "Where Kubernetes looks for a container's last words (`terminationMessagePath`); written when there never were valid start-up \
     data, if the file is there",
    LISTENS,
);

/// `--tls-min-version`
pub(crate) static TLS_MIN_VERSION: Setting<TlsVersion> = Setting::new(
    "tls-min-version",
    &["PADDOCK_TLS_MIN_VERSION"],
    "VERSION",
    Default::Absent("as the profile says"),
    "The oldest TLS version to serve, such as `VersionTLS13`; comes before the profile",
    LISTENS,
);

/// `--tls-cipher-suites`
pub(crate) static TLS_CIPHER_SUITES: Setting<String> = Setting::new(
    "tls-cipher-suites",
    &["PADDOCK_TLS_CIPHER_SUITES"],
    "NAMES",
    Default::Absent("as the profile says"),
    "Cipher suites by OpenSSL's or IANA's names, separated by commas; comes before the profile",
    LISTENS,
);

/// `--tls-groups`
pub(crate) static TLS_GROUPS: Setting<String> = Setting::new(
    "tls-groups",
    &["PADDOCK_TLS_GROUPS"],
    "NAMES",
    Default::Absent("as the profile says"),
    "Key exchange groups, separated by commas; comes before the profile",
    LISTENS,
);

/// `--tls-self-signed`
pub(crate) static TLS_SELF_SIGNED: Setting<bool> = Setting::new(
    "tls-self-signed",
    &["PADDOCK_TLS_SELF_SIGNED"],
    "",
    Default::Is("false"),
    "Make a certificate that nobody vouches for, instead of reading `tls.crt` and `tls.key` of --tls-startup-dir",
    &["operator"],
);

/// `--tls-injected-config`
pub(crate) static TLS_INJECTED_CONFIG: Setting<PathBuf> = Setting::new(
    "tls-injected-config",
    &["PADDOCK_TLS_INJECTED_CONFIG"],
    "FILE",
    Default::Absent("nothing is injected"),
    "A mounted file with `servingInfo.minTLSVersion` and `servingInfo.cipherSuites`, as OpenShift injects it: a source of the TLS profile",
    &["up", "operator"],
);

/// `--metrics-listen`
pub(crate) static METRICS_LISTEN: Setting<OptionalAddr> = Setting::new(
    "metrics-listen",
    &["PADDOCK_METRICS_LISTEN"],
    "ADDR",
    Default::Is("0.0.0.0:8443"),
    "Where /metrics and /tlsz answer over TLS to those whom TokenReview and SubjectAccessReview let in",
    &["operator"],
);

/// `--log-level`
pub(crate) static LOG_LEVEL: Setting<String> = Setting::new(
    "log-level",
    &["PADDOCK_LOG"],
    "FILTER",
    Default::Is("info"),
    "What to log: error, warn, info, debug, trace, or a filter such as `info,paddock_reconcile=debug`",
    &["up", "apiserver", "operator"],
);

/// `--log-level` of the commands whose output is for people to watch.
pub(crate) static LOG_LEVEL_QUIET: Setting<String> = Setting::new(
    "log-level",
    &["PADDOCK_LOG"],
    "FILTER",
    Default::Is("error"),
    "What to log: error, warn, info, debug, trace, or a filter such as `info,paddock_reconcile=debug`",
    &["demo", "gateways plan", "gateways status", "gateways convert", "tls scan", "bench"],
);

/// `--log-format`
pub(crate) static LOG_FORMAT: Setting<LogFormat> = Setting::new(
    "log-format",
    &["PADDOCK_LOG_FORMAT"],
    "FORMAT",
    Default::Is("auto"),
    "How to log to stderr; `auto` is text on a terminal and JSON otherwise",
    LOGGING,
);

/// `--json`
pub(crate) static JSON: Setting<bool> = Setting::new(
    "json",
    &[],
    "",
    Default::Is("false"),
    "Print one JSON object per line instead of text",
    &["demo", "gateways plan", "gateways status", "gateways convert", "tls scan", "tls explain", "bench"],
);

/// `--keep`
pub(crate) static KEEP: Setting<bool> = Setting::new(
    "keep",
    &[],
    "",
    Default::Is("false"),
    "Leave everything running afterwards and print how to use kubectl against it",
    &["demo"],
);

/// `--profile`
pub(crate) static TLS_PROFILE: Setting<PathBuf> = Setting::new(
    "profile",
    &[],
    "FILE",
    Default::Absent("nothing is judged"),
    "Compare with this profile: a `profile.json` or the directory of one, an object or manifest that holds one, `-` for stdin, or `Old`, `Intermediate`, `Modern`",
    &["tls scan"],
);

/// `--allow-reduced`
pub(crate) static TLS_ALLOW_REDUCED: Setting<bool> = Setting::new(
    "allow-reduced",
    &[],
    "",
    Default::Is("false"),
    "Count as no difference what Paddock's TLS library cannot serve of the profile, such as TLS 1.0 and CBC suites",
    &["tls scan"],
);

/// `--server-name`
pub(crate) static TLS_SERVER_NAME: Setting<String> = Setting::new(
    "server-name",
    &[],
    "NAME",
    Default::Absent("the host, unless it is an address"),
    "The name to ask the server for, where it has several certificates",
    &["tls scan"],
);

/// `--timeout`
pub(crate) static TLS_TIMEOUT: Setting<u32> =
    Setting::new("timeout", &[], "SECONDS", Default::Is("5"), "How long each handshake may take", &["tls scan"]);

/// `--generation`
pub(crate) static TLS_GENERATION: Setting<Generation> = Setting::new(
    "generation",
    &[],
    "NAME",
    Default::Is("C"),
    "What named profiles mean: A as in OpenShift up to 4.21, B as in 4.22, C as in 4.23 and newer",
    &["tls scan", "tls explain"],
);

/// `--tls13-policy`
pub(crate) static TLS_13_POLICY: Setting<Tls13Policy> = Setting::new(
    "tls13-policy",
    &[],
    "POLICY",
    Default::Is("Platform"),
    "What a list without suites of TLS 1.3 means: Platform that all are on, Strict that none is",
    &["tls scan", "tls explain"],
);

/// `--key`
pub(crate) static TLS_KEY: Setting<KeyKind> = Setting::new(
    "key",
    &[],
    "KIND",
    Default::Absent("either"),
    "The kind of the serving key, RSA or ECDSA: suites of TLS 1.2 need one or the other",
    &["tls explain"],
);

/// `--fips`
pub(crate) static TLS_FIPS: Setting<bool> =
    Setting::new("fips", &[], "", Default::Is("false"), "Serve only what is approved for FIPS 140", &["tls explain"]);

/// `--image` of the installed operator.
pub(crate) static IMAGE: Setting<String> = Setting::new(
    "image",
    &[],
    "IMAGE",
    Default::Is(concat!("ghcr.io/paddock/paddock:", env!("CARGO_PKG_VERSION"))),
    "The image of Paddock in the printed Deployment",
    &["manifests"],
);

/// `--namespace` of the installed operator.
pub(crate) static INSTALL_NAMESPACE: Setting<String> = Setting::new(
    "namespace",
    &[],
    "NAME",
    Default::Is("paddock-system"),
    "The namespace that the printed manifests install into",
    &["manifests"],
);

/// `--objects` of the benchmark.
pub(crate) static BENCH_OBJECTS: Setting<u32> =
    Setting::new("objects", &[], "N", Default::Is("10000"), "How many ConfigMaps the list figure lists", &["bench"]);

/// `--watchers` of the benchmark.
pub(crate) static BENCH_WATCHERS: Setting<u32> =
    Setting::new("watchers", &[], "N", Default::Is("100"), "How many watchers the fan-out figure has", &["bench"]);

/// `--tenants` of the benchmark.
pub(crate) static BENCH_TENANTS: Setting<u32> =
    Setting::new("tenants", &[], "N", Default::Is("1000"), "How many tenants the gateways figures have", &["bench"]);

/// `--seconds` of the benchmark.
pub(crate) static BENCH_SECONDS: Setting<u32> =
    Setting::new("seconds", &[], "N", Default::Is("3"), "How long each throughput figure is measured", &["bench"]);

/// `--against` of the benchmark.
pub(crate) static BENCH_AGAINST: Setting<PathBuf> = Setting::new(
    "against",
    &[],
    "KUBECONFIG",
    Default::Absent("no other server is measured"),
    "A cluster that the API server's figures are taken from as well, side by side; ConfigMaps are written there, in namespaces \
     of the benchmark's own that are deleted afterwards",
    &["bench"],
);

/// Every row, in the order of the reference.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    [
        &LISTEN.row,
        &DATA_DIR.row,
        &IN_MEMORY.row,
        &PKI_DIR.row,
        &KUBECONFIG_OUT.row,
        &NO_CONTROLLERS.row,
        &LOOPS.row,
        &KUBECONFIG.row,
        &KUBECONFIG_INTERACTIVE.row,
        &CONTROL_NAMESPACE.row,
        &PLAN_FILE.row,
        &PLAN_OFFLINE.row,
        &PLAN_AGAINST.row,
        &KUBERNETES_VERSION.row,
        &PLAN_TENANT.row,
        &WATCH.row,
        &CONTROLLERS.row,
        &NAMESPACE.row,
        &GATEWAY_IMAGE.row,
        &GATEWAY_IMAGES_ALLOWED.row,
        &GATEWAY_IMAGES_DIGEST.row,
        &GATEWAY_IMAGES_NO_LATEST.row,
        &GATEWAY_SANDBOX_IMAGE.row,
        &GATEWAY_MAX_UNAVAILABLE.row,
        &GATEWAY_SOAK.row,
        &GATEWAY_PROGRESS_DEADLINE.row,
        &GATEWAY_TOLERATED_FAILURES.row,
        &GATEWAY_CANARIES.row,
        &GATEWAY_POSTGRES.row,
        &GATEWAY_NAMESPACES.row,
        &GATEWAY_RESERVED.row,
        &GATEWAY_CONCURRENCY.row,
        &GATEWAY_BACKOFF_MAX.row,
        &GATEWAY_RESYNC.row,
        &GATEWAY_INGRESS.row,
        &GATEWAY_MONITORING.row,
        &GATEWAY_EGRESS.row,
        &GATEWAY_BREAK_GLASS.row,
        &GATEWAY_DELETION.row,
        &GATEWAY_DATA.row,
        &GATEWAY_DRIFT.row,
        &GATEWAY_MAX_REMOVALS.row,
        &GATEWAY_ADOPT.row,
        &GATEWAY_SKIP_PROBE.row,
        &HEALTH_LISTEN.row,
        &HEALTH_LISTEN_UP.row,
        &METRICS_LISTEN.row,
        &TLS_STARTUP_DIR.row,
        &TLS_CACHE_DIR.row,
        &TERMINATION_LOG.row,
        &TLS_MIN_VERSION.row,
        &TLS_CIPHER_SUITES.row,
        &TLS_GROUPS.row,
        &TLS_SELF_SIGNED.row,
        &TLS_INJECTED_CONFIG.row,
        &JSON.row,
        &KEEP.row,
        &TLS_PROFILE.row,
        &TLS_ALLOW_REDUCED.row,
        &TLS_SERVER_NAME.row,
        &TLS_TIMEOUT.row,
        &TLS_KEY.row,
        &TLS_FIPS.row,
        &TLS_GENERATION.row,
        &TLS_13_POLICY.row,
        &IMAGE.row,
        &INSTALL_NAMESPACE.row,
        &BENCH_OBJECTS.row,
        &BENCH_WATCHERS.row,
        &BENCH_TENANTS.row,
        &BENCH_SECONDS.row,
        &BENCH_AGAINST.row,
        &LOG_LEVEL.row,
        &LOG_LEVEL_QUIET.row,
        &LOG_FORMAT.row,
    ]
    .into_iter()
}

/// The rows of one command.
pub(crate) fn rows_of(command: &str) -> impl Iterator<Item = &'static Row> {
    rows().filter(move |row| row.commands.contains(&command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_type() {
        for row in rows() {
            if let Default::Is(text) = row.default {
                assert_eq!((row.check)(text), Ok(()), "{}", row.title());
            }
        }
    }

    #[test]
    fn a_command_has_each_row_once() {
        for command in COMMANDS {
            let mut titles: Vec<_> = rows_of(command).map(Row::title).collect();
            titles.sort();
            let count = titles.len();
            titles.dedup();
            assert_eq!(titles.len(), count, "{command}");
        }
    }

    #[test]
    fn every_row_belongs_to_a_command() {
        for row in rows() {
            assert!(!row.commands.is_empty() && row.commands.iter().all(|c| COMMANDS.contains(c)), "{}", row.title());
        }
    }

    #[test]
    fn the_default_gateway_is_the_one_that_the_controller_knows() {
        let options = paddock_controllers::gateways::Options::new("paddock-system", None).unwrap();
        assert_eq!(options.rules.default_image.to_string(), DEFAULT_GATEWAY_IMAGE);
    }

    #[test]
    fn every_row_can_be_set_somehow() {
        for row in rows() {
            assert!(!(row.flag.is_empty() && row.env.is_empty()), "{}", row.help);
        }
    }

    #[test]
    fn help_is_one_sentence_without_a_full_stop() {
        for row in rows() {
            assert!(!row.help.ends_with('.') && !row.help.contains('\n'), "{}", row.title());
        }
    }
}

//! How gateways shall be: `--gateways-*`. What the operator does and what `gateways plan` foretells come from the same rows.

use paddock_api::{DataPolicy, DeletionPolicy, DriftPolicy};
use paddock_controllers::gateways::Share;

use crate::settings::value::{Count, Span};
use crate::settings::{Default, Row, Setting};

/// Commands that need to know how gateways shall be.
const GATEWAYS: &[&str] = &["up", "operator", "gateways plan", "gateways convert"];

/// Every row of this page, in the order of the reference.
pub(super) static GATEWAYS_ROWS: &[&Row] = &[
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
];

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

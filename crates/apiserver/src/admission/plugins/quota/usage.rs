//! What an object uses of a quota, which names of a quota it counts for, and which scopes it is in
//! (`pkg/quota/v1/evaluator`). Pure.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::resources::{Amounts, Half, add, amounts, is_pod_level, of_pod, raise};
use crate::kinds::at::At;
use crate::kinds::pod::qos_class;
use crate::schema::quantity::Amount;

/// Core resources that a quota can count by their bare names.
const ALIASED: &[&str] = &["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
/// Ends the names that bind claims of one storage class: `gold.storageclass.storage.k8s.io/requests.storage`.
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
/// What quotas of cpu and memory make every container state.
const MUST_BE_STATED: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
const POD_NAMES: &[&str] = &[
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
const SERVICE_NAMES: &[&str] = &["count/services", "services", "services.nodeports", "services.loadbalancers"];

/// How objects of one resource are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counter<'a> {
    Pods,
    Services,
    Claims,
    /// By number only.
    Objects {
        group: &'a str,
        plural: &'a str,
    },
}

/// One condition of a quota on the objects that it counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope<'a> {
    name: &'a str,
    operator: &'a str,
    values: Vec<&'a str>,
}

/// The conditions of a quota: `spec.scopes` and `spec.scopeSelector` together.
pub(crate) fn scopes(quota: &Value) -> Vec<Scope<'_>> {
    let named = quota.list_at("/spec/scopes").iter().filter_map(Value::as_str);
    let named = named.map(|name| Scope { name, operator: "Exists", values: Vec::new() });
    let selected = quota.list_at("/spec/scopeSelector/matchExpressions").iter().map(|expression| Scope {
        name: expression.str_at("/scopeName"),
        operator: expression.str_at("/operator"),
        values: expression.list_at("/values").iter().filter_map(Value::as_str).collect(),
    });
    named.chain(selected).collect()
}

impl<'a> Counter<'a> {
    /// The counter of a resource; `None`: no quota counts it.
    pub(crate) fn of(group: &'a str, plural: &'a str) -> Option<Self> {
        match (group, plural) {
            ("" | "events.k8s.io", "events") => None,
            ("", "pods") => Some(Self::Pods),
            ("", "services") => Some(Self::Services),
            ("", "persistentvolumeclaims") => Some(Self::Claims),
            _ => Some(Self::Objects { group, plural }),
        }
    }

    /// The counters that the names of a quota are about, whether or not their resources are served.
    pub(crate) fn of_names(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<Self> {
        let counted = |name: &'a str| match name.strip_prefix("count/") {
            Some(rest) => {
                let (plural, group) = rest.split_once('.').unwrap_or((rest, ""));
                Self::of(group, plural)
            }
            None => [Self::Pods, Self::Services, Self::Claims]
                .into_iter()
                .chain(ALIASED.iter().map(|plural| Self::Objects { group: "", plural }))
                .find(|counter| counter.counts(name)),
        };
        names.into_iter().filter_map(counted).collect()
    }

    /// Group and plural name of the resource.
    pub(crate) fn resource(self) -> (&'a str, &'a str) {
        match self {
            Self::Pods => ("", "pods"),
            Self::Services => ("", "services"),
            Self::Claims => ("", "persistentvolumeclaims"),
            Self::Objects { group, plural } => (group, plural),
        }
    }

    /// Whether a name of a quota is about this resource.
    pub(crate) fn counts(self, name: &str) -> bool {
        match self {
            Self::Pods => {
                POD_NAMES.contains(&name)
                    || name.starts_with("hugepages-")
                    || name.starts_with("requests.hugepages-")
                    || name.strip_prefix("requests.").is_some_and(is_extended)
            }
            Self::Services => SERVICE_NAMES.contains(&name),
            Self::Claims => {
                let own = |name: &str| matches!(name, "persistentvolumeclaims" | "requests.storage");
                name == "count/persistentvolumeclaims"
                    || own(name)
                    || name.rsplit_once(BY_CLASS).is_some_and(|(_, name)| own(name))
            }
            Self::Objects { group, plural } => {
                let alias = group.is_empty() && name == plural && ALIASED.contains(&plural);
                alias || count_name(group, plural) == name
            }
        }
    }

    /// What the object uses, by every name that could be in a quota.
    pub(crate) fn usage(self, object: &Value, now: Timestamp) -> Amounts {
        match self {
            Self::Pods => pod(object, now),
            Self::Services => service(object),
            Self::Claims => claim(object),
            Self::Objects { group, plural } => {
                let mut used = Amounts::from([(count_name(group, plural), Amount::whole(1))]);
                if group.is_empty() && ALIASED.contains(&plural) {
                    used.insert(plural.to_owned(), Amount::whole(1));
                }
                used
            }
        }
    }

    /// Whether the object is in all of the scopes. What is neither pod nor claim is in none.
    pub(crate) fn is_in(self, scopes: &[Scope<'_>], object: &Value) -> bool {
        scopes.iter().all(|scope| match self {
            Self::Pods => pod_is_in(scope, object),
            Self::Claims if scope.name == "VolumeAttributesClass" => {
                let names = ["/spec/volumeAttributesClassName", "/status/currentVolumeAttributesClassName"];
                let target = "/status/modifyVolumeStatus/targetVolumeAttributesClassName";
                let names: Vec<&str> =
                    names.into_iter().chain([target]).map(|p| object.str_at(p)).filter(|n| !n.is_empty()).collect();
                if names.is_empty() { scope.selects(None) } else { names.iter().any(|name| scope.selects(Some(name))) }
            }
            _ => false,
        })
    }

    /// Quotas of cpu and memory count only what is stated, so every container must state it.
    ///
    /// # Errors
    /// `must specify cpu for: a,b; memory for: a`.
    pub(crate) fn states(self, names: &[&str], object: &Value) -> Result<(), String> {
        let spec = object.at("/spec");
        let of_all = ["/resources/requests", "/resources/limits"];
        let pod_level = of_all.iter().any(|list| spec.map_at(list).into_iter().flatten().any(|(n, _)| is_pod_level(n)));
        if self != Self::Pods || pod_level {
            return Ok(());
        }
        let mut missing: Vec<String> = Vec::new();
        for name in MUST_BE_STATED.iter().filter(|name| names.contains(name)) {
            let containers = ["/containers", "/initContainers"].into_iter().flat_map(|list| spec.list_at(list));
            let silent =
                containers.filter(|c| !compute(&Half::Requests.of(c), &Half::Limits.of(c)).contains_key(*name));
            let silent: BTreeSet<&str> = silent.map(|container| container.str_at("/name")).collect();
            if !silent.is_empty() {
                missing.push(format!("{name} for: {}", silent.into_iter().collect::<Vec<_>>().join(",")));
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("must specify {}", missing.join("; "))) }
    }
}

/// `count/deployments.apps`.
fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") }
}

/// A resource of some vendor's: `example.com/gpu`.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// What requests and limits count for, by the names of quotas.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::from([("pods".to_owned(), Amount::whole(1))]);
    for (name, amount) in requests {
        let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if plain {
            used.insert(name.clone(), *amount);
        }
        if plain || is_extended(name) {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(n, _)| matches!(n.as_str(), "cpu" | "memory" | "ephemeral-storage")) {
        used.insert(format!("limits.{name}"), *amount);
    }
    used
}

fn pod(pod: &Value, now: Timestamp) -> Amounts {
    // The object itself counts as long as it is there; what it needs, only while it may run.
    let mut used = Amounts::from([("count/pods".to_owned(), Amount::whole(1))]);
    if !may_run(pod, now) {
        return used;
    }
    let spec = pod.at("/spec");
    // A container that is being resized holds the greater of what it had and what it is to have.
    let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let statuses: HashMap<&str, &Value> =
        lists.iter().flat_map(|list| pod.list_at(list)).map(|status| (status.str_at("/name"), status)).collect();
    let held = |container: &Value, half: Half| {
        let mut most = half.of(container);
        if let Some(status) = statuses.get(container.str_at("/name")) {
            raise(&mut most, &half.of(status));
            if half == Half::Requests {
                raise(&mut most, &amounts(status.at("/allocatedResources")));
            }
        }
        most
    };
    let mut requests = of_pod(spec, Half::Requests, |container| held(container, Half::Requests));
    let mut limits = of_pod(spec, Half::Limits, |container| held(container, Half::Limits));
    let overhead = amounts(spec.at("/overhead"));
    add(&mut requests, &overhead);
    let limited = overhead.into_iter().filter(|(name, _)| limits.contains_key(name)).collect();
    add(&mut limits, &limited);
    add(&mut used, &compute(&requests, &limits));
    used
}

/// A pod that is over, or was to be gone by now, uses nothing any more.
fn may_run(pod: &Value, now: Timestamp) -> bool {
    if matches!(pod.str_at("/status/phase"), "Failed" | "Succeeded") {
        return false;
    }
    let deleted: Option<Timestamp> = pod.str_at("/metadata/deletionTimestamp").parse().ok();
    let (Some(deleted), Some(grace)) = (deleted, pod.int_at("/metadata/deletionGracePeriodSeconds")) else {
        return true;
    };
    let end = deleted.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
    now <= end
}

fn service(service: &Value) -> Amounts {
    let kind = service.str_at("/spec/type");
    let ports = service.list_at("/spec/ports");
    let given = || ports.iter().filter(|port| port.int_at("/nodePort").unwrap_or(0) != 0).count();
    let allocates = service.at("/spec/allocateLoadBalancerNodePorts") != &Value::Bool(false);
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if allocates => ports.len(),
        "LoadBalancer" => given(),
        _ => 0,
    };
    [
        ("count/services", 1),
        ("services", 1),
        ("services.loadbalancers", usize::from(kind == "LoadBalancer")),
        ("services.nodeports", node_ports),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), Amount::whole(count)))
    .collect()
}

fn claim(claim: &Value) -> Amounts {
    let one = Amount::whole(1);
    let mut used =
        Amounts::from([("count/persistentvolumeclaims".to_owned(), one), ("persistentvolumeclaims".to_owned(), one)]);
    let annotated = claim.str_at("/metadata/annotations/volume.beta.kubernetes.io~1storage-class");
    let class = if annotated.is_empty() { claim.str_at("/spec/storageClassName") } else { annotated };
    let asked = Amount::parse(claim.str_at("/spec/resources/requests/storage")).map(Amount::rounded_up);
    let allocated = Amount::parse(claim.str_at("/status/allocatedResources/storage")).map(Amount::rounded_up);
    let size = asked.map(|asked| allocated.map_or(asked, |allocated| asked.max(allocated)));
    if !class.is_empty() {
        used.insert(format!("{class}{BY_CLASS}persistentvolumeclaims"), one);
    }
    if let Some(size) = size {
        used.insert("requests.storage".to_owned(), size);
        if !class.is_empty() {
            used.insert(format!("{class}{BY_CLASS}requests.storage"), size);
        }
    }
    used
}

/// Whether a pod will end by itself.
pub(crate) fn is_terminating(pod: &Value) -> bool {
    pod.int_at("/spec/activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

fn pod_is_in(scope: &Scope<'_>, pod: &Value) -> bool {
    let best_effort = || match pod.str_at("/status/qosClass") {
        "" => qos_class(pod.at("/spec")) == "BestEffort",
        class => class == "BestEffort",
    };
    match scope.name {
        "Terminating" => is_terminating(pod),
        "NotTerminating" => !is_terminating(pod),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => scope.selects(Some(pod.str_at("/spec/priorityClassName")).filter(|name| !name.is_empty())),
        "CrossNamespacePodAffinity" => ["/podAffinity", "/podAntiAffinity"].into_iter().any(|kind| {
            let affinity = pod.at("/spec/affinity").at(kind);
            let required = affinity.list_at("/requiredDuringSchedulingIgnoredDuringExecution").iter();
            let preferred = affinity.list_at("/preferredDuringSchedulingIgnoredDuringExecution").iter();
            required
                .chain(preferred.map(|term| term.at("/podAffinityTerm")))
                .any(|term| !term.list_at("/namespaces").is_empty() || term.has("/namespaceSelector"))
        }),
        _ => false,
    }
}

impl Scope<'_> {
    /// Whether the condition holds for a value that may be absent.
    fn selects(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.contains(&value));
        match self.operator {
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(used: &Amounts) -> String {
        used.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
    }

    fn usage(counter: Counter<'_>, object: Value) -> String {
        printed(&counter.usage(&object, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn names_belong_to_the_resource_they_count() {
        let cases = [
            ("pods", "pods"),
            ("limits.memory", "pods"),
            ("requests.example.com/gpu", "pods"),
            ("requests.hugepages-2Mi", "pods"),
            ("services.nodeports", "services"),
            ("requests.storage", "persistentvolumeclaims"),
            ("gold.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"),
            ("secrets", "secrets"),
            ("count/deployments.apps", "deployments"),
            ("count/pods", "pods"),
        ];
        for (name, plural) in cases {
            let found: Vec<_> = Counter::of_names([name]).into_iter().map(|counter| counter.resource().1).collect();
            assert_eq!(found, [plural], "{name}");
        }
    }

    #[test]
    fn unknown_names_and_events_are_not_counted() {
        assert!(Counter::of_names(["deployments", "count/events", "x/y"]).is_empty());
    }

    #[test]
    fn a_pod_counts_by_what_its_containers_ask_for() {
        let pod = json!({"spec": {"overhead": {"cpu": "10m"}, "containers": [{"name": "a", "resources":
            {"requests": {"cpu": "100m", "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}}}]}});
        let expected = "count/pods=1,cpu=110m,limits.memory=1Gi,pods=1,requests.cpu=110m,requests.example.com/gpu=1";
        assert_eq!(usage(Counter::Pods, pod), expected);
    }

    #[test]
    fn a_pod_that_is_over_counts_as_an_object_only() {
        let pod = json!({"status": {"phase": "Failed"}, "spec": {"containers": []}});
        assert_eq!(usage(Counter::Pods, pod), "count/pods=1");
    }

    #[test]
    fn a_pod_that_should_be_gone_uses_nothing() {
        let pod = json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}});
        let at = |text: &str| Counter::Pods.usage(&pod, text.parse().unwrap()).contains_key("pods");
        assert_eq!([at("2020-01-01T00:00:30Z"), at("2020-01-01T00:00:31Z")], [true, false]);
    }

    #[test]
    fn node_ports_of_a_load_balancer_count_as_they_are_wished() {
        let of = |spec: Value| usage(Counter::Services, json!({"spec": spec}));
        let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30000}]);
        assert_eq!(
            [
                of(json!({"type": "LoadBalancer", "ports": ports})),
                of(json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false})),
                of(json!({"type": "NodePort", "ports": ports})),
                of(json!({"type": "ClusterIP", "ports": ports})),
            ],
            [
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2",
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1",
                "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2",
                "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0",
            ]
        );
    }

    #[test]
    fn a_claim_counts_for_its_class_too() {
        let claim = json!({"spec": {"storageClassName": "g", "resources": {"requests": {"storage": "1Gi"}}}});
        let expected = "count/persistentvolumeclaims=1,g.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
                        g.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi";
        assert_eq!(usage(Counter::Claims, claim), expected);
    }

    #[test]
    fn what_is_limited_must_be_stated_by_every_container() {
        let pod = json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [{"name": "i"}]}});
        let refused = Counter::Pods.states(&["cpu", "limits.cpu", "pods"], &pod);
        assert_eq!(refused, Err("must specify cpu for: b,i; limits.cpu for: a,b,i".to_owned()));
    }

    #[test]
    fn a_pod_may_state_it_for_all_its_containers() {
        let pod = json!({"spec": {"resources": {"limits": {"cpu": "1"}}, "containers": [{"name": "a"}]}});
        assert_eq!(Counter::Pods.states(&["memory"], &pod), Ok(()));
    }

    #[test]
    fn scopes_choose_pods() {
        let in_scope = |quota: Value, pod: Value| {
            let quota = json!({"spec": quota});
            Counter::Pods.is_in(&scopes(&quota), &json!({"spec": pod}))
        };
        let terminating = json!({"activeDeadlineSeconds": 1});
        let burstable = json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]});
        let class = json!({"priorityClassName": "high"});
        let far = json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
            [{"podAffinityTerm": {"namespaces": ["x"]}}]}}});
        let select = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
        for (quota, pod, expected) in [
            (json!({"scopes": ["Terminating"]}), &terminating, true),
            (json!({"scopes": ["NotTerminating"]}), &terminating, false),
            (json!({"scopes": ["BestEffort"]}), &terminating, true),
            (json!({"scopes": ["NotBestEffort"]}), &burstable, true),
            (json!({"scopes": ["PriorityClass"]}), &class, true),
            (json!({"scopes": ["PriorityClass"]}), &burstable, false),
            (json!({"scopes": ["CrossNamespacePodAffinity"]}), &far, true),
            (json!({"scopes": ["CrossNamespacePodAffinity"]}), &class, false),
            (json!({"scopes": ["Terminating", "NotBestEffort"]}), &terminating, false),
            (select("In", json!(["high"])), &class, true),
            (select("NotIn", json!(["high"])), &class, false),
            (select("NotIn", json!(["high"])), &burstable, true),
            (select("DoesNotExist", json!([])), &burstable, true),
            (json!({}), &burstable, true),
        ] {
            assert_eq!(in_scope(quota.clone(), pod.clone()), expected, "{quota} {pod}");
        }
    }

    #[test]
    fn what_is_no_pod_is_in_no_scope() {
        let quota = json!({"spec": {"scopes": ["NotTerminating"]}});
        assert!(!Counter::Services.is_in(&scopes(&quota), &json!({})));
    }
}

//! LimitRanger: what the LimitRanges of a namespace give to containers that ask for nothing, and the bounds within which pods
//! and claims stay. The shell reads the ranges; the rules are pure.

use std::collections::HashSet;

use serde_json::Value;

use super::resources::{Amounts, Half, amounts, of_pod};
use crate::admission::{Attributes, Operation};
use crate::kinds::at::At;
use crate::resource::Lookup;
use crate::schema::quantity::Amount;
use crate::status::Status;

/// Where a pod says what it was given.
const ANNOTATION: &str = "/metadata/annotations/kubernetes.io~1limit-ranger";

/// Most values that one range fills into one pod: a bound on memory, far above what a node could run.
const MOST_DEFAULTS: usize = 50_000;
/// Most broken bounds that are told of one range.
const MOST_ERRORS: usize = 500;

/// Fills in what a new or resized pod does not say.
///
/// # Errors
/// 403 when that would make the pod absurdly large.
pub(super) fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    if is_pod(a) && is_kept(a) {
        for range in ranges(a) {
            if !set_defaults(&mut a.object, &range) {
                return Err(a.forbidden("the pod has too many containers for the defaults of its namespace"));
            }
        }
    }
    Ok(())
}

/// Refuses pods and claims out of bounds. The first range that is broken answers, with all of its bounds.
pub(super) fn validate(a: &Attributes<'_>) -> Result<(), Status> {
    let written = matches!(a.operation, Operation::Create | Operation::Update);
    let broken: fn(&Value, &Value) -> Vec<String> = if is_pod(a) {
        of_a_pod
    } else if a.is("", "persistentvolumeclaims") && written {
        of_a_claim
    } else {
        return Ok(());
    };
    if !is_kept(a) {
        return Ok(());
    }
    for range in ranges(a) {
        let why = aggregate(broken(&range, &a.object));
        if !why.is_empty() {
            return Err(a.forbidden(&why));
        }
    }
    Ok(())
}

/// A pod whose containers may change: a new one, or one that is resized.
fn is_pod(a: &Attributes<'_>) -> bool {
    match a.operation {
        Operation::Create => a.is("", "pods"),
        Operation::Update => a.is_part("", "pods", "resize"),
        _ => false,
    }
}

/// Nothing is asked of what is on its way out.
fn is_kept(a: &Attributes<'_>) -> bool {
    !a.old.has("/metadata/deletionTimestamp")
}

fn ranges(a: &Attributes<'_>) -> Vec<Value> {
    Lookup::list(a.api, "/limitranges", a.namespace)
}

/// Errors as Go's aggregates print them: one bare, several in brackets, none twice.
fn aggregate(errors: Vec<String>) -> String {
    let mut seen = HashSet::new();
    let unique: Vec<String> = errors.into_iter().filter(|error| seen.insert(error.clone())).collect();
    match unique.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        _ => format!("[{}]", unique.join(", ")),
    }
}

/// `false`: too many values would have to be filled in, and nothing was.
fn set_defaults(pod: &mut Value, range: &Value) -> bool {
    let items = || range.list_at("/spec/limits").iter().filter(|item| item.str_at("/type") == "Container");
    let of = |field: &str| {
        let mut all = serde_json::Map::new();
        for (name, value) in items().flat_map(|item| item.map_at(field).into_iter().flatten()) {
            all.insert(name.clone(), value.clone());
        }
        all
    };
    let (requests, limits) = (of("/defaultRequest"), of("/default"));
    let containers: usize = LISTS.iter().map(|(list, _)| pod.list_at(list).len()).sum();
    if containers.saturating_mul(requests.len().saturating_add(limits.len())) > MOST_DEFAULTS {
        return false;
    }
    let mut told = Vec::new();
    for (list, what) in LISTS {
        for container in pod.list_mut_at(list) {
            for (half, defaults) in [("request", &requests), ("limit", &limits)] {
                let mut set: Vec<&str> = Vec::new();
                for (name, value) in defaults {
                    let pointer = format!("/resources/{half}s/{}", name.replace('~', "~0").replace('/', "~1"));
                    if !container.has(&pointer) {
                        container.set_at(&pointer, value.clone());
                        set.push(name);
                    }
                }
                if !set.is_empty() {
                    set.sort_unstable();
                    told.push(format!("{} {half} for {what} {}", set.join(", "), container.str_at("/name")));
                }
            }
        }
    }
    if !told.is_empty() {
        pod.set_at(ANNOTATION, format!("LimitRanger plugin set: {}", told.join("; ")));
    }
    true
}

/// A pod's containers, and what the annotation calls them.
const LISTS: [(&str, &str); 2] = [("/spec/containers", "container"), ("/spec/initContainers", "init container")];

fn of_a_pod(range: &Value, pod: &Value) -> Vec<String> {
    let spec = pod.at("/spec");
    let mut errors = Vec::new();
    for item in range.list_at("/spec/limits") {
        let kind = item.str_at("/type");
        let [least, most, ratio] = ["/min", "/max", "/maxLimitRequestRatio"].map(|field| amounts(item.at(field)));
        let mut judge = |requests: &Amounts, limits: &Amounts| {
            let left = MOST_ERRORS.saturating_sub(errors.len());
            let least = least.iter().filter_map(|(n, b)| below(kind, n, *b, requests, limits));
            let most = most.iter().filter_map(|(n, b)| above(kind, n, *b, requests, limits));
            let ratio = ratio.iter().filter_map(|(n, b)| uneven(kind, n, *b, requests, limits));
            errors.extend(least.chain(most).chain(ratio).take(left));
        };
        match kind {
            "Container" => {
                for container in ["/containers", "/initContainers"].iter().flat_map(|list| spec.list_at(list)) {
                    judge(&Half::Requests.of(container), &Half::Limits.of(container));
                }
            }
            "Pod" => {
                let total = |half: Half| of_pod(spec, half, |container| half.of(container));
                judge(&total(Half::Requests), &total(Half::Limits));
            }
            _ => {}
        }
    }
    errors
}

/// A claim's limits are nobody's: only what it asks for counts.
fn of_a_claim(range: &Value, claim: &Value) -> Vec<String> {
    const KIND: &str = "PersistentVolumeClaim";
    let requests = Half::Requests.of(claim.at("/spec"));
    let mut errors = Vec::new();
    for item in range.list_at("/spec/limits").iter().filter(|item| item.str_at("/type") == KIND) {
        let least = amounts(item.at("/min"));
        errors.extend(least.iter().filter_map(|(n, b)| below(KIND, n, *b, &requests, &Amounts::new())));
        for (name, bound) in amounts(item.at("/max")) {
            errors.extend(match requests.get(&name) {
                None => Some(format!("maximum {name} usage per {KIND} is {bound}.  No request is specified")),
                Some(asked) if more(*asked, bound) => {
                    Some(format!("maximum {name} usage per {KIND} is {bound}, but request is {asked}"))
                }
                Some(_) => None,
            });
        }
    }
    errors
}

/// Whether `a` is more than `b`. Thousandths count unless one is too great for them.
fn more(a: Amount, b: Amount) -> bool {
    const MOST: i128 = i64::MAX as i128 / 1000;
    if a.units() <= MOST && b.units() <= MOST { a.millis() > b.millis() } else { a.units() > b.units() }
}

fn below(kind: &str, name: &str, bound: Amount, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let said = format!("minimum {name} usage per {kind} is {bound}");
    match (requests.get(name), limits.get(name)) {
        (None, _) => Some(format!("{said}.  No request is specified")),
        (Some(request), _) if more(bound, *request) => Some(format!("{said}, but request is {request}")),
        (_, Some(limit)) if more(bound, *limit) => Some(format!("{said}, but limit is {limit}")),
        _ => None,
    }
}

fn above(kind: &str, name: &str, bound: Amount, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let said = format!("maximum {name} usage per {kind} is {bound}");
    match (requests.get(name), limits.get(name)) {
        (_, None) => Some(format!("{said}.  No limit is specified")),
        (_, Some(limit)) if more(*limit, bound) => Some(format!("{said}, but limit is {limit}")),
        (Some(request), _) if more(*request, bound) => Some(format!("{said}, but request is {request}")),
        _ => None,
    }
}

/// The limit may be at most so many times the request.
#[expect(clippy::cast_precision_loss, reason = "ratios are floats in Kubernetes too, and are printed as such")]
fn uneven(kind: &str, name: &str, most: Amount, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let said = format!("{name} max limit to request ratio per {kind} is {most}");
    let given = |list: &Amounts| list.get(name).map(|amount| amount.millis()).filter(|millis| *millis != 0);
    let Some(request) = given(requests) else {
        return Some(format!("{said}, but no request is specified or request is 0"));
    };
    let Some(limit) = given(limits) else {
        return Some(format!("{said}, but no limit is specified or limit is 0"));
    };
    let ratio = limit as f64 / request as f64;
    (ratio * 1000.0 > most.millis() as f64).then(|| format!("{said}, but provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(item: Value) -> Value {
        json!({"spec": {"limits": [item]}})
    }

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn defaults_fill_what_is_missing_and_are_told() {
        let range = range(
            json!({"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "1"}}),
        );
        let mut pod = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "3"}}}],
            "initContainers": [{"name": "i"}]}});
        set_defaults(&mut pod, &range);
        let expected = "LimitRanger plugin set: cpu request for container c; memory limit for container c; cpu request for \
                        init container i; cpu, memory limit for init container i";
        assert_eq!(pod.str_at(ANNOTATION), expected);
        let resources = json!({"limits": {"cpu": "3", "memory": "1Gi"}, "requests": {"cpu": "1"}});
        assert_eq!(pod.at("/spec/containers/0/resources"), &resources);
    }

    #[test]
    fn a_pod_that_says_all_is_left_alone() {
        let range = range(json!({"type": "Container", "default": {"cpu": "2"}}));
        let mut full = pod(json!({"limits": {"cpu": "3"}}));
        let before = full.clone();
        set_defaults(&mut full, &range);
        assert_eq!(full, before);
    }

    #[test]
    fn more_defaults_than_a_pod_can_hold_are_not_filled_in() {
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("x.io/{n}"), json!("1"))).collect();
        let containers: Vec<Value> = (0..1000).map(|n| json!({"name": format!("c{n}")})).collect();
        let mut pod = json!({"spec": {"containers": containers}});
        let before = pod.clone();
        assert!(!set_defaults(&mut pod, &range(json!({"type": "Container", "default": many}))));
        assert_eq!(pod, before);
    }

    #[test]
    fn only_some_of_very_many_broken_bounds_are_told() {
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("x.io/{n}"), json!("1"))).collect();
        let range = range(json!({"type": "Container", "min": many}));
        assert_eq!(of_a_pod(&range, &pod(json!({}))).len(), MOST_ERRORS);
    }

    #[test]
    fn bounds_of_containers_name_the_bound_and_what_breaks_it() {
        for (item, resources, expected) in [
            (
                json!({"min": {"cpu": "100m"}}),
                json!({"requests": {"cpu": "50m"}}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (
                json!({"min": {"cpu": "100m"}}),
                json!({}),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (
                json!({"min": {"cpu": "1"}}),
                json!({"requests": {"cpu": "1"}, "limits": {"cpu": "500m"}}),
                "minimum cpu usage per Container is 1, but limit is 500m",
            ),
            (
                json!({"max": {"memory": "1Gi"}}),
                json!({"limits": {"memory": "2Gi"}}),
                "maximum memory usage per Container is 1Gi, but limit is 2Gi",
            ),
            (
                json!({"max": {"memory": "1Gi"}}),
                json!({}),
                "maximum memory usage per Container is 1Gi.  No limit is specified",
            ),
            (
                json!({"max": {"memory": "1Gi"}}),
                json!({"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}),
                "maximum memory usage per Container is 1Gi, but request is 2Gi",
            ),
            (
                json!({"maxLimitRequestRatio": {"memory": "2"}}),
                json!({"limits": {"memory": "3Gi"}, "requests": {"memory": "1Gi"}}),
                "memory max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            ),
            (
                json!({"maxLimitRequestRatio": {"memory": "2"}}),
                json!({"limits": {"memory": "3Gi"}}),
                "memory max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
            (
                json!({"maxLimitRequestRatio": {"memory": "2"}}),
                json!({"requests": {"memory": "3Gi"}}),
                "memory max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
            ),
        ] {
            let mut item = item;
            item["type"] = json!("Container");
            assert_eq!(aggregate(of_a_pod(&range(item), &pod(resources))), expected);
        }
    }

    #[test]
    fn several_broken_bounds_are_told_together() {
        let range = range(json!({"type": "Container", "min": {"cpu": "2"}, "max": {"memory": "1"}}));
        let why = aggregate(of_a_pod(&range, &pod(json!({"requests": {"cpu": "1"}}))));
        let expected = "[minimum cpu usage per Container is 2, but request is 1, \
                        maximum memory usage per Container is 1.  No limit is specified]";
        assert_eq!(why, expected);
    }

    #[test]
    fn pods_are_bound_by_the_sum_of_their_containers() {
        let range = range(json!({"type": "Pod", "max": {"cpu": "2"}}));
        let one = json!({"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"cpu": "100m"}}});
        let pod = json!({"spec": {"containers": [one, one]}});
        assert_eq!(aggregate(of_a_pod(&range, &pod)), "maximum cpu usage per Pod is 2, but limit is 3");
    }

    #[test]
    fn claims_are_bound_by_what_they_ask_for() {
        let range =
            range(json!({"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}, "min": {"storage": "1Gi"}}));
        let of = |size: &str| {
            aggregate(of_a_claim(&range, &json!({"spec": {"resources": {"requests": {"storage": size}}}})))
        };
        let expected = [
            "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
            "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi",
            "",
        ];
        assert_eq!([of("3Gi"), of("1Mi"), of("1Gi")], expected);
    }
}

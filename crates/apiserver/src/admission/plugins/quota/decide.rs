//! Whether a write fits into the quotas of its namespace, and what they have used afterwards
//! (`apiserver/pkg/admission/plugin/resourcequota`). Pure.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::resources::{Amounts, add, amounts};
use super::usage::{Counter, is_terminating, scopes};
use crate::kinds::at::At;
use crate::schema::quantity::{Amount, Quantity};

/// A write that may use more than before.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) counter: Counter<'a>,
    pub(super) new: &'a Value,
    /// `null` in creations.
    pub(super) old: &'a Value,
    pub(super) now: Timestamp,
}

/// Whether an update may change what the object uses. Creations always do.
pub(super) fn may_charge(counter: Counter<'_>, subresource: &str, new: &Value, old: &Value) -> bool {
    match (counter, subresource) {
        (_, "") if old.is_null() => true,
        (Counter::Pods, "") => is_terminating(new) != is_terminating(old),
        (Counter::Pods, "resize") => !old.is_null(),
        (Counter::Services | Counter::Claims, "") => true,
        _ => false,
    }
}

/// The new `status.used` of the quotas that the write uses more of, by their place in `quotas`.
///
/// # Errors
/// Why the write is refused.
pub(super) fn charge(quotas: &[Value], request: Request<'_>) -> Result<Vec<(usize, Amounts)>, String> {
    let Request { counter, new, old, now } = request;
    let mut concerned = Vec::new();
    for (index, quota) in quotas.iter().enumerate() {
        let (hard, used) = (amounts(quota.at("/status/hard")), amounts(quota.at("/status/used")));
        let names: Vec<&str> = hard.keys().map(String::as_str).filter(|name| counter.counts(name)).collect();
        if names.is_empty() || !counter.is_in(&scopes(quota), new) {
            continue;
        }
        let called = quota.str_at("/metadata/name");
        counter.states(&names, new).map_err(|why| format!("failed quota: {called}: {why}"))?;
        if names.iter().any(|name| !used.contains_key(*name)) {
            return Err(format!("status unknown for quota: {called}, resources: {}", names.join(",")));
        }
        concerned.push((index, hard, used));
    }
    if concerned.is_empty() {
        return Ok(Vec::new());
    }
    let whole = counter.usage(new, now);
    let negative: Vec<&str> =
        whole.iter().filter(|(_, amount)| amount.value().is_negative()).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let before = if old.is_null() { Amounts::new() } else { counter.usage(old, now) };
    let mut charged = Vec::new();
    for (index, hard, used) in concerned {
        let Some(quota) = quotas.get(index) else { continue };
        // What the object used before is in the quota already, if the quota counted it.
        let counted = !old.is_null() && counter.is_in(&scopes(quota), old);
        let more = |name: &String| {
            let amount = whole.get(name)?;
            let more = before.get(name).filter(|_| counted).map_or(*amount, |before| amount.minus(*before));
            (!more.value().is_zero()).then(|| (name.clone(), more))
        };
        let requested: Amounts = hard.keys().filter_map(more).collect();
        if requested.is_empty() {
            continue;
        }
        let mut total = used.clone();
        add(&mut total, &requested);
        let value = |list: &Amounts, name: &String| list.get(name).map(|amount| amount.value());
        let over = |name: &&String| value(&total, name) > value(&hard, name);
        let exceeded: Vec<&String> = requested.keys().filter(over).collect();
        if !exceeded.is_empty() {
            return Err(format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota.str_at("/metadata/name"),
                printed(&requested, &exceeded),
                printed(&used, &exceeded),
                printed(&hard, &exceeded),
            ));
        }
        charged.push((index, total));
    }
    Ok(charged)
}

/// `cpu=1,pods=2`.
fn printed(list: &Amounts, names: &[&String]) -> String {
    let one = |name: &&String| list.get(*name).map(|amount| format!("{name}={amount}"));
    names.iter().filter_map(one).collect::<Vec<_>>().join(",")
}

/// A list of amounts as an object carries it.
pub(crate) fn to_json(list: &Amounts) -> Value {
    list.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect::<Map<_, _>>().into()
}

/// Whether two lists say the same.
pub(crate) fn same(a: &Amounts, b: &Amounts) -> bool {
    let value = |amount: &Amount| -> Quantity { amount.value() };
    a.len() == b.len() && a.iter().all(|(name, amount)| b.get(name).map(value) == Some(amount.value()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quota(hard: Value, used: Value) -> Value {
        json!({"metadata": {"name": "q"}, "status": {"hard": hard, "used": used}})
    }

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    fn ask(quotas: &[Value], counter: Counter<'_>, new: &Value, old: &Value) -> Result<Vec<String>, String> {
        let charged = charge(quotas, Request { counter, new, old, now: Timestamp::UNIX_EPOCH })?;
        Ok(charged.into_iter().map(|(_, used)| to_json(&used).to_string()).collect())
    }

    const SECRETS: Counter<'_> = Counter::Objects { group: "", plural: "secrets" };

    #[test]
    fn a_creation_is_added_to_what_is_used() {
        let quotas = [quota(json!({"count/secrets": "2"}), json!({"count/secrets": "1"}))];
        assert_eq!(ask(&quotas, SECRETS, &json!({}), &Value::Null), Ok(vec![r#"{"count/secrets":"2"}"#.to_owned()]));
    }

    #[test]
    fn one_too_many_is_refused_by_name() {
        let quotas = [quota(json!({"count/secrets": "1", "pods": "0"}), json!({"count/secrets": "1", "pods": "0"}))];
        let expected = "exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1";
        assert_eq!(ask(&quotas, SECRETS, &json!({}), &Value::Null), Err(expected.to_owned()));
    }

    #[test]
    fn only_exceeded_names_are_told() {
        let quotas = [quota(json!({"requests.cpu": "1", "pods": "5"}), json!({"requests.cpu": "600m", "pods": "1"}))];
        let expected =
            "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1";
        assert_eq!(ask(&quotas, Counter::Pods, &pod("600m"), &Value::Null), Err(expected.to_owned()));
    }

    #[test]
    fn what_must_be_stated_is_asked_for_before_it_is_counted() {
        let quotas = [quota(json!({"memory": "1Gi"}), json!({}))];
        let refused = ask(&quotas, Counter::Pods, &pod("1"), &Value::Null);
        assert_eq!(refused, Err("failed quota: q: must specify memory for: c".to_owned()));
    }

    #[test]
    fn a_quota_that_was_never_counted_lets_nothing_in() {
        let quotas = [quota(json!({"pods": "5", "cpu": "1"}), json!({}))];
        let refused = ask(&quotas, Counter::Pods, &pod("1"), &Value::Null);
        assert_eq!(refused, Err("status unknown for quota: q, resources: cpu,pods".to_owned()));
    }

    #[test]
    fn an_update_pays_the_difference() {
        let service = |kind: &str| json!({"spec": {"type": kind, "ports": [{"port": 1}]}});
        let quotas = [quota(
            json!({"services": "1", "services.nodeports": "1"}),
            json!({"services": "1", "services.nodeports": "0"}),
        )];
        let paid = ask(&quotas, Counter::Services, &service("NodePort"), &service("ClusterIP"));
        assert_eq!(paid, Ok(vec![r#"{"services":"1","services.nodeports":"1"}"#.to_owned()]));
        assert_eq!(ask(&quotas, Counter::Services, &service("ClusterIP"), &service("NodePort")), Ok(Vec::new()));
    }

    #[test]
    fn an_object_that_comes_into_scope_pays_in_full() {
        let mut scoped = quota(json!({"pods": "1"}), json!({"pods": "1"}));
        scoped["spec"] = json!({"scopes": ["Terminating"]});
        let mut ending = pod("1");
        ending["spec"]["activeDeadlineSeconds"] = json!(5);
        let refused = ask(&[scoped], Counter::Pods, &ending, &pod("1"));
        assert_eq!(refused, Err("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1".to_owned()));
    }

    #[test]
    fn updates_of_pods_count_only_when_their_scope_changes() {
        let mut ending = pod("1");
        ending["spec"]["activeDeadlineSeconds"] = json!(5);
        let of = |new: &Value, part: &str| may_charge(Counter::Pods, part, new, &pod("1"));
        assert_eq!(
            [of(&pod("2"), ""), of(&ending, ""), of(&pod("2"), "resize"), of(&pod("2"), "status")],
            [false, true, true, false]
        );
    }

    #[test]
    fn lists_compare_by_value() {
        let of = |value: &str| amounts(&json!({"cpu": value}));
        assert!(same(&of("1"), &of("1000m")) && !same(&of("1"), &of("2")) && !same(&of("1"), &Amounts::new()));
    }
}

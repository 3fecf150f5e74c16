//! What handshakes with a workload's pods showed, and which are due. Pure.
//!
//! That a file was handed over says nothing of what a pod serves. So the operator offers each pod something that its profile allows and
//! everything that it excludes, and reports what it saw.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use paddock_reconcile::object;
use paddock_tls_profile::KeyKind;
use serde_json::Value;

use super::follower::Follower;

/// How often a pod is asked that serves what it should.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);
/// How often one is asked that does not, or cannot be asked, while kubelet may still be handing the files over …
const SOON: SignedDuration = SignedDuration::from_secs(2);
/// … and after that.
const LATER: SignedDuration = SignedDuration::from_secs(60);
/// Twice as long as kubelet takes to hand a ConfigMap over.
pub(crate) const HANDED_OVER_AFTER: SignedDuration = SignedDuration::from_secs(180);
/// Most pods that one pass asks.
const AT_ONCE: usize = 16;
/// Most ports of a pod.
const PORTS: usize = 4;
/// Most characters of what was seen that reports carry.
const SENTENCE: usize = 400;

/// What a pod did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// What it should, with what was seen.
    Holds(String),
    /// Something else.
    Differs(String),
    /// It could not be asked.
    Unreachable(String),
}

/// A handshake's outcome, and the profile that it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) hash: String,
    pub(crate) at: Timestamp,
    pub(crate) seen: Seen,
    /// The keys that its listeners serve with. A listener that has one of each kind depends on none, and adds none.
    pub(crate) keys: Vec<KeyKind>,
}

/// What is known of a workload's pods, by uid.
pub(crate) type Answers = BTreeMap<String, Asked>;

/// A pod to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// What is seen of all pods of a workload, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) holds: usize,
    pub(crate) differs: usize,
    pub(crate) unreachable: usize,
    /// Of one pod, a bad one if there is one.
    pub(crate) sentence: Option<String>,
}

impl Summary {
    pub(crate) fn asked(&self) -> usize {
        self.holds.saturating_add(self.differs).saturating_add(self.unreachable)
    }
}

/// Where a pod that runs listens with TLS: the ports that the workload names, else its container ports called `https`.
pub(crate) fn addresses(follower: &Follower, pod: &Value) -> Vec<SocketAddr> {
    let ip = pod["status"]["podIP"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok());
    let Some(ip) = ip.filter(|ip| may_be_asked(*ip, pod)) else { return Vec::new() };
    if object::is_terminating(pod) || pod["status"]["phase"] != "Running" {
        return Vec::new();
    }
    let mut ports = follower.ports.clone();
    if ports.is_empty() {
        let containers = pod["spec"]["containers"].as_array();
        let declared = containers.into_iter().flatten().flat_map(|container| container["ports"].as_array()).flatten();
        let https = declared.filter(|port| port["name"].as_str().is_some_and(|name| name.starts_with("https")));
        ports = https.filter_map(|port| port["containerPort"].as_u64()?.try_into().ok()).collect();
    }
    ports.truncate(PORTS);
    ports.into_iter().map(|port| SocketAddr::new(ip, port)).collect()
}

/// A pod's word on its own address is no reason to talk to this machine's own listeners; one on the host's network is this machine.
fn may_be_asked(ip: IpAddr, pod: &Value) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let host = pod["spec"]["hostNetwork"] == true;
    !ip.is_unspecified() && !ip.is_multicast() && !link_local && (host || !ip.is_loopback())
}

/// When a pod is to be asked about the profile of `hash`: at once when it never was.
fn due_at(asked: Option<&Asked>, hash: &str, since: Option<Timestamp>) -> Option<Timestamp> {
    let asked = asked.filter(|asked| asked.hash == hash)?;
    let fresh = since.is_some_and(|since| asked.at.duration_since(since) < HANDED_OVER_AFTER);
    let pause = match asked.seen {
        Seen::Holds(_) => AGAIN,
        _ if fresh => SOON,
        _ => LATER,
    };
    asked.at.checked_add(pause).ok()
}

/// The pods to ask now, and when to look again. `since`: when the workload was last not as wanted.
pub(crate) fn due(
    follower: &Follower,
    pods: &[impl AsRef<Value>],
    answers: &Answers,
    hash: &str,
    since: Option<Timestamp>,
    now: Timestamp,
) -> (Vec<Due>, Option<Timestamp>) {
    let mut due = Vec::new();
    let mut next: Option<Timestamp> = None;
    for pod in pods.iter().map(AsRef::as_ref) {
        let addresses = addresses(follower, pod);
        if addresses.is_empty() {
            continue;
        }
        match due_at(answers.get(object::uid(pod)), hash, since) {
            Some(at) if at > now => next = Some(next.map_or(at, |next| next.min(at))),
            _ if due.len() < AT_ONCE => {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                due.push(Due { uid: object::uid(pod).to_owned(), name, addresses });
            }
            _ => next = Some(now),
        }
    }
    (due, next)
}

/// What is known of these pods and this profile.
pub(crate) fn summary(pods: &[impl AsRef<Value>], answers: &Answers, hash: &str) -> Summary {
    let mut summary = Summary::default();
    let mut bad = None;
    for pod in pods.iter().map(AsRef::as_ref) {
        let Some(asked) = answers.get(object::uid(pod)).filter(|asked| asked.hash == hash) else { continue };
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let (count, sentence, is_bad) = match &asked.seen {
            Seen::Holds(sentence) => (&mut summary.holds, sentence, false),
            Seen::Differs(sentence) => (&mut summary.differs, sentence, true),
            Seen::Unreachable(sentence) => (&mut summary.unreachable, sentence, true),
        };
        *count = count.saturating_add(1);
        let sentence = || format!("{name}: {sentence}").chars().take(SENTENCE).collect::<String>();
        if is_bad && bad.is_none() {
            bad = Some(sentence());
        } else if summary.sentence.is_none() {
            summary.sentence = Some(sentence());
        }
    }
    summary.sentence = bad.or(summary.sentence);
    summary
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::tls_profile::follower::{Format, Reload};

    fn follower(ports: &[u16]) -> Follower {
        Follower {
            format: Format::Paddock,
            backend: paddock_tls_profile::Backend::RUSTLS_AWS_LC,
            reload: Reload::Hot,
            config_map: "m".into(),
            order: 0,
            ports: ports.into(),
            is_agent: false,
        }
    }

    fn pod(uid: &str, ip: &str) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"uid": uid, "name": uid},
            "spec": {"containers": [{"ports": [
                {"name": "https-web", "containerPort": 9443}, {"name": "http", "containerPort": 80},
            ]}]},
            "status": {"podIP": ip, "phase": "Running"},
        }))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn asked(seen: Seen, seconds: i64) -> Answers {
        [("a".to_owned(), Asked { hash: "h".into(), at: at(seconds), seen, keys: Vec::new() })].into()
    }

    #[test]
    fn named_ports_come_before_those_called_https() {
        let texts = |ports: &[u16]| -> Vec<String> {
            addresses(&follower(ports), &pod("a", "10.0.0.1")).iter().map(ToString::to_string).collect()
        };
        assert_eq!((texts(&[8443]), texts(&[])), (vec!["10.0.0.1:8443".to_owned()], vec!["10.0.0.1:9443".to_owned()]));
    }

    #[test]
    fn a_pod_cannot_have_the_operator_talk_to_its_own_machine() {
        for ip in ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "no address"] {
            assert_eq!(addresses(&follower(&[1]), &pod("a", ip)), [], "{ip}");
        }
    }

    #[test]
    fn a_pod_that_was_never_asked_is_due_and_one_of_another_profile_too() {
        let pods = [pod("a", "10.0.0.1")];
        let names = |answers: &Answers, hash| due(&follower(&[]), &pods, answers, hash, None, at(0)).0.len();
        assert_eq!((names(&Answers::new(), "h"), names(&asked(Seen::Holds(String::new()), 0), "other")), (1, 1));
    }

    #[test]
    fn who_serves_what_it_should_is_asked_seldom_and_who_does_not_often_at_first() {
        let next = |seen: Seen, since| {
            due(&follower(&[]), &[pod("a", "10.0.0.1")], &asked(seen, 0), "h", since, at(0)).1.unwrap()
        };
        assert_eq!(next(Seen::Holds(String::new()), None), at(600));
        assert_eq!(next(Seen::Differs(String::new()), Some(at(-10))), at(2));
        assert_eq!(next(Seen::Unreachable(String::new()), Some(at(-200))), at(60));
    }

    #[test]
    fn no_pass_asks_everybody_at_once() {
        let pods: Vec<_> = (0..40).map(|number| pod(&format!("p{number}"), "10.0.0.1")).collect();
        let (now, next) = due(&follower(&[]), &pods, &Answers::new(), "h", None, at(0));
        assert_eq!((now.len(), next), (16, Some(at(0))));
    }

    #[test]
    fn the_summary_tells_of_a_bad_pod_first() {
        let mut answers = asked(Seen::Holds("fine".into()), 0);
        let differs = asked(Seen::Differs("TLS 1.2 accepted".into()), 0).remove("a").unwrap();
        answers.insert("b".into(), differs);
        let summary = summary(&[pod("a", "10.0.0.1"), pod("b", "10.0.0.2")], &answers, "h");
        assert_eq!((summary.holds, summary.differs, summary.asked()), (1, 1, 2));
        assert_eq!(summary.sentence.as_deref(), Some("b: TLS 1.2 accepted"));
    }
}

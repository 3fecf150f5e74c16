//! Endpoints of Services with a selector: what was there before EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Act, Context, Controller, Error, Kind, Outcome, Plan, Settings, Source};

use super::slices::is_headless;
use super::triggers::{self, Triggers};
use super::{Selecting, pods, selected};
use crate::events::About;
use crate::names::{Name, name, namespace, uid};
use crate::pods::is_ready;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Addresses in one object; what is beyond is left out.
const CAPACITY: usize = 1000;

/// The controller.
#[derive(Debug, Default)]
pub struct LegacyEndpoints {
    selecting: Selecting,
    triggers: Triggers,
}

/// What is known of a Service, or of what it left.
#[derive(Debug)]
pub struct LegacyKnown {
    /// `None`: it is gone.
    pub(super) service: Option<Service>,
    pub(super) pods: Vec<Pod>,
    pub(super) live: Option<Endpoints>,
    pub(super) trigger: Option<Timestamp>,
}

impl Controller for LegacyEndpoints {
    type Key = Name;
    type Snapshot = Option<LegacyKnown>;

    fn name(&self) -> &'static str {
        "endpoints"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let (learning, choosing) = (self.selecting.clone(), self.selecting.clone());
        vec![
            Source::of::<Service>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<Pod>(move |change| choosing.of_pod(change)),
            // Those that somebody made without a Service are nobody's business; those that went may have to come back.
            Source::of::<Endpoints>(|change| {
                change.before.filter(|_| change.after.is_none()).and_then(Name::of).into_iter().collect()
            }),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let live = cx.get_as::<Endpoints>(Some(&key.namespace), &key.name).await?;
        let Some(service) = cx.get_as::<Service>(Some(&key.namespace), &key.name).await? else {
            self.triggers.forget(key);
            return Ok(Some(LegacyKnown { service: None, pods: Vec::new(), live, trigger: None }));
        };
        let Some(pods) = selected(cx, &service).await? else { return Ok(None) };
        let trigger = self.triggers.since_last(key, &service, &pods);
        Ok(Some(LegacyKnown { service: Some(service), pods, live, trigger }))
    }

    fn plan(&self, _: &Name, snapshot: &Self::Snapshot, _: Timestamp) -> Result<Plan, Error> {
        snapshot.as_ref().map_or_else(|| Ok(Plan::new()), plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

pub(super) fn plan(known: &LegacyKnown) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    let Some(service) = &known.service else {
        let gone = known.live.iter().map(|live| {
            let target = Kind::of::<Endpoints>().named(Some(namespace(&live.metadata)), name(&live.metadata));
            Act::delete(target, uid(&live.metadata))
        });
        plan.step(gone.collect());
        return Ok(plan);
    };
    let mut subsets = subsets(service, &known.pods);
    let truncated = truncate(&mut subsets);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    let subsets = (!subsets.is_empty()).then_some(subsets);
    let mut annotations = known.live.as_ref().and_then(|live| live.metadata.annotations.clone()).unwrap_or_default();
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    if let Some(live) = &known.live {
        let same = live.subsets == subsets
            && live.metadata.labels.as_ref() == Some(&labels)
            && live.metadata.annotations.clone().unwrap_or_default() == annotations;
        if same {
            return Ok(plan);
        }
    }
    match known.trigger {
        Some(at) => annotations.insert(triggers::ANNOTATION.to_owned(), triggers::text(at)),
        None => annotations.remove(triggers::ANNOTATION),
    };
    let metadata = known.live.as_ref().map_or_else(
        || ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        |live| live.metadata.clone(),
    );
    let annotations = (!annotations.is_empty()).then_some(annotations);
    let wanted = Endpoints { metadata: ObjectMeta { labels: Some(labels), annotations, ..metadata }, subsets };
    let of = format!("{}/{}", namespace(&service.metadata), name(&service.metadata));
    let about = About::new(service);
    let told = |verb: &'static str, reason: &'static str, act: Act| {
        act.reporting(move |outcome| match outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(why) => Some(about.warning(reason, format!("Failed to {verb} endpoint {of}: {why}"))),
        })
    };
    plan.step(vec![match &known.live {
        None => told("create", "FailedToCreateEndpoint", Act::create(&wanted)?),
        Some(_) => told("update", "FailedToUpdateEndpoint", Act::update(&wanted)?),
    }]);
    Ok(plan)
}

/// Addresses by the ports that they serve, ready or not.
fn subsets(service: &Service, all: &[Pod]) -> Vec<EndpointSubset> {
    let spec = service.spec.as_ref();
    let family = spec.and_then(|s| s.ip_families.as_ref()?.first()).map_or("IPv4", String::as_str);
    let not_ready_too = pods::publishes_not_ready(service);
    let wanted: Vec<_> = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten().collect();
    let mut by_ports: BTreeMap<Vec<usize>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    let mut order: Vec<EndpointPort> = Vec::new();
    let mut known: BTreeSet<(String, i32, String)> = BTreeSet::new();
    let counted = |pod: &&Pod| pods::is_candidate(pod) && (not_ready_too || pod.metadata.deletion_timestamp.is_none());
    for pod in all.iter().filter(counted) {
        let Some(ip) = pods::addresses_of(pod, family).first().map(|ip| (*ip).to_owned()) else { continue };
        let mut ports = Vec::new();
        for port in &wanted {
            let Some(number) = pods::port(pod, port) else { continue };
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let port_name = port.name.clone().unwrap_or_default();
            if known.insert((port_name.clone(), number, protocol.clone())) {
                order.push(EndpointPort {
                    name: Some(port_name.clone()).filter(|name| !name.is_empty()),
                    port: number,
                    protocol: Some(protocol.clone()),
                    app_protocol: port.app_protocol.clone(),
                });
            }
            let is = |p: &EndpointPort| {
                p.name.clone().unwrap_or_default() == port_name
                    && p.port == number
                    && p.protocol.as_deref() == Some(&protocol)
            };
            ports.extend(order.iter().position(is));
        }
        // A Service with ports has no use for a pod without any of them.
        if ports.is_empty() && !wanted.is_empty() {
            continue;
        }
        let address = EndpointAddress {
            ip,
            hostname: pods::hostname(pod, service),
            node_name: pods::node_of(pod).map(str::to_owned),
            target_ref: Some(pods::reference(pod)),
        };
        let ready = not_ready_too || is_ready(pod);
        let (serving, waiting) = by_ports.entry(ports).or_default();
        if ready { serving.push(address) } else { waiting.push(address) }
    }
    let sorted = |mut addresses: Vec<EndpointAddress>| {
        let id = |a: &EndpointAddress| a.target_ref.as_ref().and_then(|of| of.uid.clone());
        addresses.sort_by(|a, b| (&a.ip, id(a)).cmp(&(&b.ip, id(b))));
        (!addresses.is_empty()).then_some(addresses)
    };
    by_ports
        .into_iter()
        .map(|(ports, (addresses, not_ready))| {
            let ports: Vec<EndpointPort> = ports.into_iter().filter_map(|at| order.get(at).cloned()).collect();
            EndpointSubset {
                addresses: sorted(addresses),
                not_ready_addresses: sorted(not_ready),
                ports: (!ports.is_empty()).then_some(ports),
            }
        })
        .collect()
}

/// Leaves out what is beyond the capacity, those that are not ready first. Whether there was any.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let mut room = CAPACITY;
    let mut cut = false;
    let mut keep = |addresses: &mut Option<Vec<EndpointAddress>>| {
        if let Some(list) = addresses {
            cut |= list.len() > room;
            list.truncate(room);
            room -= list.len();
        }
        if addresses.as_ref().is_some_and(Vec::is_empty) {
            *addresses = None;
        }
    };
    subsets.iter_mut().for_each(|subset| keep(&mut subset.addresses));
    subsets.iter_mut().for_each(|subset| keep(&mut subset.not_ready_addresses));
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    cut
}

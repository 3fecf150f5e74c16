//! EndpointSlices of Services with a selector.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Act, Context, Controller, Error, Kind, Outcome, Plan, Settings, Source};
use serde_json::Value;

use super::packing::{self, Packed};
use super::triggers::{self, Triggers};
use super::{Selecting, pods, selected};
use crate::events::About;
use crate::names::{Name, name, namespace, uid};
use crate::owner;
use crate::snapshots::select;

const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The controller.
#[derive(Debug, Default)]
pub struct EndpointSlices {
    selecting: Selecting,
    triggers: Triggers,
}

/// What is known of a Service.
#[derive(Debug)]
pub struct SlicesKnown {
    pub(super) service: Service,
    pub(super) pods: Vec<Pod>,
    /// Nodes of those pods, by name.
    pub(super) nodes: BTreeMap<String, Node>,
    /// The slices that were made for it.
    pub(super) slices: Vec<EndpointSlice>,
    /// When what changed happened.
    pub(super) trigger: Option<Timestamp>,
}

impl Controller for EndpointSlices {
    type Key = Name;
    type Snapshot = Option<SlicesKnown>;

    fn name(&self) -> &'static str {
        "endpointslice"
    }

    fn sources(&self) -> Vec<Source<Name>> {
        let [learning, of_pods, of_nodes] = [(); 3].map(|()| self.selecting.clone());
        vec![
            Source::of::<Service>(move |change| learning.learn(change).into_iter().collect()),
            Source::of::<Pod>(move |change| of_pods.of_pod(change)),
            Source::of::<EndpointSlice>(|change| {
                let labels = change.object().pointer("/metadata/labels");
                let service = labels.filter(|l| l[MANAGED_BY] == MANAGER).and_then(|l| l[SERVICE].as_str());
                let of = |service: &str| Some(Name::new(Name::of(change.object())?.namespace, service));
                service.and_then(of).into_iter().collect()
            }),
            // Pods count once their node is there, and tell its zone.
            Source::of::<Node>(move |change| {
                let zone = |node: Option<&Value>| {
                    Some(node?.pointer("/metadata/labels")?.get("topology.kubernetes.io/zone")?.clone())
                };
                let same =
                    change.before.is_some() == change.after.is_some() && zone(change.before) == zone(change.after);
                if same { Vec::new() } else { of_nodes.names() }
            }),
        ]
    }

    async fn snapshot(&self, cx: &Context, key: &Name) -> Result<Self::Snapshot, Error> {
        let Some(service) = cx.get_as::<Service>(Some(&key.namespace), &key.name).await? else {
            self.triggers.forget(key);
            return Ok(None);
        };
        let Some(pods) = selected(cx, &service).await? else { return Ok(None) };
        let mut nodes = BTreeMap::new();
        let named: BTreeSet<&str> = pods.iter().filter_map(pods::node_of).collect();
        for node in named {
            if let Some(node) = cx.get_as::<Node>(None, node).await? {
                nodes.insert(name(&node.metadata).to_owned(), node);
            }
        }
        let slices = select::<EndpointSlice>(cx, &key.namespace, |slice| {
            let label = |of: &str| slice.pointer("/metadata/labels").and_then(|l| l.get(of)?.as_str());
            label(SERVICE) == Some(&key.name) && label(MANAGED_BY) == Some(MANAGER)
        });
        let slices = slices.await?;
        let trigger = self.triggers.since_last(key, &service, &pods);
        Ok(Some(SlicesKnown { service, pods, nodes, slices, trigger }))
    }

    fn plan(&self, _: &Name, snapshot: &Self::Snapshot, _: Timestamp) -> Result<Plan, Error> {
        snapshot.as_ref().map_or_else(|| Ok(Plan::new()), plan)
    }

    fn settings(&self) -> Settings {
        crate::settings()
    }
}

/// The address families of a Service.
fn families(service: &Service) -> Vec<&str> {
    let spec = service.spec.as_ref();
    let given: Vec<&str> =
        spec.and_then(|spec| spec.ip_families.as_ref()).into_iter().flatten().map(String::as_str).collect();
    if given.is_empty() { vec!["IPv4"] } else { given }
}

pub(super) fn is_headless(service: &Service) -> bool {
    let ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    ip.is_empty() || ip == "None"
}

pub(super) fn plan(known: &SlicesKnown) -> Result<Plan, Error> {
    let SlicesKnown { service, slices, .. } = known;
    let mut plan = Plan::new();
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(plan);
    }
    let families = families(service);
    let of = |slice: &&EndpointSlice| {
        slice.metadata.deletion_timestamp.is_none()
            && owner::controller(&slice.metadata).is_none_or(|by| by.uid == uid(&service.metadata))
    };
    let existing: Vec<&EndpointSlice> = slices.iter().filter(of).collect();
    let (mut creates, mut updates, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    for family in &families {
        let here: Vec<EndpointSlice> =
            existing.iter().filter(|slice| slice.address_type == *family).map(|slice| (*slice).clone()).collect();
        family_of(known, family, here, &mut creates, &mut updates, &mut deletes);
    }
    let other = existing.iter().filter(|slice| !families.contains(&slice.address_type.as_str()));
    deletes.extend(other.map(|slice| (*slice).clone()));
    let about = About::new(service);
    let told = |verb: &'static str, act: Act| {
        let (about, service) = (about.clone(), service.clone());
        act.reporting(move |outcome| match outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(why) => {
                let of = format!("{}/{}", namespace(&service.metadata), name(&service.metadata));
                let note = format!("Error updating Endpoint Slices for Service {of}: failed to {verb} EndpointSlice for Service {of}: {why}");
                Some(about.warning("FailedToUpdateEndpointSlices", note))
            }
        })
    };
    let made = creates.iter().map(|slice| Ok(told("create", Act::create(slice)?)));
    plan.step(made.collect::<Result<_, Error>>()?);
    let changed = updates.iter().map(|slice| Ok(told("update", Act::update(slice)?)));
    plan.step(changed.collect::<Result<_, Error>>()?);
    let gone = deletes.iter().map(|slice| {
        let target = Kind::of::<EndpointSlice>().named(Some(namespace(&slice.metadata)), name(&slice.metadata));
        told("delete", Act::delete(target, uid(&slice.metadata)))
    });
    plan.step(gone.collect());
    Ok(plan)
}

/// The slices of one family: by ports, for pods may give a name different numbers.
fn family_of(
    known: &SlicesKnown,
    family: &str,
    existing: Vec<EndpointSlice>,
    creates: &mut Vec<EndpointSlice>,
    updates: &mut Vec<EndpointSlice>,
    deletes: &mut Vec<EndpointSlice>,
) {
    let service = &known.service;
    let mut wanted: BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    for pod in known.pods.iter().filter(|pod| pods::is_candidate(pod)) {
        let node = pods::node_of(pod).and_then(|node| known.nodes.get(node));
        // A pod whose node is gone is as good as gone, unless its Service wants it in any state.
        if node.is_none() && !pods::publishes_not_ready(service) {
            continue;
        }
        if let Some(endpoint) = pods::endpoint(pod, node, service, family) {
            let ports = ports(service, pod);
            wanted.entry(ports_key(&ports)).or_insert_with(|| (ports, Vec::new())).1.push(endpoint);
        }
    }
    let mut there: BTreeMap<String, Vec<EndpointSlice>> = BTreeMap::new();
    for slice in existing {
        there.entry(ports_key(slice.ports.as_deref().unwrap_or_default())).or_default().push(slice);
    }
    let mut kept = 0;
    let mut gone = Vec::new();
    for (key, (ports, endpoints)) in wanted {
        let Packed { mut update, delete, create, kept: stay } =
            packing::pack(there.remove(&key).unwrap_or_default(), endpoints, |slice| relabel(slice, service));
        kept += stay + update.len() + create.len();
        update.iter_mut().for_each(|slice| annotate(slice, known.trigger));
        updates.append(&mut update);
        gone.extend(delete);
        creates.extend(create.into_iter().map(|endpoints| new(known, family, ports.clone(), endpoints)));
    }
    gone.extend(there.into_values().flatten());
    if kept == 0 {
        // One empty slice says that there is nothing.
        let empty = |slice: &EndpointSlice| {
            slice.endpoints.as_ref().is_none_or(Vec::is_empty) && slice.ports.as_ref().is_none_or(Vec::is_empty)
        };
        let is_placeholder = |slice: &EndpointSlice| {
            empty(slice) && owner::controller(&slice.metadata).is_some() && !relabel(&mut slice.clone(), service)
        };
        match gone.iter().position(is_placeholder) {
            Some(at) => drop(gone.remove(at)),
            None => creates.push(new(known, family, Vec::new(), Vec::new())),
        }
    }
    deletes.extend(gone);
}

/// The ports of a pod that a Service's ports lead to.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let of = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(pods::port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).filter_map(of).collect()
}

/// The same for the same ports, in whatever order.
fn ports_key(ports: &[EndpointPort]) -> String {
    let mut texts: Vec<String> = ports
        .iter()
        .map(|p| {
            format!(
                "{:?} {:?} {:?} {:?}",
                p.name.as_deref().unwrap_or_default(),
                p.port,
                p.protocol.as_deref().unwrap_or("TCP"),
                p.app_protocol
            )
        })
        .collect();
    texts.sort();
    texts.join(",")
}

fn new(known: &SlicesKnown, family: &str, ports: Vec<EndpointPort>, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let service = &known.service;
    let mut slice = EndpointSlice {
        metadata: ObjectMeta {
            // Room for what the server adds.
            generate_name: Some(format!("{}-", name(&service.metadata).chars().take(247).collect::<String>())),
            namespace: Some(namespace(&service.metadata).to_owned()),
            owner_references: Some(vec![owner::reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        ports: Some(ports),
        endpoints: Some(endpoints),
    };
    relabel(&mut slice, service);
    annotate(&mut slice, known.trigger);
    slice
}

/// Sets the labels: the Service's, and those that say whose it is. Whether they were others.
fn relabel(slice: &mut EndpointSlice, service: &Service) -> bool {
    let reserved = [SERVICE, MANAGED_BY, HEADLESS];
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| !reserved.contains(&key.as_str()));
    labels.insert(SERVICE.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let changed = slice.metadata.labels.as_ref() != Some(&labels);
    slice.metadata.labels = Some(labels);
    changed
}

fn annotate(slice: &mut EndpointSlice, trigger: Option<Timestamp>) {
    let mut annotations = slice.metadata.annotations.take().unwrap_or_default();
    match trigger {
        Some(at) => annotations.insert(triggers::ANNOTATION.to_owned(), triggers::text(at)),
        None => annotations.remove(triggers::ANNOTATION),
    };
    slice.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
}

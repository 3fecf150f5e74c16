//! A scripted kubelet and workload controllers in one: it makes the pods of StatefulSets and Deployments and gives them the
//! state that the script says. One step at a time, so tests need no sleeps. May touch workloads and pods; with
//! [`Kubelet::serving`] also loopback, where gateways' pods really listen.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use paddock_reconcile::{Clock, Kind};
use serde_json::{Value, json};

use crate::World;
use crate::gateway::{Gateway, Mounted};

/// What becomes of a workload's pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// They run and are ready.
    #[default]
    Ready,
    /// Their containers end again and again.
    Crash,
    /// No node takes them.
    Unschedulable,
    /// Their image cannot be pulled.
    NoImage,
}

/// The script: the fate of workloads by namespace and name. What it does not name becomes ready.
#[derive(Clone, Debug, Default)]
pub struct Kubelet {
    rules: Vec<(String, String, Fate)>,
    missing_images: Vec<String>,
    beside_controllers: bool,
    network: Option<Network>,
}

/// The listeners of gateways' pods.
#[derive(Clone, Debug)]
struct Network {
    clock: Clock,
    /// How long after a Secret changed its pods see it.
    delay: Duration,
    listening: Arc<Mutex<HashMap<(String, String), Listening>>>,
}

#[derive(Debug)]
struct Listening {
    pod: String,
    gateway: Arc<Gateway>,
    mounted: Mounted,
    /// What is on its way to the pod, and since when.
    coming: Option<(Mounted, Duration)>,
}

impl Kubelet {
    /// Everything becomes ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pods of gateways really listen, on loopback: see [`Gateway`]. A changed Secret reaches them in the first step that is
    /// `delay` after the one that noticed it.
    #[must_use]
    pub fn serving(mut self, clock: Clock, delay: Duration) -> Self {
        self.network = Some(Network { clock, delay, listening: Arc::default() });
        self
    }

    /// The workloads have controllers of their own, such as the embedded server's loops: only pods take steps, and a pod's fate is
    /// that of its own name.
    #[must_use]
    pub fn beside_controllers(mut self) -> Self {
        self.beside_controllers = true;
        self
    }

    /// The listener of this workload's pod, while it runs.
    pub fn gateway(&self, namespace: &str, workload: &str) -> Option<Arc<Gateway>> {
        let listening = self.network.as_ref()?.lock();
        listening.get(&(namespace.to_owned(), workload.to_owned())).map(|listening| Arc::clone(&listening.gateway))
    }

    /// From the next step on, the workload (or bare pod) of this name has this fate. Later rules win.
    pub fn set(&mut self, namespace: &str, name: &str, fate: Fate) -> &mut Self {
        self.rules.push((namespace.to_owned(), name.to_owned(), fate));
        self
    }

    /// From the next step on, nobody can pull this image: whatever runs of it does not come up.
    pub fn lose_image(&mut self, image: &str) -> &mut Self {
        self.missing_images.push(image.to_owned());
        self
    }

    fn fate_of(&self, pod: &Value, otherwise: Fate) -> Fate {
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        let missing = |c: &Value| c["image"].as_str().is_some_and(|i| self.missing_images.iter().any(|m| m == i));
        if containers.is_some_and(|all| all.iter().any(missing)) { Fate::NoImage } else { otherwise }
    }

    fn fate(&self, namespace: &str, name: &str) -> Fate {
        let rule = self.rules.iter().rev().find(|(ns, n, _)| ns == namespace && n == name);
        rule.map_or_else(Fate::default, |(_, _, fate)| *fate)
    }

    /// Lets every workload and pod take its next step.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn step(&self, world: &impl World) -> kube::Result<()> {
        for kind in [Kind::of::<StatefulSet>(), Kind::of::<Deployment>()] {
            for workload in list(world, &kind).await? {
                if !self.beside_controllers && !paddock_reconcile::object::is_terminating(&workload) {
                    self.step_workload(world, &kind, &workload).await?;
                }
            }
        }
        for pod in list(world, &Kind::of::<Pod>()).await? {
            if self.beside_controllers || pod.pointer("/metadata/ownerReferences").is_none() {
                let fate = self.fate(text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
                let fate = self.fate_of(&pod, fate);
                set_status(world, &Kind::of::<Pod>(), &pod, pod_status(&pod, fate)).await?;
            }
        }
        Ok(())
    }

    async fn step_workload(&self, world: &impl World, kind: &Kind, workload: &Value) -> kube::Result<()> {
        let (namespace, name) = (text(workload, "/metadata/namespace"), text(workload, "/metadata/name"));
        let fate = self.fate(namespace, name);
        let replicas = workload.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        let pods = Kind::of::<Pod>();
        let api = pods.api(world.client(), Some(namespace));
        let (mut updated, mut ready) = (0, 0);
        for ordinal in 0..replicas {
            let pod_name = format!("{name}-{ordinal}");
            let template = &workload["spec"]["template"];
            let current = api.get_opt(&pod_name).await?.and_then(|pod| serde_json::to_value(pod).ok());
            // A changed template replaces the pod, as a rolling update would.
            let revision = format!("{}", workload["metadata"]["generation"]);
            let stale =
                current.as_ref().is_some_and(|pod| pod["metadata"]["annotations"]["trial/generation"] != *revision);
            let waits = current.as_ref().is_some_and(|pod| !is_ready(pod)) && kind.kind == "StatefulSet";
            if stale && waits {
                // As a StatefulSet does: a pod that is not ready is waited for before the next one is made, for ever.
                continue;
            }
            if stale {
                api.delete(&pod_name, &kube::api::DeleteParams::default().grace_period(0)).await?;
            }
            let pod = match current {
                Some(pod) if !stale => pod,
                _ => {
                    let mut pod = json!({
                        "apiVersion": "v1", "kind": "Pod",
                        "metadata": template["metadata"].clone(), "spec": template["spec"].clone(),
                    });
                    if !pod["metadata"].is_object() {
                        pod["metadata"] = json!({});
                    }
                    pod["metadata"]["name"] = pod_name.as_str().into();
                    pod["metadata"]["namespace"] = namespace.into();
                    pod["metadata"]["annotations"]["trial/generation"] = revision.into();
                    add_claims(&mut pod, workload, &pod_name);
                    pod["metadata"]["ownerReferences"] = json!([{
                        "apiVersion": kind.api_version(), "kind": kind.kind, "name": name,
                        "uid": workload["metadata"]["uid"], "controller": true,
                    }]);
                    let object: DynamicObject = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
                    let made = api.create(&PostParams::default(), &object).await?;
                    serde_json::to_value(made).map_err(kube::Error::SerdeError)?
                }
            };
            let fate = self.fate_of(&pod, fate);
            let mut status = pod_status(&pod, fate);
            if let Some(network) = &self.network
                && let Some(address) = network.step(world, name, &pod, fate).await?
            {
                status["podIP"] = address.ip().to_string().into();
            }
            set_status(world, &pods, &pod, status).await?;
            updated += 1;
            ready += u64::from(fate == Fate::Ready);
        }
        let status = json!({
            "observedGeneration": workload["metadata"]["generation"],
            "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready,
        });
        set_status(world, kind, workload, status).await
    }
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Listening>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts, reloads or ends the listener of a pod that mounts a server's certificate. Others have none.
    async fn step(
        &self,
        world: &impl World,
        workload: &str,
        pod: &Value,
        fate: Fate,
    ) -> kube::Result<Option<SocketAddr>> {
        let namespace = text(pod, "/metadata/namespace");
        let key = (namespace.to_owned(), workload.to_owned());
        let Some(server) = mounted_secret(pod, "/etc/openshell-tls/server") else { return Ok(None) };
        if fate != Fate::Ready {
            self.lock().remove(&key);
            return Ok(None);
        }
        let secrets: Api<Secret> = Api::namespaced(world.client(), namespace);
        let Some(server) = secrets.get_opt(&server).await? else { return Ok(None) };
        let clients = mounted_secret(pod, "/etc/openshell-tls/client-ca").unwrap_or_default();
        let clients = secrets.get_opt(&clients).await?.unwrap_or_default();
        let of = |secret: &Secret, key: &str| {
            secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone()).unwrap_or_default()
        };
        let found = Mounted {
            certificate: of(&server, "tls.crt"),
            key: of(&server, "tls.key"),
            client_authorities: of(&clients, "ca.crt"),
        };
        let (uid, now) = (text(pod, "/metadata/uid"), self.clock.monotonic());
        if let Some(listening) = self.lock().get_mut(&key).filter(|listening| listening.pod == uid) {
            listening.see(found, now, self.delay);
            return Ok(Some(listening.gateway.address));
        }
        // What cannot be served is a gateway that does not start; the script says ready, so nobody listens.
        let Ok(gateway) = Gateway::start(&found, self.clock.clone()).await else { return Ok(None) };
        let address = gateway.address;
        let started = Listening { pod: uid.to_owned(), gateway: Arc::new(gateway), mounted: found, coming: None };
        self.lock().insert(key, started);
        Ok(Some(address))
    }
}

impl Listening {
    fn see(&mut self, found: Mounted, now: Duration, delay: Duration) {
        if found == self.mounted {
            self.coming = None;
            return;
        }
        // The newest content arrives at the time of the first change: the kubelet syncs in its own rhythm.
        let since = self.coming.take().map_or(now, |(_, since)| since);
        if now.saturating_sub(since) >= delay {
            self.gateway.reload(&found);
            self.mounted = found;
        } else {
            self.coming = Some((found, since));
        }
    }
}

/// A StatefulSet's pod has a volume for each of its claims, named after the claim and the pod.
fn add_claims(pod: &mut Value, workload: &Value, pod_name: &str) {
    let claims = workload.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let names = claims.into_iter().flatten().map(|claim| text(claim, "/metadata/name"));
    let volumes: Vec<Value> = names
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": format!("{name}-{pod_name}")}}))
        .collect();
    match &mut pod["spec"]["volumes"] {
        Value::Array(there) => there.extend(volumes),
        none => *none = volumes.into(),
    }
}

/// The Secret that the pod's first container sees at `path`.
fn mounted_secret(pod: &Value, path: &str) -> Option<String> {
    let mounts = pod.pointer("/spec/containers/0/volumeMounts")?.as_array()?;
    let volume = &mounts.iter().find(|mount| mount["mountPath"] == path)?["name"];
    let volumes = pod.pointer("/spec/volumes")?.as_array()?;
    let secret = &volumes.iter().find(|one| one["name"] == *volume)?["secret"]["secretName"];
    secret.as_str().map(str::to_owned)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// What a runtime would say of an image that is known by its tag.
fn image_id(image: &Value) -> String {
    let image = image.as_str().unwrap_or_default();
    let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
    format!("{name}@sha256:{}", paddock_pki::sha256_hex(image.as_bytes()))
}

fn pod_status(pod: &Value, fate: Fate) -> Value {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
    let container = |state: Value, ready: bool, restarts: u32| -> Vec<Value> {
        let of = |c: &Value| {
            json!({
                "name": c["name"], "image": c["image"], "imageID": if ready { image_id(&c["image"]) } else { String::new() },
                "ready": ready, "restartCount": restarts, "state": state,
            })
        };
        containers.iter().map(of).collect()
    };
    match fate {
        Fate::Ready => json!({
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": container(json!({"running": {}}), true, 0),
        }),
        Fate::Crash => json!({
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
            "containerStatuses": container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false, 5),
        }),
        Fate::NoImage => json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
            "containerStatuses": container(json!({"waiting": {"reason": "ImagePullBackOff"}}), false, 0),
        }),
        Fate::Unschedulable => json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        }),
    }
}

async fn list(world: &impl World, kind: &Kind) -> kube::Result<Vec<Value>> {
    let listed = kind.api(world.client(), None).list(&ListParams::default()).await?;
    listed.items.into_iter().map(|o| serde_json::to_value(o).map_err(kube::Error::SerdeError)).collect()
}

async fn set_status(world: &impl World, kind: &Kind, object: &Value, status: Value) -> kube::Result<()> {
    let api = kind.api(world.client(), Some(text(object, "/metadata/namespace")));
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(text(object, "/metadata/name"), &PatchParams::default(), &patch).await.map(drop)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

//! A scripted kubelet and workload controllers in one: it makes the pods of StatefulSets and Deployments and gives them the
//! state that the script says. One step at a time, so tests need no sleeps. May touch workloads and pods.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use paddock_reconcile::Kind;
use serde_json::{Value, json};

use crate::World;

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
}

/// The script: the fate of workloads by namespace and name. What it does not name becomes ready.
#[derive(Clone, Debug, Default)]
pub struct Kubelet {
    rules: Vec<(String, String, Fate)>,
}

impl Kubelet {
    /// Everything becomes ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the next step on, the workload (or bare pod) of this name has this fate. Later rules win.
    pub fn set(&mut self, namespace: &str, name: &str, fate: Fate) -> &mut Self {
        self.rules.push((namespace.to_owned(), name.to_owned(), fate));
        self
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
                if !paddock_reconcile::object::is_terminating(&workload) {
                    self.step_workload(world, &kind, &workload).await?;
                }
            }
        }
        for pod in list(world, &Kind::of::<Pod>()).await? {
            if pod.pointer("/metadata/ownerReferences").is_none() {
                let fate = self.fate(text(&pod, "/metadata/namespace"), text(&pod, "/metadata/name"));
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
        for ordinal in 0..replicas {
            let pod_name = format!("{name}-{ordinal}");
            let template = &workload["spec"]["template"];
            let current = api.get_opt(&pod_name).await?.and_then(|pod| serde_json::to_value(pod).ok());
            // A changed template replaces the pod, as a rolling update would.
            let revision = format!("{}", workload["metadata"]["generation"]);
            let stale =
                current.as_ref().is_some_and(|pod| pod["metadata"]["annotations"]["trial/generation"] != *revision);
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
                    pod["metadata"]["ownerReferences"] = json!([{
                        "apiVersion": kind.api_version(), "kind": kind.kind, "name": name,
                        "uid": workload["metadata"]["uid"], "controller": true,
                    }]);
                    let object: DynamicObject = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
                    let made = api.create(&PostParams::default(), &object).await?;
                    serde_json::to_value(made).map_err(kube::Error::SerdeError)?
                }
            };
            set_status(world, &pods, &pod, pod_status(&pod, fate)).await?;
        }
        let ready = if fate == Fate::Ready { replicas } else { 0 };
        let status = json!({
            "observedGeneration": workload["metadata"]["generation"],
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
        });
        set_status(world, kind, workload, status).await
    }
}

fn pod_status(pod: &Value, fate: Fate) -> Value {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
    let container = |state: Value, ready: bool, restarts: u32| -> Vec<Value> {
        let of = |c: &Value| {
            json!({
                "name": c["name"], "image": c["image"], "imageID": "", "ready": ready, "restartCount": restarts, "state": state,
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

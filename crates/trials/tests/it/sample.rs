//! The smallest controller with everything in it: the ConfigMap `app` of a namespace becomes a workload and a Service.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use paddock_reconcile::{
    Context, Controller, Dependency, Desired, Error, Event, Gate, Kind, ObjectRef, OnDrift, Plan, Prune, Settings,
    Source, Verdict,
};
use serde_json::{Value, json};

pub(crate) const KEY: &str = "sample.dev/key";

/// Keys are namespaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// A further kind whose objects are wanted, if any.
    pub(crate) extra: Option<Kind>,
}

#[derive(Debug)]
pub(crate) struct Snapshot {
    intent: Option<Value>,
    /// A namespace that the intent needs and that does not exist.
    missing: Option<String>,
}

/// The report of a tenant.
fn told(key: &str, what: &str) -> Result<Desired, Error> {
    Desired::raw(Kind::of::<ConfigMap>(), json!({"metadata": {"name": "told", "namespace": key}, "data": {"is": what}}))
}

impl Controller for Sample {
    type Key = String;
    type Snapshot = Snapshot;

    fn name(&self) -> &'static str {
        "sample"
    }

    fn sources(&self) -> Vec<Source<String>> {
        let namespace = |o: &Value| o["metadata"]["namespace"].as_str().map(str::to_owned);
        let mut sources = vec![
            Source::of::<ConfigMap>(move |c| namespace(c.object()).into_iter().collect()).fields("metadata.name=app"),
            Source::labelled(Kind::of::<Deployment>(), KEY),
            Source::labelled(Kind::of::<StatefulSet>(), KEY),
            Source::labelled(Kind::of::<Service>(), KEY),
            Source::of::<Namespace>(|_| Vec::new()),
        ];
        sources.extend(self.extra.clone().map(|kind| Source::labelled(kind, KEY)));
        sources
    }

    async fn snapshot(&self, cx: &Context, key: &String) -> Result<Snapshot, Error> {
        let intent = cx.get(&ObjectRef::of::<ConfigMap>(Some(key), "app")).await?.map(|o| o["data"].clone());
        let mut missing = intent.as_ref().and_then(|data| data["needs"].as_str()).map(str::to_owned);
        if let Some(name) = &missing
            && cx.get(&ObjectRef::of::<Namespace>(None, name)).await?.is_some()
        {
            missing = None;
        }
        Ok(Snapshot { intent, missing })
    }

    fn plan(&self, key: &String, snapshot: &Snapshot, _now: Timestamp) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        plan.prune = Prune::recorded_in("sample-system", "record", key).only_labelled(KEY, key);
        let Some(intent) = &snapshot.intent else { return Ok(plan) };
        if let Some(name) = &snapshot.missing {
            let on = Dependency::Object(ObjectRef::of::<Namespace>(None, name));
            return Err(Error::waiting(on, "it is needed"));
        }
        let setting = |name: &str| intent[name].as_str().unwrap_or_default();
        let image = setting("image");
        if image.is_empty() {
            plan.prune = Prune::Nothing;
            plan.verdict = Verdict::Invalid { reason: "BadIntent", message: format!("{key}/app: image is missing") };
            return Ok(plan);
        }
        if setting("fatal") == "true" {
            return Err(Error::fatal("asked for"));
        }
        let labels = json!({KEY: key, "app": if setting("app").is_empty() { "web" } else { setting("app") }});
        let pod = json!({
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": image, "resources": {"limits": {"cpu": "1000m"}}}]},
        });
        let metadata = json!({"name": "web", "namespace": key, "labels": labels});
        let mut spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": labels["app"]}}, "template": pod});
        let kind = if setting("stateful") == "true" {
            spec["serviceName"] = setting("serviceName").into();
            Kind::of::<StatefulSet>()
        } else {
            Kind::of::<Deployment>()
        };
        let mut workload = Desired::raw(kind, json!({"metadata": metadata, "spec": spec}))?;
        if setting("gate") == "true" {
            workload = workload.then_wait_for(Gate::rolled_out());
        }
        plan.apply(workload);
        if setting("service") != "false" {
            let spec = json!({"selector": {"app": labels["app"]}, "ports": [{"port": 80}]});
            let service = Desired::raw(Kind::of::<Service>(), json!({"metadata": metadata, "spec": spec}))?;
            plan.apply(if setting("drift") == "report" { service.on_drift(OnDrift::Report) } else { service });
        }
        if let Some(kind) = &self.extra {
            plan.apply(Desired::raw(kind.clone(), json!({"metadata": metadata}))?);
        }
        if let Some((name, uid)) = setting("removes").split_once('=') {
            plan.delete(ObjectRef::of::<Service>(Some(key), name), uid);
        }
        if setting("report") == "true" {
            plan.prune = plan.prune.at_most(0);
            plan.report.apply.push(told(key, "well")?);
            plan.report.events.push(Event::normal(
                ObjectRef::of::<ConfigMap>(Some(key), "told"),
                "Told",
                "all is well",
            ));
            let key = key.clone();
            plan.on_error(move |error| {
                let mut plan = Plan::new();
                plan.apply.extend(told(&key, &error.to_string()));
                plan
            });
        }
        let about = ObjectRef::of::<ConfigMap>(Some(key), "app");
        let of = about.clone();
        plan.on_drift(move |drifts| {
            let mut plan = Plan::new();
            for drift in drifts {
                plan.event(Event::warning(of.clone(), "Drift", drift.to_string()));
            }
            plan
        });
        plan.event(Event::normal(about, "Applied", "everything is applied"));
        Ok(plan)
    }

    fn settings(&self) -> Settings {
        Settings::default()
    }
}

//! What CustomResourceDefinitions need after a write: at the end of one its objects are deleted, then its finalizer is taken
//! off; names that it held go to the definition that waited for them.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Caller, path};
use crate::api::CRDS;
use crate::handlers::is_terminating;
use crate::resource::Lookup;
use crate::status::Status;
use crate::store::{ListRequest, Object};

const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// How soon a definition whose objects are not gone yet is looked at again.
const RETRY: Duration = Duration::from_millis(200);

pub(super) async fn run(caller: Caller) {
    while caller.api.store.is_open() {
        let Ok(mut watch) = caller.api.store.watch(CRDS, caller.api.store.revision()) else { continue };
        loop {
            let mut waiting = false;
            for crd in &pending(&caller) {
                if is_terminating(crd) {
                    waiting |= !finish(&caller, crd).await.unwrap_or(false);
                } else if let Some(status) = reaccepted(&caller, crd) {
                    // A conflict means that the definition changed: the next event brings it here again.
                    caller.call(Method::PATCH, &status_path(crd), "", Some(&json!({"status": status}))).await.ok();
                }
            }
            tokio::select! {
                events = watch.next() => if events.is_err() { break },
                () = tokio::time::sleep(RETRY), if waiting => {}
            }
        }
    }
}

/// Definitions with something left to do, told by their bytes: most have nothing, and all may be megabytes.
fn pending(caller: &Caller) -> Vec<Value> {
    let Ok(listing) = caller.api.store.list(&ListRequest::all(CRDS)) else { return Vec::new() };
    let says = |bytes: &[u8], text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
    let waits = |object: &&Object| {
        says(object.bytes(), "\"deletionTimestamp\":")
            || says(object.bytes(), "\"type\":\"NamesAccepted\"") && says(object.bytes(), "Conflict\"")
    };
    listing.objects.iter().filter(waits).filter_map(|object| object.decode().ok()).collect()
}

/// The new status of a definition that waits for its names, when they are free.
fn reaccepted(caller: &Caller, crd: &Value) -> Option<Value> {
    let others = caller.api.names_of_group(crd["spec"]["group"].as_str().unwrap_or_default());
    crate::crd::reaccepted(crd, &others, caller.api.clock.now())
}

fn status_path(crd: &Value) -> String {
    let name = crd["metadata"]["name"].as_str().unwrap_or_default();
    format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}/status")
}

/// Deletes the definition's objects. `true`: nothing is left to do.
async fn finish(caller: &Caller, crd: &Value) -> Result<bool, Status> {
    let finalizers: Vec<Value> = crd["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        return Ok(true);
    }
    let (group, plural) = (
        crd["spec"]["group"].as_str().unwrap_or_default(),
        crd["spec"]["names"]["plural"].as_str().unwrap_or_default(),
    );
    // In the version that objects are stored in nothing needs to be converted.
    let served = caller.api.registry.served();
    let of_it = served.resources.iter().filter(|r| *r.group == *group && *r.plural == *plural);
    let resource = of_it.max_by_key(|r| *r.storage_version == *r.api_version()).cloned();
    drop(served);
    if let Some(resource) = resource {
        let mut left = false;
        for object in Lookup::list(&caller.api, &resource.storage, "") {
            let (namespace, name) = (
                object["metadata"]["namespace"].as_str().unwrap_or_default(),
                object["metadata"]["name"].as_str().unwrap_or_default(),
            );
            if !is_terminating(&object) {
                let options = json!({"preconditions": {"uid": object["metadata"]["uid"]}});
                // A conflict or a missing object is as good as done: the look below decides.
                caller.call(Method::DELETE, &path(&resource, namespace, name), "", Some(&options)).await.ok();
            }
            left |= caller.api.lookup(&resource.storage, namespace, name).is_some();
        }
        if left {
            return Ok(false);
        }
    }
    let rest: Vec<&Value> = finalizers.iter().filter(|f| *f != FINALIZER).collect();
    let name = crd["metadata"]["name"].as_str().unwrap_or_default();
    let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": crd["metadata"]["resourceVersion"]}});
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    caller.call(Method::PATCH, &path, "", Some(&patch)).await.map(|_| true)
}

//! A Kubernetes API with a node plugged in: `cargo run -p paddock-apiserver --example node -- 127.0.0.1:6443 kubeconfig.yaml`.
//!
//! The pod `p` on the node `n` has no container behind it: `kubectl logs p`, `kubectl exec -i p -- cat`,
//! `kubectl attach p` and `kubectl port-forward p 8080:80` show how far a request gets and what a node is asked.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use paddock_apiserver::Server;
use serde_json::{from_value, json};

#[path = "../tests/it/puppet.rs"]
mod puppet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6443".to_owned()).parse()?;
    let kubeconfig = arguments.next().unwrap_or_else(|| "kubeconfig.yaml".to_owned());
    let server = Server::builder().listen(address).start().await?;
    server.connect_node("n", Arc::new(puppet::Puppet));
    let nodes: Api<Node> = Api::all(server.client());
    nodes.create(&Default::default(), &from_value(json!({"metadata": {"name": "n"}}))?).await?;
    let pods: Api<Pod> = Api::default_namespaced(server.client());
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "example.org/none:1"}]}});
    pods.create(&Default::default(), &from_value(pod)?).await?;
    // kubectl asks for ports and commands only of pods that run.
    let running = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "c", "ready": true, "restartCount": 0,
        "image": "example.org/none:1", "imageID": "", "state": {"running": {}}}]}});
    pods.patch_status("p", &Default::default(), &kube::api::Patch::Merge(running)).await?;
    server.write_kubeconfig(Path::new(&kubeconfig))?;
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}

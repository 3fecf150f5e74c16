//! Paddock's controllers in this process: started by `up`, `demo` and `operator` alike.

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

use crate::exit::{Failure, Outcome, chain};

/// The control plane's own namespace where no other is named.
pub(crate) const CONTROL_NAMESPACE: &str = "paddock-system";

/// Creates a namespace unless it is there.
pub(crate) async fn create_namespace(client: &Client, name: &str) -> Outcome {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    match Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(Failure::undetermined(format!("cannot create the namespace {name}: {}", chain(&error)))),
    }
}

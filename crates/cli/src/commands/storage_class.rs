//! The default StorageClass of a machine on its own: a claim that names no class gets a directory. Touches the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use paddock_api::annotations;
use paddock_apiserver::DIRECTORY_PROVISIONER;
use serde_json::json;

use super::controllers::CONTROL_NAMESPACE;
use crate::exit::{Failure, Outcome, chain};

/// The class's name.
const NAME: &str = "directory";
/// Kubernetes' mark of the default class.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// Makes the class, once: where it was deleted, or another class is the default, it stays away. That it was seen to is noted on the
/// control plane's namespace, which must be there.
pub(super) async fn provide(client: &Client) -> Outcome {
    provided(client).await.map_err(|error| {
        Failure::undetermined(format!("cannot provide the default StorageClass {NAME}: {}", chain(&error)))
    })
}

async fn provided(client: &Client) -> kube::Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    if namespaces.get(CONTROL_NAMESPACE).await?.annotations().contains_key(annotations::DEFAULT_STORAGE_CLASS) {
        return Ok(());
    }
    let classes = Api::<StorageClass>::all(client.clone());
    let is_default = |class: &StorageClass| class.annotations().get(IS_DEFAULT).is_some_and(|value| value == "true");
    let seen_to = if classes.list(&ListParams::default()).await?.iter().any(is_default) {
        "theirs"
    } else {
        match classes.create(&PostParams::default(), &class()).await {
            Ok(_) => {
                tracing::info!(class = NAME, "claims that name no StorageClass get a directory");
                "made"
            }
            // Somebody has a class of this name, and it is not the default.
            Err(kube::Error::Api(status)) if status.is_already_exists() => "theirs",
            Err(error) => return Err(error),
        }
    };
    let note = json!({"metadata": {"annotations": {annotations::DEFAULT_STORAGE_CLASS: seen_to}}});
    namespaces.patch(CONTROL_NAMESPACE, &PatchParams::default(), &Patch::Merge(&note)).await?;
    Ok(())
}

fn class() -> StorageClass {
    let marks = BTreeMap::from([(IS_DEFAULT.to_owned(), "true".to_owned())]);
    StorageClass {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), annotations: Some(marks), ..ObjectMeta::default() },
        provisioner: DIRECTORY_PROVISIONER.to_owned(),
        ..StorageClass::default()
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DeleteParams;
    use paddock_apiserver::Server;

    use super::*;
    use crate::commands::controllers::create_namespace;

    async fn machine() -> (Server, Client, Api<StorageClass>) {
        let server = Server::builder().in_memory().loops(false).start().await.unwrap();
        let client = server.client();
        create_namespace(&client, CONTROL_NAMESPACE).await.unwrap();
        (server, client.clone(), Api::all(client))
    }

    #[tokio::test]
    async fn a_new_machine_gets_a_default_class_of_directories() {
        let (_server, client, classes) = machine().await;
        provide(&client).await.unwrap();
        let class = classes.get(NAME).await.unwrap();
        assert_eq!(
            (class.provisioner.as_str(), class.annotations()[IS_DEFAULT].as_str()),
            (DIRECTORY_PROVISIONER, "true")
        );
    }

    #[tokio::test]
    async fn a_class_that_was_deleted_is_not_made_again() {
        let (_server, client, classes) = machine().await;
        provide(&client).await.unwrap();
        classes.delete(NAME, &DeleteParams::default()).await.unwrap();
        provide(&client).await.unwrap();
        assert!(classes.get_opt(NAME).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn where_another_class_is_the_default_there_is_none_of_ours_not_even_when_that_goes() {
        let (_server, client, classes) = machine().await;
        let theirs = StorageClass {
            metadata: ObjectMeta { name: Some("theirs".to_owned()), ..class().metadata },
            provisioner: "example.com/disks".to_owned(),
            ..StorageClass::default()
        };
        classes.create(&PostParams::default(), &theirs).await.unwrap();
        provide(&client).await.unwrap();
        classes.delete("theirs", &DeleteParams::default()).await.unwrap();
        provide(&client).await.unwrap();
        assert!(classes.get_opt(NAME).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_class_of_that_name_which_is_not_the_default_stays_as_it_is() {
        let (_server, client, classes) = machine().await;
        let mut theirs = class();
        theirs.metadata.annotations = None;
        classes.create(&PostParams::default(), &theirs).await.unwrap();
        provide(&client).await.unwrap();
        assert!(!classes.get(NAME).await.unwrap().annotations().contains_key(IS_DEFAULT));
    }
}

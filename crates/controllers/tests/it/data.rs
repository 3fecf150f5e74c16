//! What stays of a gateway that is gone, and what may run on it later.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::api::{Patch, PatchParams};
use paddock_reconcile::Kind;
use paddock_trials::World as _;
use serde_json::json;

use crate::gateways::Cluster;
use crate::life::{CLAIM, GATEWAY, KEK, NEW, annotate, options, settled, subject, with};

#[tokio::test]
async fn gw_w12_retained_data_is_an_orphan_and_is_found_again() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    let uid = async |name: &str| match name {
        KEK => cluster.find::<Secret>("tenant-a", KEK).await.unwrap()["metadata"]["uid"].clone(),
        _ => cluster.find::<PersistentVolumeClaim>("tenant-a", CLAIM).await.unwrap()["metadata"]["uid"].clone(),
    };
    let (key, before) = (cluster.secret("tenant-a", KEK).await, (uid(KEK).await, uid(CLAIM).await));
    cluster.config("[]").await;
    process.settle().await;
    let anchor = cluster.anchor("tenant-a").await;
    let mut orphans: Vec<&str> = anchor["orphans"].lines().collect();
    orphans.sort_unstable();
    assert_eq!(orphans, [format!("PersistentVolumeClaim tenant-a/{CLAIM}"), format!("Secret tenant-a/{KEK}")]);
    assert_eq!(cluster.remains().await.len(), 3, "{:?}", cluster.remains().await);
    cluster.config(NEW).await;
    subject().start(&cluster).settle().await;
    assert_eq!((uid(KEK).await, uid(CLAIM).await), before);
    assert_eq!(cluster.secret("tenant-a", KEK).await, key);
    assert!(!cluster.anchor("tenant-a").await.contains_key("orphans"));
    assert!(cluster.notes("tenant-a", "DriftReverted").await.is_empty(), "its return is nobody's drift");
}

/// The workload's controller says that the newest template runs.
async fn comes_up(cluster: &Cluster) {
    let live = cluster.workload("tenant-a").await;
    let status = json!({"status": {
        "observedGeneration": live.metadata.generation, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1,
    }});
    let api = Kind::of::<StatefulSet>().api(cluster.client(), Some("tenant-a"));
    api.patch_status(GATEWAY, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test]
async fn gw_w08_retained_data_is_not_given_to_an_older_gateway() {
    let subject = with(options(|options| options.probe = false));
    let (cluster, mut process) = settled(NEW, &subject).await;
    comes_up(&cluster).await;
    process.settle().await;
    cluster.config("[]").await;
    process.settle().await;
    cluster.config(&NEW.replace("0.0.100", "0.0.99")).await;
    let mut restarted = subject.start(&cluster);
    restarted.settle().await;
    let (_, reason, message) = cluster.summary().await;
    assert_eq!(reason, "DowngradeRefused", "{message}");
    assert!(cluster.find::<StatefulSet>("tenant-a", GATEWAY).await.is_none());
    cluster.config(NEW).await;
    restarted.settle().await;
    cluster.workload("tenant-a").await;
}

#[tokio::test]
async fn gw_w08_word_that_a_downgrade_is_meant_is_heard_at_once_where_either_is_annotated() {
    for told in [None, Some("--namespace paddock-system configmap platform-config paddock.dev/allow-downgrade=0.0.99")]
    {
        let subject = with(options(|options| options.probe = false));
        let (cluster, mut process) = settled(NEW, &subject).await;
        comes_up(&cluster).await;
        process.settle().await;
        cluster.config(&NEW.replace("0.0.100", "0.0.99")).await;
        process.settle().await;
        let (_, reason, message) = cluster.summary().await;
        assert_eq!(reason, "DowngradeRefused", "{message}");
        let command = told.map_or(message, |told| format!("kubectl annotate --overwrite {told}"));
        annotate(&cluster, &command).await;
        process.settle().await;
        // Another image takes its turn, for which nobody is here.
        assert_ne!(cluster.summary().await.1, "DowngradeRefused", "after {command}");
    }
}

#[tokio::test]
async fn gw_w12_lost_key_of_retained_data_is_not_replaced() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    cluster.config("[]").await;
    process.settle().await;
    cluster.delete::<Secret>("tenant-a", KEK).await;
    cluster.config(NEW).await;
    subject().start(&cluster).settle().await;
    assert!(cluster.find::<Secret>("tenant-a", KEK).await.is_none());
    assert_eq!(cluster.summary().await.1, "EncryptionKeyMissing");
}

#[tokio::test]
async fn gw_w12_another_key_than_that_of_the_data_is_reported() {
    let (cluster, mut process) = settled(NEW, &subject()).await;
    cluster.edit::<Secret>("tenant-a", KEK, "restore", &json!({"data": {"key-encryption-key": "b3RoZXI="}})).await;
    process.settle().await;
    assert_eq!(cluster.summary().await.1, "EncryptionKeyMismatch");
}

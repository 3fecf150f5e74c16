//! The six invariants hold for the sample; each harness fails when a controller breaks its rule.

use paddock_trials::{
    crash_after_every_write_converges, failed_parse_deletes_nothing, no_owner_across_namespaces,
    only_our_objects_are_touched, second_pass_writes_nothing, tenants_are_isolated,
};
use serde_json::json;

use crate::stand::{Stand, sample};

#[tokio::test]
async fn settled_world_is_silent() {
    second_pass_writes_nothing(&Stand::two_tenants().await, &sample()).await;
}

#[tokio::test]
async fn crash_after_any_write_converges() {
    crash_after_every_write_converges(Stand::two_tenants, &sample()).await;
}

#[tokio::test]
async fn editing_one_tenant_leaves_the_other_alone() {
    let world = Stand::two_tenants().await;
    let edit = async || world.intent("a", &json!({"image": "web:2", "service": "false"})).await;
    tenants_are_isolated(&world, &sample(), edit, |write| write.namespace == "a" || write.name == "record").await;
}

#[tokio::test]
async fn owners_live_where_their_dependents_live() {
    no_owner_across_namespaces(&Stand::two_tenants().await, &sample()).await;
}

#[tokio::test]
async fn unreadable_intent_deletes_nothing() {
    let world = Stand::two_tenants().await;
    failed_parse_deletes_nothing(&world, &sample(), async || world.intent("a", &json!({"image": ""})).await).await;
}

#[tokio::test]
async fn foreign_objects_are_left_alone() {
    only_our_objects_are_touched(Stand::two_tenants, &sample()).await;
}

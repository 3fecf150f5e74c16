//! Webhooks, called over HTTPS.

mod listener;

use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::discovery::ApiResource;
use paddock_apiserver::Server;
use serde_json::{Value, json};

use crate::objects::{map, maps, server};
use listener::{Listening, Reply, allow, patch};

async fn configure(server: &Server, kind: &str, name: &str, webhooks: Vec<Value>) {
    let resource = ApiResource {
        group: "admissionregistration.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "admissionregistration.k8s.io/v1".to_owned(),
        kind: format!("{kind}WebhookConfiguration"),
        plural: format!("{}webhookconfigurations", kind.to_lowercase()),
    };
    let body = json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "webhooks": webhooks,
    });
    let api: Api<DynamicObject> = Api::all_with(server.client(), &resource);
    api.create(&PostParams::default(), &serde_json::from_value(body).expect("a configuration"))
        .await
        .expect("it is created");
}

async fn validating(server: &Server, hook: &Listening, more: Value) {
    configure(server, "Validating", "a", vec![hook.webhook("w", more)]).await;
}

async fn create(server: &Server, name: &str) -> Result<ConfigMap, Box<Status>> {
    refused(maps(server).create(&PostParams::default(), &map(name, "1")).await)
}

fn refused<T>(answer: Result<T, kube::Error>) -> Result<T, Box<Status>> {
    answer.map_err(|error| match error {
        kube::Error::Api(status) => status,
        other => panic!("{other}"),
    })
}

async fn dry_run(server: &Server) -> ConfigMap {
    maps(server)
        .create(&PostParams { dry_run: true, ..PostParams::default() }, &map("a", "1"))
        .await
        .expect("it is created")
}

#[tokio::test]
async fn a_denial_is_the_webhooks_own_status() {
    let hook = Listening::start(|_, _| {
        Reply::Response(json!({"allowed": false, "status": {"code": 418, "message": "not today", "reason": "Teapot"}}))
    })
    .await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    let status = create(&server, "a").await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (418, "Teapot"));
    assert_eq!(status.message, "admission webhook \"w.hooks.example.com\" denied the request: not today");
}

#[tokio::test]
async fn a_review_says_what_is_asked_by_whom() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    create(&server, "a").await.unwrap();
    let calls = hook.calls();
    let mut request = calls[0]["request"].clone();
    let uid = request["object"]["metadata"]["uid"].take();
    assert!(uid.is_string(), "a validating webhook sees the object as it will be stored");
    request["object"] = request["object"]["data"].take();
    request["uid"].take();
    assert_eq!(
        request,
        json!({
            "uid": null,
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": "a", "namespace": "default", "operation": "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
            "object": {"k": "1"}, "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        })
    );
    assert_eq!(calls[0]["query"], "timeout=5s");
}

#[tokio::test]
async fn a_mutating_webhook_sees_an_object_without_identity() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({}))]).await;
    maps(&server).create(&PostParams::default(), &nameless()).await.unwrap();
    let request = &hook.calls()[0]["request"];
    assert_eq!((&request["name"], &request["object"]["metadata"]["uid"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_patch_changes_what_is_stored_and_belongs_to_no_manager() {
    let hook = Listening::start(|_, _| patch(json!([{"op": "add", "path": "/data/added", "value": "2"}]))).await;
    let server = server().await;
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({}))]).await;
    let stored = create(&server, "a").await.unwrap();
    assert_eq!(stored.data.unwrap()["added"], "2");
    let fields = serde_json::to_string(&stored.metadata.managed_fields).unwrap();
    assert!(fields.contains("f:k") && !fields.contains("f:added"), "{fields}");
}

#[tokio::test]
async fn configurations_are_asked_in_the_order_of_their_names() {
    let hook = Listening::start(|name, _| patch(json!([{"op": "add", "path": "/data/last", "value": name}]))).await;
    let server = server().await;
    configure(&server, "Mutating", "b", vec![hook.webhook("third", json!({}))]).await;
    configure(&server, "Mutating", "a", vec![hook.webhook("first", json!({})), hook.webhook("second", json!({}))])
        .await;
    assert_eq!(create(&server, "a").await.unwrap().data.unwrap()["last"], "third");
    let seen: Vec<_> = hook.calls().iter().map(|call| call["request"]["object"]["data"]["last"].clone()).collect();
    assert_eq!(seen, [json!(null), json!("first"), json!("second")]);
}

#[tokio::test]
async fn a_reinvocable_webhook_is_asked_again_after_a_later_change() {
    let hook = Listening::start(|name, _| match name {
        "late" => patch(json!([{"op": "add", "path": "/data/late", "value": "1"}])),
        _ => allow(),
    })
    .await;
    let server = server().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    let webhooks = vec![hook.webhook("again", again), hook.webhook("once", json!({})), hook.webhook("late", json!({}))];
    configure(&server, "Mutating", "a", webhooks).await;
    create(&server, "a").await.unwrap();
    let asked: Vec<_> = hook.calls().iter().map(|call| call["request"]["object"]["data"]["late"].clone()).collect();
    assert_eq!(asked, [json!(null), json!(null), json!(null), json!("1")]);
}

#[tokio::test]
async fn what_a_patch_breaks_is_told_by_validation() {
    let hook = Listening::start(|_, _| {
        patch(json!([{"op": "add", "path": "/metadata/labels", "value": {"l": "not valid!"}}]))
    })
    .await;
    let server = server().await;
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({}))]).await;
    assert_eq!(create(&server, "a").await.unwrap_err().code, 422);
}

#[tokio::test]
async fn a_patch_that_does_not_apply_is_an_internal_error() {
    let hook = Listening::start(|_, _| patch(json!([{"op": "remove", "path": "/data/nope"}]))).await;
    let server = server().await;
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({}))]).await;
    let status = create(&server, "a").await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (500, "InternalError"));
}

#[tokio::test]
async fn a_deletion_cannot_be_patched() {
    let hook = Listening::start(|_, request| match request["operation"].as_str() {
        Some("DELETE") => patch(json!([{"op": "add", "path": "/data", "value": {}}])),
        _ => allow(),
    })
    .await;
    let server = server().await;
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({}))]).await;
    create(&server, "a").await.unwrap();
    let status = refused(maps(&server).delete("a", &DeleteParams::default()).await).unwrap_err();
    assert_eq!(
        status.message,
        "Internal error occurred: admission webhook \"m.hooks.example.com\" attempted to modify the object, which is \
         not supported for this operation"
    );
}

#[tokio::test]
async fn each_object_of_a_deleted_collection_is_reviewed_without_a_name() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    create(&server, "a").await.unwrap();
    create(&server, "b").await.unwrap();
    validating(&server, &hook, json!({})).await;
    maps(&server).delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    let seen: Vec<_> = hook
        .calls()
        .iter()
        .map(|call| (call["request"]["name"].clone(), call["request"]["oldObject"]["metadata"]["name"].clone()))
        .collect();
    assert_eq!(seen, [(json!(null), json!("a")), (json!(null), json!("b"))]);
}

#[tokio::test]
async fn a_dry_run_says_so() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    dry_run(&server).await;
    assert_eq!(hook.calls()[0]["request"]["dryRun"], true);
}

#[tokio::test]
async fn the_object_selector_looks_at_old_and_new() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    let mut labelled = map("a", "1");
    labelled.metadata.labels = Some([("on".to_owned(), "1".to_owned())].into());
    maps(&server).create(&PostParams::default(), &labelled).await.unwrap();
    validating(&server, &hook, json!({"objectSelector": {"matchLabels": {"on": "1"}}})).await;
    create(&server, "b").await.unwrap();
    let body = Patch::Merge(json!({"metadata": {"labels": null}}));
    maps(&server).patch("a", &PatchParams::default(), &body).await.unwrap();
    let asked: Vec<_> = hook.calls().iter().map(|call| call["request"]["name"].clone()).collect();
    assert_eq!(asked, ["a"]);
}

#[tokio::test]
async fn another_version_of_a_resource_is_converted_for_the_webhook() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    let rules =
        json!([{"apiGroups": ["events.k8s.io"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["events"]}]);
    validating(&server, &hook, json!({"rules": rules})).await;
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(server.client(), "default");
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "message": "m"});
    events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    let request = &hook.calls()[0]["request"];
    assert_eq!((&request["kind"]["group"], &request["requestKind"]["group"]), (&json!("events.k8s.io"), &json!("")));
    assert_eq!(
        (&request["object"]["apiVersion"], &request["object"]["note"]),
        (&json!("events.k8s.io/v1"), &json!("m"))
    );
}

#[tokio::test]
async fn a_webhook_that_never_answers_refuses_after_its_timeout() {
    let hook = Listening::start(|_, _| Reply::Silence).await;
    let server = server().await;
    validating(&server, &hook, json!({"timeoutSeconds": 1})).await;
    let status = create(&server, "a").await.unwrap_err();
    let url = format!("{}/w?timeout=1s", hook.url);
    assert_eq!(
        status.message,
        format!(
            "Internal error occurred: failed calling webhook \"w.hooks.example.com\": failed to call webhook: Post \
             {url:?}: context deadline exceeded"
        )
    );
}

#[tokio::test]
async fn a_closed_port_refuses_unless_the_policy_ignores_it() {
    let server = server().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hook = Listening::start(|_, _| allow()).await;
    let config = json!({"clientConfig": {"url": format!("https://{closed}/x")}});
    validating(&server, &hook, config.clone()).await;
    assert_eq!(
        create(&server, "a").await.unwrap_err().message,
        format!(
            "Internal error occurred: failed calling webhook \"w.hooks.example.com\": failed to call webhook: Post \
             \"https://{closed}/x?timeout=5s\": dial tcp {closed}: connect: connection refused"
        )
    );
    let other = self::server().await;
    validating(&other, &hook, json!({"clientConfig": config["clientConfig"], "failurePolicy": "Ignore"})).await;
    assert!(create(&other, "a").await.is_ok());
}

async fn failure(hook: &Listening, config: Value) -> String {
    let server = server().await;
    validating(&server, hook, config).await;
    let message = create(&server, "a").await.expect_err("it is refused").message;
    message.rsplit_once("?timeout=5s\": ").map_or(message.clone(), |(_, why)| why.to_owned())
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let hook = Listening::start(|_, _| allow()).await;
    let other = Listening::start(|_, _| allow()).await;
    let why = failure(&hook, json!({"clientConfig": {"url": hook.url, "caBundle": other.bundle()}})).await;
    assert_eq!(why, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let hook = Listening::with_name("elsewhere.example.com", |_, _| allow()).await;
    let why = failure(&hook, json!({"clientConfig": {"url": hook.url, "caBundle": hook.bundle()}})).await;
    assert_eq!(
        why,
        "tls: failed to verify certificate: x509: cannot validate certificate for 127.0.0.1 because it doesn't contain \
         any IP SANs"
    );
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let hook = Listening::start(|_, _| allow()).await;
    let service = json!({"namespace": "default", "name": "gone", "path": "/p"});
    let server = server().await;
    validating(&server, &hook, json!({"clientConfig": {"service": service, "caBundle": hook.bundle()}})).await;
    assert_eq!(
        create(&server, "a").await.unwrap_err().message,
        "Internal error occurred: failed calling webhook \"w.hooks.example.com\": failed to call webhook: Post \
         \"https://gone.default.svc:443/p?timeout=5s\": service \"gone\" not found"
    );
}

#[tokio::test]
async fn an_http_error_counts_as_failed() {
    let hook = Listening::start(|_, _| Reply::Raw(500, "oops")).await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    assert_eq!(
        create(&server, "a").await.unwrap_err().message,
        "Internal error occurred: failed calling webhook \"w.hooks.example.com\": failed to call webhook: an error on \
         the server (\"oops\") has prevented the request from succeeding"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let hook = Listening::start(|_, _| Reply::Raw(302, "elsewhere")).await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    assert_eq!(create(&server, "a").await.unwrap_err().code, 500);
    assert_eq!(hook.calls().len(), 1);
}

#[tokio::test]
async fn webhooks_are_not_asked_about_webhooks() {
    let hook = Listening::start(|_, _| Reply::Response(json!({"allowed": false}))).await;
    let server = server().await;
    let rules = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]);
    validating(&server, &hook, json!({"rules": rules})).await;
    configure(&server, "Validating", "b", vec![hook.webhook("v", json!({}))]).await;
    assert_eq!(hook.calls().len(), 0);
}

#[tokio::test]
async fn a_connection_is_reviewed_as_its_options() {
    let hook = Listening::start(|_, _| Reply::Response(json!({"allowed": false}))).await;
    let server = server().await;
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"], "resources": ["pods/exec"]}]);
    validating(&server, &hook, json!({"rules": rules})).await;
    let request = http::Request::post("/api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&stdout=true")
        .body(Vec::new().into())
        .unwrap();
    assert_eq!(server.client().send(request).await.unwrap().status(), 400);
    let request = &hook.calls()[0]["request"];
    assert_eq!(
        request["object"],
        json!({"kind": "PodExecOptions", "apiVersion": "v1", "command": ["ls", "-l"], "stdout": true})
    );
    assert_eq!((&request["operation"], &request["subResource"]), (&json!("CONNECT"), &json!("exec")));
}

#[tokio::test]
async fn a_scale_is_reviewed_as_a_scale() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(server.client(), "default");
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
    let rules = json!([{
        "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"],
    }]);
    validating(&server, &hook, json!({"rules": rules})).await;
    let body = Patch::Merge(json!({"spec": {"replicas": 3}}));
    deployments.patch_scale("d", &PatchParams::default(), &body).await.unwrap();
    let request = &hook.calls()[0]["request"];
    assert_eq!(request["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    let replicas = |object: &str| request[object]["spec"]["replicas"].clone();
    assert_eq!((replicas("object"), replicas("oldObject")), (json!(3), json!(1)));
}

#[tokio::test]
async fn an_eviction_is_a_creation_and_no_deletion() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods/*", "pods"]}]);
    validating(&server, &hook, json!({"rules": rules})).await;
    let request = http::Request::post("/api/v1/namespaces/default/pods/p/eviction")
        .header("content-type", "application/json")
        .body(
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}})
                .to_string()
                .into_bytes()
                .into(),
        )
        .unwrap();
    assert_eq!(server.client().send(request).await.unwrap().status(), 404);
    let asked: Vec<_> = hook.calls().iter().map(|call| call["request"]["kind"]["kind"].clone()).collect();
    assert_eq!(asked, ["Eviction"]);
}

#[tokio::test]
async fn warnings_of_a_webhook_come_with_its_denial() {
    let hook =
        Listening::start(|_, _| Reply::Response(json!({"allowed": false, "warnings": ["be careful", "be careful"]})))
            .await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    let request = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(json!({"metadata": {"name": "a"}}).to_string().into_bytes().into())
        .unwrap();
    let answer = server.client().send(request).await.unwrap();
    let warnings: Vec<_> = answer.headers().get_all("warning").iter().collect();
    assert_eq!(warnings, ["299 - \"be careful\""]);
}

#[tokio::test]
async fn a_match_condition_keeps_a_write_from_a_webhook() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    let conditions = json!([{"name": "named", "expression": "object.metadata.name == 'a'"}]);
    validating(&server, &hook, json!({"matchConditions": conditions})).await;
    create(&server, "b").await.unwrap();
    assert_eq!(hook.calls().len(), 0);
    create(&server, "a").await.unwrap();
    assert_eq!(hook.calls().len(), 1);
}

#[tokio::test]
async fn a_match_condition_that_goes_wrong_refuses_under_fail() {
    let hook = Listening::start(|_, _| allow()).await;
    let server = server().await;
    let conditions = json!([{"name": "wrong", "expression": "object.data.nope == ''"}]);
    validating(&server, &hook, json!({"matchConditions": conditions})).await;
    let status = create(&server, "a").await.unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            403,
            "configmaps \"a\" is forbidden: expression 'object.data.nope == ''' resulted in error: no such key: nope"
        )
    );
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let hook = Listening::start(|_, _| Reply::Last).await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    for name in ["a", "b", "c"] {
        create(&server, name).await.unwrap();
    }
    let asked: Vec<_> = hook.calls().iter().map(|call| call["request"]["name"].clone()).collect();
    assert_eq!(asked, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_custom_resource_is_pruned_after_a_patch() {
    let hook =
        Listening::start(|_, _| patch(json!([{"op": "add", "path": "/spec", "value": {"kept": 1, "dropped": 2}}])))
            .await;
    let server = Server::builder().in_memory().start().await.unwrap();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"kept": {"type": "integer"}}}},
            }}}]},
    });
    let resource = |group: &str, kind: &str, plural: &str| ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}/v1"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    let definitions = resource("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions");
    let api: Api<DynamicObject> = Api::all_with(server.client(), &definitions);
    api.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let rules = json!([{"apiGroups": ["example.com"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]);
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({"rules": rules}))]).await;
    let widgets = resource("example.com", "Widget", "widgets");
    let widgets: Api<DynamicObject> = Api::namespaced_with(server.client(), "default", &widgets);
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}});
    let made = widgets.create(&PostParams::default(), &serde_json::from_value(widget).unwrap()).await.unwrap();
    assert_eq!(made.data["spec"], json!({"kept": 1}));
}

#[tokio::test]
async fn a_request_with_less_time_gives_less_to_its_webhooks() {
    let hook = Listening::start(|_, _| Reply::Silence).await;
    let server = server().await;
    validating(&server, &hook, json!({})).await;
    let request = http::Request::post("/api/v1/namespaces/default/configmaps?timeout=100ms")
        .header("content-type", "application/json")
        .body(json!({"metadata": {"name": "a"}}).to_string().into_bytes().into())
        .unwrap();
    assert_eq!(server.client().send(request).await.unwrap().status(), 500);
    assert_eq!(hook.calls()[0]["query"], "timeout=1s");
}

#[tokio::test]
async fn a_patch_cannot_move_an_object_to_another_namespace() {
    let hook =
        Listening::start(|_, _| patch(json!([{"op": "replace", "path": "/metadata/namespace", "value": "other"}])))
            .await;
    let server = server().await;
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({}))]).await;
    assert_eq!(create(&server, "a").await.unwrap_err().code, 400);
}

#[tokio::test]
async fn a_reinvocable_policy_sees_what_a_webhook_changed() {
    let hook = Listening::start(|_, request| match request["object"]["data"]["late"].as_str() {
        None => patch(json!([{"op": "add", "path": "/data/late", "value": "1"}])),
        Some(_) => allow(),
    })
    .await;
    let server = server().await;
    configure(&server, "Mutating", "a", vec![hook.webhook("m", json!({}))]).await;
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let expression = "Object{metadata: Object.metadata{labels: {'late': string('late' in object.data)}}}";
    for (kind, plural, spec) in [
        (
            "MutatingAdmissionPolicy",
            "mutatingadmissionpolicies",
            json!({
                "matchConstraints": {"resourceRules": rules}, "reinvocationPolicy": "IfNeeded",
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
            }),
        ),
        ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", json!({"policyName": "p"})),
    ] {
        let resource = ApiResource {
            group: "admissionregistration.k8s.io".to_owned(),
            version: "v1".to_owned(),
            api_version: "admissionregistration.k8s.io/v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let object = json!({"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": "p"}, "spec": spec});
        let api: Api<DynamicObject> = Api::all_with(server.client(), &resource);
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }
    assert_eq!(create(&server, "a").await.unwrap().metadata.labels.unwrap()["late"], "true");
}

/// A server on which the first `taken` names that it generates are taken between their choice and the write.
async fn with_rival(taken: usize) -> (Server, Listening) {
    let server = server().await;
    let (rival, left) = (maps(&server), AtomicUsize::new(taken));
    let hook = Listening::start(move |_, request| {
        let generated = !request["object"]["metadata"]["generateName"].is_null();
        let takes = |left: usize| generated.then(|| left.checked_sub(1)).flatten();
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
            let name = request["name"].as_str().expect("a name");
            let made = async { rival.create(&PostParams::default(), &map(name, "rival")).await };
            let made = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(made));
            made.expect("the name was free");
        }
        allow()
    })
    .await;
    validating(&server, &hook, json!({})).await;
    (server, hook)
}

fn nameless() -> ConfigMap {
    let mut new = map("", "1");
    new.metadata.generate_name = Some("g-".to_owned());
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_is_generated_when_the_first_seven_are_taken() {
    let (server, _hook) = with_rival(7).await;
    let made = maps(&server).create(&PostParams::default(), &nameless()).await.unwrap();
    assert_eq!(made.data.unwrap()["k"], "1");
    assert_eq!(maps(&server).list(&ListParams::default()).await.unwrap().items.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_eight_names_that_are_taken_the_last_one_is_told() {
    let (server, hook) = with_rival(8).await;
    let told = refused(maps(&server).create(&PostParams::default(), &nameless()).await).unwrap_err();
    let tried =
        hook.calls().iter().filter(|call| !call["request"]["object"]["metadata"]["generateName"].is_null()).count();
    assert_eq!((told.code, told.reason.as_str(), tried), (409, "AlreadyExists", 8));
}

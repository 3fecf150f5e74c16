//! Admission policies: expressions that refuse and change writes.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::discovery::ApiResource;
use paddock_apiserver::{Server, User};
use serde_json::{Value, json};

use crate::objects::{map, maps, server};

const RULES: fn() -> Value = || {
    json!({"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]},
    ]})
};

fn resource(kind: &str) -> ApiResource {
    let lower = kind.to_lowercase();
    let plural = lower.strip_suffix('y').map_or(format!("{lower}s"), |stem| format!("{stem}ies"));
    ApiResource {
        group: "admissionregistration.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "admissionregistration.k8s.io/v1".to_owned(),
        kind: kind.to_owned(),
        plural,
    }
}

async fn put(server: &Server, kind: &str, name: &str, spec: Value) -> Result<DynamicObject, Box<Status>> {
    let resource = resource(kind);
    let object = json!({
        "apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    let api: Api<DynamicObject> = Api::all_with(server.client(), &resource);
    refused(api.create(&PostParams::default(), &serde_json::from_value(object).expect("an object")).await)
}

fn refused<T>(answer: Result<T, kube::Error>) -> Result<T, Box<Status>> {
    answer.map_err(|error| match error {
        kube::Error::Api(status) => status,
        other => panic!("{other}"),
    })
}

/// A validating policy `p` about ConfigMaps and a binding `b` that denies; both with more fields.
async fn validating(server: &Server, spec: Value, binding: Value) {
    let mut policy = json!({"matchConstraints": RULES()});
    merge(&mut policy, spec);
    put(server, "ValidatingAdmissionPolicy", "p", policy).await.expect("it is created");
    let mut bound = json!({"policyName": "p", "validationActions": ["Deny"]});
    merge(&mut bound, binding);
    put(server, "ValidatingAdmissionPolicyBinding", "b", bound).await.expect("it is created");
}

/// A mutating policy `p` about ConfigMaps and its binding.
async fn mutating(server: &Server, spec: Value) {
    let rules = json!({"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps", "pods"]},
    ]});
    let mut policy = json!({"matchConstraints": rules, "reinvocationPolicy": "Never"});
    merge(&mut policy, spec);
    put(server, "MutatingAdmissionPolicy", "p", policy).await.expect("it is created");
    put(server, "MutatingAdmissionPolicyBinding", "b", json!({"policyName": "p"})).await.expect("it is created");
}

fn merge(into: &mut Value, from: Value) {
    for (key, value) in from.as_object().expect("an object") {
        into[key] = value.clone();
    }
}

async fn create(server: &Server, name: &str) -> Result<ConfigMap, Box<Status>> {
    refused(maps(server).create(&PostParams::default(), &map(name, "1")).await)
}

async fn message(server: &Server) -> String {
    create(server, "a").await.expect_err("it is refused").message
}

const DENIED: &str = "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";

#[tokio::test]
async fn the_first_validation_that_fails_is_told() {
    let server = server().await;
    let validations = json!([
        {"expression": "true"},
        {"expression": "object.data.k == '2'", "message": " first ", "reason": "RequestEntityTooLarge"},
        {"expression": "false"},
    ]);
    validating(&server, json!({"validations": validations}), json!({})).await;
    let status = create(&server, "a").await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (413, "RequestEntityTooLarge"));
    assert_eq!(status.message, format!("{DENIED}first"));
    assert_eq!(status.details.unwrap().causes.len(), 1);
}

#[tokio::test]
async fn an_expression_that_goes_wrong_refuses() {
    let server = server().await;
    validating(&server, json!({"validations": [{"expression": "object.data.nope == ''"}]}), json!({})).await;
    assert_eq!(
        message(&server).await,
        format!("{DENIED}expression 'object.data.nope == ''' resulted in error: no such key: nope")
    );
}

#[tokio::test]
async fn a_message_that_cannot_be_made_is_replaced() {
    let server = server().await;
    let mut validation = json!({"expression": "false", "messageExpression": "string(object.data.nope)"});
    validating(&server, json!({"validations": [validation]}), json!({})).await;
    assert_eq!(message(&server).await, format!("{DENIED}failed expression: false"));
    let other = self::server().await;
    validation["message"] = "given".into();
    validating(&other, json!({"validations": [validation]}), json!({})).await;
    assert_eq!(message(&other).await, format!("{DENIED}given"));
}

#[tokio::test]
async fn variables_use_those_before_them_and_are_computed_when_used() {
    let server = server().await;
    let spec = json!({
        "variables": [
            {"name": "wrong", "expression": "object.data.nope"},
            {"name": "one", "expression": "object.data.k"},
            {"name": "two", "expression": "variables.one + variables.one"},
        ],
        "validations": [{"expression": "variables.two != '11'", "messageExpression": "'it is ' + variables.two"}],
    });
    validating(&server, spec, json!({})).await;
    assert_eq!(message(&server).await, format!("{DENIED}it is 11"));
}

#[tokio::test]
async fn a_long_chain_of_variables_takes_no_more_stack_than_one() {
    let server = server().await;
    let name = |index: usize| format!("v{index}");
    let mut variables = vec![json!({"name": name(0), "expression": "1"})];
    variables.extend((1..500).map(|i| json!({"name": name(i), "expression": format!("variables.v{} + 1", i - 1)})));
    let spec = json!({"variables": variables, "validations": [{"expression": "variables.v499 != 500"}]});
    validating(&server, spec, json!({})).await;
    assert_eq!(message(&server).await, format!("{DENIED}failed expression: variables.v499 != 500"));
}

#[tokio::test]
async fn an_expression_has_a_budget() {
    let server = server().await;
    let big = "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]";
    let expression = format!("{big}.all(a, {big}.all(b, {big}.all(c, {big}.all(d, a + b + c + d == 4))))");
    validating(&server, json!({"validations": [{"expression": expression}]}), json!({})).await;
    let message = message(&server).await;
    assert!(message.ends_with("resulted in error: operation cancelled: actual cost limit exceeded"), "{message}");
}

#[tokio::test]
async fn the_namespace_the_request_and_the_user_are_known() {
    let server = server().await;
    let expression = "namespaceObject.metadata.name == 'default' && request.kind.kind == 'ConfigMap' \
                      && request.namespace == 'default' && request.name == 'a' && request.operation == 'CREATE' \
                      && request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups \
                      && request.resource.resource == 'configmaps' && !request.dryRun && oldObject == null";
    let spec = json!({"validations": [{"expression": format!("!({expression})")}]});
    validating(&server, spec, json!({})).await;
    assert!(create(&server, "a").await.is_err());
    assert!(create(&server, "b").await.is_ok());
}

#[tokio::test]
async fn the_authorizer_answers_by_the_servers_rules() {
    let server = server().await;
    let expression = "authorizer.group('').resource('secrets').namespace('default').check('get').allowed() \
                      && !authorizer.serviceAccount('default', 'nobody').requestResource.check('create').allowed()";
    let expression =
        expression.replace(".requestResource.check('create')", ".group('').resource('pods').check('list')");
    let spec = json!({"validations": [{"expression": format!("!({expression})")}]});
    validating(&server, spec, json!({})).await;
    assert!(create(&server, "a").await.is_err());
}

#[tokio::test]
async fn a_match_condition_keeps_a_write_from_a_policy() {
    let server = server().await;
    let spec = json!({
        "matchConditions": [{"name": "named", "expression": "object.metadata.name == 'a'"}],
        "validations": [{"expression": "false"}],
    });
    validating(&server, spec, json!({})).await;
    assert!(create(&server, "a").await.is_err());
    assert!(create(&server, "b").await.is_ok());
}

#[tokio::test]
async fn excluded_rules_and_names_narrow_a_policy() {
    let server = server().await;
    let rule = |names: Value| json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["*"], "resourceNames": names});
    let constraints = json!({"resourceRules": [rule(json!(["a", "b"]))], "excludeResourceRules": [rule(json!(["b"]))]});
    validating(&server, json!({"matchConstraints": constraints, "validations": [{"expression": "false"}]}), json!({}))
        .await;
    assert!(create(&server, "a").await.is_err());
    assert!(create(&server, "b").await.is_ok());
    assert!(create(&server, "c").await.is_ok());
}

#[tokio::test]
async fn a_binding_narrows_its_policy() {
    let server = server().await;
    let binding = json!({"matchResources": {"objectSelector": {"matchLabels": {"on": "1"}}}});
    validating(&server, json!({"validations": [{"expression": "false"}]}), binding).await;
    assert!(create(&server, "a").await.is_ok());
    let mut labelled = map("b", "1");
    labelled.metadata.labels = Some([("on".to_owned(), "1".to_owned())].into());
    assert!(maps(&server).create(&PostParams::default(), &labelled).await.is_err());
}

#[tokio::test]
async fn a_deletion_has_an_old_object_only() {
    let server = server().await;
    create(&server, "a").await.unwrap();
    let expression = "request.operation != 'DELETE' || object != null || oldObject.data.k != '1'";
    validating(&server, json!({"validations": [{"expression": expression, "message": "stays"}]}), json!({})).await;
    let status = refused(maps(&server).delete("a", &DeleteParams::default()).await).unwrap_err();
    assert_eq!(status.message, format!("{DENIED}stays"));
    let all = maps(&server).delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert!(refused(all).unwrap_err().message.starts_with("configmaps \"Unknown!\" is forbidden: "));
}

#[tokio::test]
async fn policies_are_asked_about_namespaces() {
    let server = server().await;
    let rules = json!({"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["namespaces"]},
    ]});
    let spec = json!({"matchConstraints": rules, "validations": [{"expression": "namespaceObject != null"}]});
    validating(&server, spec, json!({})).await;
    let namespaces: Api<Namespace> = Api::all(server.client());
    let new = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    let status = refused(namespaces.create(&PostParams::default(), &new).await).unwrap_err();
    assert_eq!(status.code, 422);
}

#[tokio::test]
async fn each_selected_param_is_evaluated() {
    let server = server().await;
    for (name, forbidden) in [("one", "x"), ("two", "1")] {
        let mut param = map(name, forbidden);
        param.metadata.labels = Some([("param".to_owned(), "yes".to_owned())].into());
        maps(&server).create(&PostParams::default(), &param).await.unwrap();
    }
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "object.data.k != params.data.k", "messageExpression": "'not ' + params.metadata.name"}],
    });
    let params = json!({"selector": {"matchLabels": {"param": "yes"}}, "parameterNotFoundAction": "Deny"});
    validating(&server, spec, json!({"paramRef": params})).await;
    assert_eq!(message(&server).await, format!("{DENIED}not two"));
}

#[tokio::test]
async fn params_that_are_not_there_deny_or_are_passed_over() {
    let server = server().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "params != null"}],
    });
    let params = |action: &str| json!({"paramRef": {"name": "gone", "parameterNotFoundAction": action}});
    validating(&server, spec.clone(), params("Deny")).await;
    assert_eq!(
        message(&server).await,
        format!(
            "{DENIED}failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        )
    );
    let other = self::server().await;
    validating(&other, spec, params("Allow")).await;
    assert!(create(&other, "a").await.is_ok());
}

#[tokio::test]
async fn a_param_kind_that_is_not_served_refuses() {
    let server = server().await;
    let spec = json!({
        "paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}, "validations": [{"expression": "true"}],
    });
    validating(&server, spec, json!({"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}})).await;
    assert_eq!(
        message(&server).await,
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed \
         to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'"
    );
}

#[tokio::test]
async fn a_policy_without_a_binding_does_nothing() {
    let server = server().await;
    let spec = json!({"matchConstraints": RULES(), "validations": [{"expression": "false"}]});
    put(&server, "ValidatingAdmissionPolicy", "p", spec).await.unwrap();
    assert!(create(&server, "a").await.is_ok());
}

#[tokio::test]
async fn a_policy_that_is_deleted_is_forgotten() {
    let server = server().await;
    validating(&server, json!({"validations": [{"expression": "false"}]}), json!({})).await;
    assert!(create(&server, "a").await.is_err());
    let policies: Api<DynamicObject> = Api::all_with(server.client(), &resource("ValidatingAdmissionPolicy"));
    policies.delete("p", &DeleteParams::default()).await.unwrap();
    assert!(create(&server, "a").await.is_ok());
}

#[tokio::test]
async fn an_expression_that_does_not_compile_is_refused_where_it_stands() {
    let server = server().await;
    let spec = json!({
        "matchConstraints": RULES(),
        "variables": [{"name": "x", "expression": "nope"}, {"name": "if", "expression": "1"}],
        "validations": [
            {"expression": "variables.x == 1"},
            {"expression": "1", "messageExpression": "authorizer.path('/')", "reason": "Unknown"},
        ],
        "auditAnnotations": [{"key": "k", "valueExpression": "1"}],
    });
    let status = put(&server, "ValidatingAdmissionPolicy", "p", spec).await.unwrap_err();
    let fields: Vec<_> = status.details.unwrap().causes.into_iter().map(|cause| cause.field).collect();
    assert_eq!(
        fields,
        [
            "spec.variables[0].expression",
            "spec.variables[1].name",
            "spec.validations[1].expression",
            "spec.validations[1].messageExpression",
            "spec.validations[1].reason",
            "spec.auditAnnotations[0].valueExpression",
        ]
    );
}

#[tokio::test]
async fn params_are_unknown_to_a_policy_without_a_kind() {
    let server = server().await;
    let spec = json!({"matchConstraints": RULES(), "validations": [{"expression": "params == null"}]});
    let status = put(&server, "ValidatingAdmissionPolicy", "p", spec).await.unwrap_err();
    assert!(status.message.contains("undeclared reference to 'params'"), "{}", status.message);
}

/// Pods need the account that the loops would make.
async fn pods(server: &Server) -> Api<Pod> {
    let accounts: Api<ServiceAccount> = Api::namespaced(server.client(), "default");
    let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).expect("an account");
    accounts.create(&PostParams::default(), &account).await.expect("it is created");
    Api::namespaced(server.client(), "default")
}

#[tokio::test]
async fn an_apply_configuration_merges_by_key() {
    let server = server().await;
    let expression = "Object{spec: Object.spec{containers: object.spec.containers.map(c, \
                      Object.spec.containers{name: c.name, imagePullPolicy: 'Never'})}}";
    mutating(
        &server,
        json!({"mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}},
        ]}),
    )
    .await;
    let pods = pods(&server).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "image": "i", "imagePullPolicy": "Always"}, {"name": "b", "image": "j"},
    ]}});
    let made = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let made: Vec<_> = made.spec.unwrap().containers.into_iter().map(|c| (c.image, c.image_pull_policy)).collect();
    let never = || Some("Never".to_owned());
    assert_eq!(made, [(Some("i".to_owned()), never()), (Some("j".to_owned()), never())]);
}

#[tokio::test]
async fn a_json_patch_is_applied() {
    let server = server().await;
    let expression = "[JSONPatch{op: 'test', path: '/data/k', value: '1'}, \
                      JSONPatch{op: 'add', path: '/metadata/annotations', value: {'a/b': 'c'}}, \
                      JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('x/y'), value: 'z'}]";
    let patch = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]);
    mutating(&server, json!({"mutations": patch})).await;
    let annotations = create(&server, "a").await.unwrap().metadata.annotations.unwrap();
    assert_eq!((annotations["a/b"].as_str(), annotations["x/y"].as_str()), ("c", "z"));
    let other = maps(&server).create(&PostParams::default(), &map("b", "2")).await.unwrap();
    assert_eq!(other.metadata.annotations, None, "a test that fails leaves the object as it is");
}

#[tokio::test]
async fn mutations_see_those_before_them() {
    let server = server().await;
    let apply =
        |expression: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let mutations = json!([
        apply("Object{data: Object.data{one: object.data.k}}"),
        apply("Object{data: Object.data{two: object.data.one + '2'}}"),
    ]);
    mutating(&server, json!({"mutations": mutations})).await;
    assert_eq!(create(&server, "a").await.unwrap().data.unwrap()["two"], "12");
}

#[tokio::test]
async fn what_can_only_be_replaced_whole_may_not_be_merged() {
    let server = server().await;
    let expression = "Object{spec: Object.spec{nodeSelector: {'a': 'b'}}}";
    let mutation = json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]);
    mutating(&server, json!({"mutations": mutation})).await;
    let pods = pods(&server).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let status = refused(pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await).unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (403, "Invalid"));
    assert_eq!(
        status.message,
        "policy 'p' with binding 'b' denied request: error applying patch: invalid ApplyConfiguration: may not mutate \
         atomic arrays, maps or structs: .spec.nodeSelector"
    );
}

#[tokio::test]
async fn a_type_name_must_be_that_of_its_field() {
    let server = server().await;
    let expression = "Object{metadata: Object.wrong{labels: {'a': 'b'}}}";
    let mutation = json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]);
    mutating(&server, json!({"mutations": mutation})).await;
    assert_eq!(
        message(&server).await,
        "policy 'p' with binding 'b' denied request: type mismatch: unexpected type name \"Object.wrong\", expected \
         \"Object.metadata\", which matches field name path from root Object type"
    );
}

#[tokio::test]
async fn a_mutation_belongs_to_no_manager() {
    let server = server().await;
    let expression = "Object{metadata: Object.metadata{labels: {'added': 'yes'}}}";
    let mutation = json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]);
    mutating(&server, json!({"mutations": mutation})).await;
    let made = create(&server, "a").await.unwrap();
    assert_eq!(made.metadata.labels.unwrap()["added"], "yes");
    assert!(!serde_json::to_string(&made.metadata.managed_fields).unwrap().contains("added"));
}

#[tokio::test]
async fn warnings_name_policy_and_binding_and_let_the_write_pass() {
    let server = server().await;
    let spec = json!({"validations": [{"expression": "false", "message": "hm"}]});
    validating(&server, spec, json!({"validationActions": ["Warn", "Audit"]})).await;
    let request = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(json!({"metadata": {"name": "a"}}).to_string().into_bytes())
        .unwrap();
    let answer = server.client().send(request.map(Into::into)).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(
        answer.headers()["warning"],
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': hm\""
    );
}

#[tokio::test]
async fn an_update_is_judged_by_what_it_would_become() {
    let server = server().await;
    create(&server, "a").await.unwrap();
    let spec = json!({"validations": [{"expression": "oldObject == null || object.data.k == oldObject.data.k"}]});
    validating(&server, spec, json!({})).await;
    let change = |value: &str| Patch::Merge(json!({"data": {"k": value}}));
    assert!(maps(&server).patch("a", &PatchParams::default(), &change("1")).await.is_ok());
    let status = refused(maps(&server).patch("a", &PatchParams::default(), &change("2")).await).unwrap_err();
    assert_eq!(status.code, 422);
}

#[tokio::test]
async fn policies_hold_for_everyone() {
    let server = server().await;
    let spec = json!({"validations": [{"expression": "request.userInfo.username != 'alice'"}]});
    validating(&server, spec, json!({})).await;
    let alice: Api<ConfigMap> = Api::namespaced(server.client_as(User::new("alice", ["system:masters"])), "default");
    assert!(alice.create(&PostParams::default(), &map("a", "1")).await.is_err());
    assert!(create(&server, "a").await.is_ok());
}

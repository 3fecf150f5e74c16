use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static KEY: LazyLock<GatewayKey> = LazyLock::new(|| GatewayKey::default_of("tenant-a".parse().unwrap()));

pub(super) fn inputs(patch: u16, names: &[String]) -> Inputs<'_> {
    Inputs {
        key: &KEY,
        serves: None,
        options: &Value::Null,
        sandbox_image: crate::gateways::DEFAULT_SANDBOX_IMAGE,
        version: GatewayVersion::patch(patch),
        server_names: names,
        cluster: None,
        break_glass: false,
    }
}

fn file(patch: u16, text: Option<&str>) -> Result<Value, Vec<String>> {
    let names = ["a.example".to_owned(), "b.example".to_owned()];
    let rendered = render(inputs(patch, &names), text, &ImagePolicy::default());
    let rendered = rendered.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok(toml_edit::de::from_str(&rendered).unwrap())
}

#[test]
fn gw_d03_shipped_sample_keeps_every_mandatory_section() {
    let sample = "[openshell.gateway]\nbind_address = \"0.0.0.0:8080\"\nlog_level = \"debug\"\nsandbox_namespace = \"tenant-a\"\n";
    let file = file(71, Some(sample)).unwrap();
    let gateway = &file["openshell"]["gateway"];
    assert_eq!(gateway["log_level"], "debug");
    assert_eq!(gateway["health_bind_address"], "0.0.0.0:8081");
    assert_eq!(gateway["tls"]["cert_path"], "/etc/openshell-tls/server/tls.crt");
    assert_eq!(gateway["gateway_jwt"]["ttl_secs"], 3600);
    assert_eq!(file["openshell"]["drivers"]["kubernetes"]["service_account_name"], "openshell-gateway-sandbox");
}

#[test]
fn gw_f26_unauthenticated_users_are_never_allowed() {
    assert_eq!(file(71, None).unwrap()["openshell"]["gateway"]["auth"]["allow_unauthenticated_users"], false);
    let errors = file(71, Some("[openshell.gateway.auth]\nallow_unauthenticated_users = true\n")).unwrap_err();
    assert_eq!(
        errors,
        [
            "openshell.gateway.auth.allow_unauthenticated_users (line 2, column 1): the control plane owns this key, its value is false; leave it out"
        ]
    );
}

#[test]
fn gw_w07_wrong_keys_are_told_with_line_and_column() {
    for (text, start) in [
        (
            "[openshell.gateway]\nlogg_level = \"x\"\n",
            "openshell.gateway.logg_level (line 2, column 1): the gateway 0.0.71 does not know this key; known here: auth, bind_address",
        ),
        (
            "[openshell.gateway]\nlog_level = 3\n",
            "openshell.gateway.log_level (line 2, column 13): expected a string, found integer",
        ),
        ("openshell.gateway.log_level = \"a", "line 1, column 33: TOML syntax error: "),
        (
            "[openshell.drivers.kubernetes]\nsandbox_uid = 5\n",
            "openshell.drivers.kubernetes.sandbox_uid (line 2, column 1): the gateway knows this key from 0.0.76 on, this one is 0.0.71",
        ),
        (
            "[openshell.gateway]\nbind_address = \"0.0.0.0:1\"\n",
            "openshell.gateway.bind_address (line 2, column 1): the control plane owns this key, its value is \"0.0.0.0:8080\"",
        ),
        (
            "[openshell.gateway]\ndisable_tls = true\n",
            "openshell.gateway.disable_tls (line 2, column 1): the control plane owns this key",
        ),
        (
            "[openshell.gateway]\ndatabase_url = \"x\"\n",
            "openshell.gateway.database_url (line 2, column 1): the control plane owns this key",
        ),
        (
            "[openshell.gateway]\ndefault_image = \"evil\"\n",
            "openshell.gateway.default_image (line 2, column 17): image evil names no registry",
        ),
        (
            "[openshell.gateway]\nserver_sans = [\n  \"c.example\",\n]\n",
            "openshell.gateway.server_sans (line 2, column 1): the control plane owns this key",
        ),
        (
            "[openshell.gateway]\ngrpc_rate_limit_requests = 5\n",
            "openshell.gateway.grpc_rate_limit_requests (line 2, column 1): grpc_rate_limit_requests and grpc_rate_limit_window_seconds belong together",
        ),
        (
            "[openshell.gateway]\nsa_token_ttl_secs = 5\n",
            "openshell.gateway.sa_token_ttl_secs (line 2, column 21): expected a whole number from 600 to 86400",
        ),
        ("openshell = 3\n", "openshell (line 1, column 13): expected a table, found integer"),
        ("[openshell]\nversion = 2\n", "openshell.version (line 2, column 11): expected a whole number from 1 to 1"),
    ] {
        let errors = file(71, Some(text)).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with(start), "{text}\n{errors:?}");
    }
}

#[test]
fn gw_f21_names_that_repeat_ours_load_in_every_spelling() {
    for text in [
        "[openshell.gateway]\nserver_sans = [\n  \"b.example\", # first\n  \"a.example\",\n]\n",
        "[openshell.gateway]\nserver_sans=[\"A.EXAMPLE\"]\n",
        "openshell.gateway.server_sans = [\"a.example\"]\n",
        "openshell = { gateway = { server_sans = [] } }\n",
    ] {
        assert_eq!(file(71, Some(text)), file(71, None), "{text}");
    }
}

#[test]
fn keys_appear_with_the_version_that_knows_them() {
    let has = |patch: u16, pointer: &str| file(patch, None).unwrap().pointer(pointer).is_some();
    for (pointer, since) in [
        ("/openshell/drivers/kubernetes/topology", 82),
        ("/openshell/gateway/policy_validation_failure_mode", 97),
        ("/openshell/gateway/credential_storage", 100),
        ("/openshell/drivers/kubernetes/workspace_mode", 107),
        ("/openshell/drivers/kubernetes/gateway_id", 107),
    ] {
        assert!(!has(since - 1, pointer) && has(since, pointer), "{pointer}");
    }
}

/// What we render must pass our own reading of the gateway's schema, whatever the version.
#[test]
fn gw_l02_rendered_file_is_known_to_its_gateway() {
    for patch in 60..=112 {
        let names = ["a.example".to_owned()];
        let rendered = render(inputs(patch, &names), None, &ImagePolicy::default()).unwrap();
        let again = render(inputs(patch, &names), Some(&rendered), &ImagePolicy::default());
        assert_eq!(again.as_ref(), Ok(&rendered), "0.0.{patch}");
    }
}

#[test]
fn gw_f26_break_glass_lets_a_tenant_say_so_itself() {
    let names = ["a.example".to_owned()];
    let open = Inputs { break_glass: true, ..inputs(111, &names) };
    let patch = "openshell.gateway.auth.allow_unauthenticated_users = true";
    let allowed = |inputs: Inputs<'_>, patch: Option<&str>| {
        let file: Value = toml_edit::de::from_str(&render(inputs, patch, &ImagePolicy::default()).unwrap()).unwrap();
        file["openshell"]["gateway"]["auth"]["allow_unauthenticated_users"] == true
    };
    assert!(allowed(open, Some(patch)));
    assert!(!allowed(open, None));
}

#[test]
fn gw_f25_token_keys_are_always_configured() {
    for patch in 60..=111 {
        for text in [None, Some(""), Some("[openshell.gateway]\nlog_level = 'x'\n")] {
            let file = file(patch, text).unwrap();
            let token = &file["openshell"]["gateway"]["gateway_jwt"];
            assert!(
                ["signing_key_path", "public_key_path", "kid_path", "gateway_id"]
                    .iter()
                    .all(|key| token[key].is_string())
            );
        }
    }
}

#[test]
fn gw_a02_unauthenticated_users_are_off_in_every_version() {
    for patch in 60..=111 {
        assert_eq!(file(patch, None).unwrap()["openshell"]["gateway"]["auth"]["allow_unauthenticated_users"], false);
    }
}

#[test]
fn gw_l03_client_authority_stays_whatever_the_patch() {
    let oidc = "[openshell.gateway.oidc]\nissuer = 'i'\naudience = 'a'\n";
    let path = file(111, Some(oidc)).unwrap()["openshell"]["gateway"]["tls"]["client_ca_path"].clone();
    assert_eq!(path, "/etc/openshell-tls/client-ca/ca.crt");
    assert!(file(111, Some("[openshell.gateway.tls]\nclient_ca_path = ''\n")).is_err());
}

#[test]
fn gw_l13_clients_secret_is_named_whatever_the_patch() {
    let oidc = "[openshell.gateway.oidc]\nissuer = 'i'\naudience = 'a'\n";
    for text in [None, Some(oidc)] {
        assert_eq!(file(111, text).unwrap()["openshell"]["gateway"]["client_tls_secret_name"], "openshell-client-tls");
    }
}

#[test]
fn gw_d23_supervisor_image_is_left_to_the_gateway() {
    for patch in [60, 71, 111] {
        assert!(!render(inputs(patch, &[]), None, &ImagePolicy::default()).unwrap().contains("supervisor_image"));
    }
}

#[test]
fn gw_d23_supervisor_of_another_release_is_refused() {
    for table in ["gateway", "drivers.kubernetes"] {
        let text = |tag: &str| format!("[openshell.{table}]\nsupervisor_image = \"ghcr.io/nvidia/x:{tag}\"\n");
        assert!(file(71, Some(&text("0.0.71"))).is_ok() && file(71, Some(&text("other"))).is_ok());
        let errors = file(71, Some(&text("0.0.70"))).unwrap_err();
        let start =
            format!("openshell.{table}.supervisor_image (line 2, column 1): supervisor 0.0.70 does not belong to");
        assert!(errors[0].starts_with(&start), "{errors:?}");
    }
}

#[test]
fn gw_a03_app_armor_is_on_where_the_topology_permits() {
    let profile =
        |text: &str| file(111, Some(text)).unwrap()["openshell"]["drivers"]["kubernetes"]["app_armor_profile"].clone();
    let table = "[openshell.drivers.kubernetes]\n";
    assert_eq!(profile(table), "Unconfined");
    assert_eq!(profile(&format!("{table}topology = \"sidecar\"\n")), "RuntimeDefault");
    let chosen = format!("{table}topology = \"sidecar\"\napp_armor_profile = \"Localhost/x\"\n");
    assert_eq!(profile(&chosen), "Localhost/x");
}

#[test]
fn gw_a01_images_in_the_file_are_held_to_the_allow_list() {
    let policy = ImagePolicy { allowed: vec!["ghcr.io/nvidia".to_owned()], ..ImagePolicy::default() };
    for (table, key) in
        [("gateway", "default_image"), ("gateway", "supervisor_image"), ("drivers.kubernetes", "default_image")]
    {
        let text = |image: &str| format!("[openshell.{table}]\n{key} = \"{image}\"\n");
        let judged = |image: &str| render(inputs(71, &[]), Some(&text(image)), &policy);
        assert!(judged("ghcr.io/nvidia/x:1").is_ok());
        let problems = judged("ghcr.io/nvidia-evil/x:1").unwrap_err();
        assert!(problems[0].to_string().contains("is not allowed"), "{problems:?}");
    }
}

#[test]
fn gw_l25_words_are_checked_and_never_spliced() {
    for (text, expected) in [
        (
            "[openshell.drivers.kubernetes]\napp_armor_profile = \"Localhost/\"",
            "RuntimeDefault, Unconfined or Localhost/PROFILE",
        ),
        ("[openshell.drivers.kubernetes]\ntopology = \"side\\\"car\"", "one of combined, sidecar"),
        ("[openshell.gateway]\npolicy_validation_failure_mode = \"open\"", "one of fail_closed, retain_last_valid"),
        ("[openshell.gateway]\ninterceptors = 3", "a list of tables"),
        ("[openshell]\ncredential_drivers = []", "a table of plain values"),
        ("[openshell.drivers.kubernetes]\nsandbox_uid = 0", "a whole number from 1000 to 2000000000"),
        ("[openshell.drivers.kubernetes.sidecar]\nproxy_uid = 0", "a whole number from 1000 to 2000000000"),
        (
            "[openshell.drivers.kubernetes]\nprovider_spiffe_workload_api_socket_path = \"x/y\"",
            "an absolute path below a directory of its own",
        ),
        ("[openshell.drivers.kubernetes]\nhttps_proxy = \"not a url\"", "http://HOST:PORT"),
        ("[openshell.gateway.otlp]\nendpoint = \"\"", "a URL that begins with http:// or https://"),
        ("[[openshell.supervisor.middleware]]\ntimeout = \"abc\"", "a number with ms or s behind it, from 10ms to 30s"),
        ("[[openshell.gateway.interceptors]]\nfailure_policy = \"open\"", "one of fail_closed, fail_open"),
        ("[[openshell.gateway.interceptors]]\nendpoint = \"x\"", "does not know this key"),
        ("[[openshell.gateway.interceptors]]\norder = \"x\"", "a whole number"),
        (
            "[[openshell.gateway.interceptors]]\nbindings = [{ phases = [\"before\"] }]",
            "a list of modify_operation, validate",
        ),
        ("[openshell.gateway]\nprovider_profile_sources = [{ type = \"file\" }]", "one of builtin, user, interceptor"),
        ("[openshell.gateway]\nprovider_profile_sources = [{ type = \"user\", x = 1 }]", "does not know this key"),
    ] {
        let errors = file(111, Some(text)).unwrap_err();
        assert!(errors[0].contains(expected), "{errors:?}");
    }
}

#[test]
fn rules_between_keys_point_at_the_key() {
    for (text, expected) in [
        (
            "[openshell.gateway]\ncredential_drivers = []\n",
            "openshell.gateway.credential_drivers (line 2, column 1): credential drivers are not supported",
        ),
        (
            "[openshell.credential_drivers.vault]\naddress = \"https://vault.example\"\n",
            "openshell.credential_drivers (line 1, column 12): credential drivers are not supported",
        ),
        (
            "[openshell.drivers.kubernetes]\nno_proxy = \"a.example\"\n",
            "openshell.drivers.kubernetes.no_proxy (line 2, column 1): no_proxy is nothing without https_proxy",
        ),
        (
            "[openshell.drivers.kubernetes]\nhttps_proxy = \"http://p:1\"\nproxy_auth_secret_name = \"s\"\n",
            "openshell.drivers.kubernetes.proxy_auth_secret_name (line 3, column 1): proxy_auth_secret_name and proxy_auth_secret_key belong",
        ),
        (
            "[openshell.drivers.kubernetes]\nsandbox_uid = 1337\nsidecar.proxy_uid = 1337\n",
            "openshell.drivers.kubernetes.sidecar.proxy_uid (line 3, column 9): the proxy must not be",
        ),
        (
            "[openshell.gateway]\nprovider_profile_sources = [{ type = \"interceptor\", name = \"x\" }]\n",
            "openshell.gateway.provider_profile_sources[0] (line 2, column 29): there is no interceptor \"x\"",
        ),
        (
            "[openshell.gateway]\nprovider_profile_sources = [{ type = \"user\" }, { type = \"user\" }]\n",
            "openshell.gateway.provider_profile_sources[1] (line 2, column 48): the source is listed twice",
        ),
        (
            "[openshell.gateway]\nprovider_profile_sources = [{ type = \"interceptor\" }]\n",
            "openshell.gateway.provider_profile_sources[0] (line 2, column 29): the key name is missing",
        ),
        (
            "[[openshell.gateway.interceptors]]\nname = \"a\"\n",
            "openshell.gateway.interceptors[0] (line 1, column 1): the key grpc_endpoint is missing",
        ),
        (
            "[openshell.gateway.otlp]\nservice_name = \"x\"\n",
            "openshell.gateway.otlp (line 1, column 20): the key endpoint",
        ),
        (
            "[[openshell.supervisor.middleware]]\nname = \"a\"\ngrpc_endpoint = \"x\"\nmax_body_bytes = 1\nmax_payload_bytes = 1\n",
            "openshell.supervisor.middleware[0].max_payload_bytes (line 5, column 1): max_body_bytes is given twice",
        ),
        (
            "[openshell.supervisor]\nmiddleware = [{ name = \"a\", grpc_endpoint = \"x\" }]\n",
            "openshell.supervisor.middleware[0] (line 2, column 15): the key max_body_bytes is missing",
        ),
        (
            "[openshell.gateway.oidc]\nissuer = \"i\"\naudience = \"a\"\nadmin_role = \"\"\n",
            "openshell.gateway.oidc.admin_role (line 4, column 1): admin_role and user_role are empty together",
        ),
        (
            "[openshell.drivers.kubernetes]\nsupervisor_sideload_method = \"image-volume\"\n",
            "openshell.drivers.kubernetes.supervisor_sideload_method (line 2, column 1): the cluster's version is unknown",
        ),
    ] {
        let errors = file(111, Some(text)).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with(expected), "{text}\n{errors:?}");
    }
}

#[test]
fn hostile_texts_are_refused_in_little_time() {
    let deep = |open: &str| format!("a = {}", open.repeat(20_000));
    for text in [
        deep("["),
        deep("{a="),
        format!("{}a = 1", "a.".repeat(30_000)),
        format!("[{}a]", "a.".repeat(30_000)),
        "x = 1\n".repeat(10_000),
        (0..9_000).map(|n| format!("k{n}=1\n")).collect(),
        "a\0".to_owned(),
    ] {
        let errors = file(111, Some(&text)).unwrap_err();
        assert!(errors.len() <= MAX_PROBLEMS, "{}", errors.len());
    }
}

#[test]
fn gw_d19_values_are_values_whatever_they_contain() {
    let evil =
        "\\\" ]\\n[openshell.gateway.auth]\\nallow_unauthenticated_users = true\\n$(id) {{x}} NAMESPACE_PLACEHOLDER";
    let file = file(71, Some(&format!("[openshell.gateway]\nlog_level = \"{evil}\"\n"))).unwrap();
    assert_eq!(file["openshell"]["gateway"]["auth"]["allow_unauthenticated_users"], false);
    assert!(file["openshell"]["gateway"]["log_level"].as_str().unwrap().contains("NAMESPACE_PLACEHOLDER"));
}

#[test]
fn oversized_text_is_refused() {
    let errors = file(71, Some(&format!("# {}", "x".repeat(MAX_BYTES)))).unwrap_err();
    assert!(errors[0].contains("at most 65536"), "{errors:?}");
}

#[test]
fn gw_l02_oidc_needs_issuer_and_audience() {
    let errors = file(71, Some("[openshell.gateway.oidc]\nissuer = \"https://idp\"\n")).unwrap_err();
    assert_eq!(
        errors,
        ["openshell.gateway.oidc (line 1, column 20): OIDC needs audience; the gateway would refuse to start"]
    );
}

proptest! {
    #[test]
    fn foreign_text_never_panics(text in "\\PC{0,200}|[a-z\\[\\].=\"{}, \\n0-9]{0,200}") {
        let _ = file(111, Some(&text));
    }
}

/// Nothing is put into texts, so nothing in them is taken for a place to put something.
#[test]
fn gw_l14_words_that_once_were_placeholders_stay_what_they_are() {
    for word in ["NAMESPACE_PLACEHOLDER", "IMAGE_PLACEHOLDER", "NAMESPACE_PLACEHOLDER_2"] {
        let file = file(71, Some(&format!("[openshell.gateway]\nlog_level = \"{word}\"\n"))).unwrap();
        assert_eq!(file["openshell"]["gateway"]["log_level"], word);
    }
}

use proptest::prelude::*;

use super::*;

fn inputs(patch: u16, names: &[String]) -> Inputs<'_> {
    Inputs { namespace: "tenant-a", version: GatewayVersion::patch(patch), server_names: names }
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
            "openshell.gateway: grpc_rate_limit_requests and grpc_rate_limit_window_seconds belong together",
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
    assert_eq!(errors, ["openshell.gateway.oidc: OIDC needs audience; the gateway would refuse to start"]);
}

proptest! {
    #[test]
    fn foreign_text_never_panics(text in "\\PC{0,200}|[a-z\\[\\].=\"{}, \\n0-9]{0,200}") {
        let _ = file(111, Some(&text));
    }
}

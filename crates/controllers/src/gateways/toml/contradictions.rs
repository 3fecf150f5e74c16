//! Rules between keys of the merged file. The gateway would refuse to start where they are broken.

use std::collections::BTreeSet;

use paddock_policy::image::ImageReference;
use serde_json::Value;
use toml_edit::{Document, Item, TableLike};

use super::{Inputs, problem_at};
use crate::gateways::platform::Sideload;
use crate::gateways::problem::{Position, Problem};
use crate::gateways::version::GatewayVersion;

/// Judges `file`, the merged file. Problems point into `patch`, the tenant's text, as near as it goes.
pub(super) fn contradictions(
    file: &Value,
    patch: Option<(&str, &Document<String>)>,
    inputs: Inputs<'_>,
) -> Vec<Problem> {
    let cluster = inputs.cluster;
    let mut rules = Rules { patch, problems: Vec::new() };
    let openshell = &file["openshell"];
    let gateway = &openshell["gateway"];
    rules.gateway(gateway);
    if has(gateway, "oidc") {
        rules.oidc(&gateway["oidc"]);
    }
    if has(gateway, "otlp") {
        rules.required(&gateway["otlp"], "openshell.gateway.otlp", &["endpoint"]);
    }
    rules.same_release(gateway, "openshell.gateway", inputs.version);
    rules.same_release(&openshell["drivers"]["kubernetes"], "openshell.drivers.kubernetes", inputs.version);
    rules.own_storage(openshell);
    rules.proxy(&openshell["drivers"]["kubernetes"]);
    rules.names(&gateway["interceptors"], "openshell.gateway.interceptors");
    rules.names(&openshell["supervisor"]["middleware"], "openshell.supervisor.middleware");
    rules.sources(gateway);
    for (n, service) in gateway["interceptors"].as_array().into_iter().flatten().enumerate() {
        rules.required(service, &format!("openshell.gateway.interceptors[{n}]"), &["name", "grpc_endpoint"]);
    }
    for (n, source) in gateway["provider_profile_sources"].as_array().into_iter().flatten().enumerate() {
        let keys: &[&str] = if source["type"] == "interceptor" { &["type", "name"] } else { &["type"] };
        rules.required(source, &format!("openshell.gateway.provider_profile_sources[{n}]"), keys);
    }
    for (n, service) in openshell["supervisor"]["middleware"].as_array().into_iter().flatten().enumerate() {
        let path = format!("openshell.supervisor.middleware[{n}]");
        rules.required(service, &path, &["name", "grpc_endpoint", "max_body_bytes"]);
    }
    if openshell["drivers"]["kubernetes"]["supervisor_sideload_method"] == Sideload::ImageVolume.word()
        && !Sideload::images_possible(cluster)
    {
        let message = match cluster {
            Some(cluster) => format!("the cluster is {cluster}; image volumes exist from 1.33 on"),
            None => "the cluster's version is unknown, so it may have no image volumes".to_owned(),
        };
        rules.broken("openshell.drivers.kubernetes.supervisor_sideload_method", message, "use init-container");
    }
    rules.problems
}

fn has(table: &Value, key: &str) -> bool {
    !table[key].is_null()
}

struct Rules<'a> {
    patch: Option<(&'a str, &'a Document<String>)>,
    problems: Vec<Problem>,
}

impl Rules<'_> {
    fn gateway(&mut self, gateway: &Value) {
        let (requests, window) = ("grpc_rate_limit_requests", "grpc_rate_limit_window_seconds");
        if has(gateway, requests) != has(gateway, window) {
            let there = if has(gateway, requests) { requests } else { window };
            let message = format!("{requests} and {window} belong together");
            self.broken(&format!("openshell.gateway.{there}"), message, "set both or neither");
        }
        if gateway["provider_profile_sources"].as_array().is_some_and(Vec::is_empty) {
            let hint = "leave the key out for the built-in sources";
            self.broken("openshell.gateway.provider_profile_sources", "the list must not be empty".to_owned(), hint);
        }
    }

    /// Another place for credentials needs rights or tokens that the gateway is not given.
    fn own_storage(&mut self, openshell: &Value) {
        let gateway = &openshell["gateway"];
        for (table, path, key) in [
            (gateway, "openshell.gateway", "credential_drivers"),
            (gateway, "openshell.gateway", "default_credential_driver"),
            (openshell, "openshell", "credential_drivers"),
        ] {
            if has(table, key) {
                let message = "credential drivers are not supported: the gateway keeps credentials itself, encrypted with a \
                               key of its own";
                self.broken(&format!("{path}.{key}"), message.to_owned(), "leave it out");
            }
        }
    }

    /// What belongs to a proxy is nothing without one: the gateway takes it for a proxy that got lost.
    fn proxy(&mut self, driver: &Value) {
        let path = |key: &str| format!("openshell.drivers.kubernetes.{key}");
        let (secret, secret_key) = ("proxy_auth_secret_name", "proxy_auth_secret_key");
        for key in ["no_proxy", secret, "proxy_connect_by_hostname"] {
            if has(driver, key) && !has(driver, "https_proxy") {
                self.broken(
                    &path(key),
                    format!("{key} is nothing without https_proxy"),
                    "set https_proxy, or leave it out",
                );
            }
        }
        let is_blank = |key: &str| driver[key].as_str().is_some_and(|text| text.trim().is_empty());
        for key in ["no_proxy", secret, secret_key] {
            if is_blank(key) {
                self.broken(&path(key), format!("{key} must not be empty"), "leave it out");
            }
        }
        if has(driver, secret) != has(driver, secret_key) {
            let there = if has(driver, secret) { secret } else { secret_key };
            self.broken(&path(there), format!("{secret} and {secret_key} belong together"), "set both or neither");
        } else if has(driver, secret) {
            if driver["proxy_auth_allow_insecure"] != true {
                let message = "the credentials go to the proxy unencrypted".to_owned();
                self.broken(&path(secret), message, "accept that with proxy_auth_allow_insecure = true");
            }
            if driver["topology"] != "sidecar" {
                let message = "the sandbox itself could read the credentials".to_owned();
                self.broken(&path(secret), message, "use topology = \"sidecar\"");
            }
        } else if driver["proxy_auth_allow_insecure"] == true {
            let message = format!("proxy_auth_allow_insecure is nothing without {secret}");
            self.broken(&path("proxy_auth_allow_insecure"), message, "leave it out");
        }
        let uid = &driver["sidecar"]["proxy_uid"];
        if !uid.is_null() && *uid == driver["sandbox_uid"] {
            let message = "the proxy must not be the user that the sandbox is".to_owned();
            self.broken(&path("sidecar.proxy_uid"), message, "choose another number");
        }
    }

    /// Services are told apart by their names.
    fn names(&mut self, services: &Value, path: &str) {
        let mut seen = BTreeSet::new();
        for (n, service) in services.as_array().into_iter().flatten().enumerate() {
            for key in ["name", "grpc_endpoint"] {
                if service[key].as_str().is_some_and(|text| text.trim().is_empty()) {
                    self.broken(&format!("{path}[{n}].{key}"), format!("{key} must not be empty"), "");
                }
            }
            if let Some(name) = service["name"].as_str()
                && !seen.insert(name)
            {
                self.broken(&format!("{path}[{n}].name"), format!("{name:?} is the name of another one"), "");
            }
        }
    }

    /// A source is asked once, and one that is a service has to be there.
    fn sources(&mut self, gateway: &Value) {
        let services: BTreeSet<_> =
            gateway["interceptors"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str()).collect();
        let mut seen = BTreeSet::new();
        for (n, source) in gateway["provider_profile_sources"].as_array().into_iter().flatten().enumerate() {
            let path = format!("openshell.gateway.provider_profile_sources[{n}]");
            let (kind, name) = (source["type"].as_str(), source["name"].as_str());
            if name.is_some() && kind != Some("interceptor") {
                self.broken(&path, "only a source of type interceptor has a name".to_owned(), "leave it out");
            } else if let Some(name) = name.filter(|name| !services.contains(name)) {
                self.broken(&path, format!("there is no interceptor {name:?}"), "");
            }
            if kind.is_some() && !seen.insert((kind, name)) {
                self.broken(&path, "the source is listed twice".to_owned(), "keep one of them");
            }
        }
    }

    /// Gateway and supervisor speak a protocol that no release promises to another: both are of one release.
    fn same_release(&mut self, table: &Value, path: &str, gateway: GatewayVersion) {
        let Some(image) = table["supervisor_image"].as_str() else { return };
        let tag = image.parse::<ImageReference>().ok().and_then(|image| image.tag()?.parse::<GatewayVersion>().ok());
        if let Some(supervisor) = tag.filter(|supervisor| *supervisor != gateway) {
            let message = format!("supervisor {supervisor} does not belong to gateway {gateway}");
            let hint = "leave the key out: the gateway knows the supervisor that it was built with";
            self.broken(&format!("{path}.supervisor_image"), message, hint);
        }
    }

    fn oidc(&mut self, oidc: &Value) {
        let path = "openshell.gateway.oidc";
        for key in ["issuer", "audience"] {
            if oidc[key].as_str().is_none_or(str::is_empty) {
                self.broken(path, format!("OIDC needs {key}; the gateway would refuse to start"), "");
            }
        }
        let role = |key: &str| oidc[key].as_str().map(str::is_empty);
        let (admin, user) = (role("admin_role"), role("user_role"));
        // A role that is left out has the gateway's default, which is not empty.
        if admin.unwrap_or(false) != user.unwrap_or(false) {
            let key = if admin == Some(true) { "admin_role" } else { "user_role" };
            let message = "admin_role and user_role are empty together (authentication only) or not at all".to_owned();
            self.broken(&format!("{path}.{key}"), message, "");
        }
    }

    fn required(&mut self, table: &Value, path: &str, keys: &[&str]) {
        for key in keys.iter().filter(|key| !has(table, key)) {
            self.broken(path, format!("the key {key} is missing; the gateway would refuse to start"), "");
        }
    }

    fn broken(&mut self, path: &str, message: String, hint: &str) {
        let position = self.patch.and_then(|(text, document)| place(text, document, path));
        self.problems.push(problem_at(path, position, message, hint));
    }
}

/// The place of the key at `path`, or of the nearest table around it that the text has.
fn place(text: &str, document: &Document<String>, path: &str) -> Option<Position> {
    let mut found = None;
    let mut table: &dyn TableLike = document.as_table();
    for part in path.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let Some((key, item)) = table.get_key_value(name) else { break };
        found = key.span().or_else(|| item.span()).or(found);
        let inner: Option<&dyn TableLike> = match (item, index) {
            (Item::ArrayOfTables(tables), Some(index)) => tables.get(index).map(|table| {
                found = table.span().or_else(|| found.clone());
                table as &dyn TableLike
            }),
            (_, Some(index)) => item.as_array().and_then(|array| array.get(index)).and_then(|value| {
                found = value.span().or_else(|| found.clone());
                value.as_inline_table().map(|table| table as &dyn TableLike)
            }),
            (item, None) => item.as_table_like(),
        };
        match inner {
            Some(inner) => table = inner,
            None => break,
        }
    }
    found.map(|span| Position::of(text, span.start))
}

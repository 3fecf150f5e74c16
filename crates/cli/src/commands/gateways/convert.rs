//! `paddock gateways convert`: the entries of `platform-config` as `OpenShellGateway` manifests that ask for the same.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use paddock_controllers::gateways::{self, NAMESPACES_KEY, PLATFORM_CONFIG};

use super::{connect, placed, read};
use crate::commands::controllers::gateway_options;
use crate::commands::manifests::document;
use crate::exit::{Failure, Outcome, chain};
use crate::output;
use crate::settings::{Effective, table};

/// Prints the manifests. Exit codes: 0 done, 2 a mistake in `platform-config` or no such tenant, 3 it could not be read.
pub(crate) async fn run(settings: &Effective) -> Outcome {
    let namespace = settings.get(&table::CONTROL_NAMESPACE);
    let mut rules = gateway_options(settings, namespace.clone())?.rules;
    let file = settings.find(&table::PLAN_FILE).map(|path| read(&path)).transpose()?;
    let list = match &file {
        Some(file) => {
            rules.cluster = settings.find(&table::KUBERNETES_VERSION).and_then(|version| version.parse().ok());
            file.list.clone()
        }
        None => {
            let client = connect(settings).await?;
            let unknown = |error: &kube::Error| Failure::undetermined(chain(error));
            let info = client.apiserver_version().await.map_err(|error| unknown(&error))?;
            rules.cluster = info.git_version.parse().ok();
            let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
            let found = api.get_opt(PLATFORM_CONFIG).await.map_err(|error| unknown(&error))?;
            let list = found.and_then(|config| config.data?.remove(NAMESPACES_KEY));
            list.ok_or_else(|| {
                Failure::usage(format!(
                    "namespace {namespace} has no ConfigMap {PLATFORM_CONFIG} with {NAMESPACES_KEY}"
                ))
            })?
        }
    };
    let tenant = settings.find(&table::PLAN_TENANT);
    let objects = match gateways::convert(&list, tenant.as_deref(), &rules) {
        Ok(objects) => objects,
        Err(problems) => {
            let mut told: Vec<String> =
                problems.into_iter().map(|problem| placed(settings, file.as_ref(), &(None, problem))).collect();
            let last = told.pop().unwrap_or_default();
            told.iter().for_each(|problem| output::complain(problem));
            return Err(Failure::usage(last));
        }
    };
    if let (Some(name), true) = (&tenant, objects.is_empty()) {
        return Err(Failure::usage(format!("--tenant {name}: there is no such tenant")));
    }
    for object in &objects {
        let text = if settings.get(&table::JSON) { Ok(format!("{object}\n")) } else { document(object) };
        output::data(&text.map_err(|error| Failure::undetermined(format!("cannot write YAML: {error}")))?)?;
    }
    Ok(())
}

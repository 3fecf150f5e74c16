//! `paddock gateways plan`: what the controller would do, as differences and a forecast, without doing it.

use paddock_controllers::gateways::{
    Forecast, Foretold, GatewayKey, GatewayMetrics, Gateways, Intents, NAMESPACES_KEY, PLATFORM_CONFIG, Problem,
    SourceFile, controllers,
};
use paddock_reconcile::{Error, Rehearsal};
use serde_json::json;

use super::{connect, diff, manifests, placed, read};
use crate::commands::controllers::{gateway_options, identity};
use crate::exit::{Failure, Outcome, chain};
use crate::output::{self, colours, plain_lines};
use crate::settings::{Effective, table};

/// Prints the plan. Exit codes: 0 nothing to do, 1 something, 2 bad input, 3 it could not be determined.
pub(crate) async fn run(settings: &Effective) -> Outcome {
    let namespace = settings.get(&table::CONTROL_NAMESPACE);
    let options = gateway_options(settings, namespace.clone())?;
    let file = settings.find(&table::PLAN_FILE).map(|path| read(&path)).transpose()?;
    let offline = settings.get(&table::PLAN_OFFLINE);
    let rules = options.rules.clone();
    let (controller, ..) = controllers(options, GatewayMetrics::default());
    // A plan is about objects: nobody has to be asked whether it serves.
    // And all that will come of it: whose turn it is does not matter.
    let controller = controller.with_probes(None).foreseeing();
    let rehearsal = if offline {
        Rehearsal::offline(settings.find(&table::KUBERNETES_VERSION), identity(), controller)
    } else {
        Rehearsal::against(connect(settings).await?, identity(), controller)
    };
    let assume = |plural: &str, object| rehearsal.assume(plural, object).map_err(Failure::Usage);
    match settings.find(&table::PLAN_AGAINST) {
        Some(_) if !offline => return Err(Failure::usage("--against stands for a cluster: it needs --offline")),
        Some(path) => manifests::read(&path)?.into_iter().try_for_each(|(plural, object)| assume(plural, object))?,
        None => {}
    }
    if let Some(file) = &file {
        assume(
            "configmaps",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": PLATFORM_CONFIG, "namespace": namespace },
                "data": { NAMESPACES_KEY: file.list },
            }),
        )?;
        if offline {
            for key in Intents::default().next(Some(&file.list), &rules).keys() {
                let name = key.namespace();
                assume("namespaces", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))?;
            }
        }
    } else if offline && settings.find(&table::PLAN_AGAINST).is_none() {
        return Err(Failure::usage(
            "--offline needs --file: without a cluster nothing says which gateways there shall be",
        ));
    }
    told(settings, &rehearsal, file.as_ref()).await
}

async fn told(settings: &Effective, rehearsal: &Rehearsal<Gateways>, file: Option<&SourceFile>) -> Outcome {
    let keys = rehearsal.gather().await.map_err(|error| Failure::undetermined(chain(&error)))?;
    let only = settings.find(&table::PLAN_TENANT);
    let chosen: Vec<_> = keys.iter().filter(|key| only.as_deref().is_none_or(|name| name == key.namespace())).collect();
    if let (Some(name), true) = (&only, chosen.is_empty())
        && !rehearsal.controller().problems().iter().any(|problem| is_about(name, problem))
    {
        return Err(Failure::usage(format!("--tenant {name}: there is no such tenant")));
    }
    let (json, colours) = (settings.get(&table::JSON), colours());
    let (mut changed, mut restarts, mut undetermined, mut refused) = (0, 0, 0, 0);
    for key in &chosen {
        let foretold = Foretold::of(&rehearsal.rehearse(key).await);
        changed += usize::from(!foretold.changes.is_empty());
        restarts += usize::from(matches!(foretold.forecast, Forecast::Restarts(_)));
        match &foretold.error {
            Some(Error::Transient { .. } | Error::Fatal { .. }) => undetermined += 1,
            Some(_) => refused += 1,
            None => refused += usize::from(foretold.refused),
        }
        output::data(&if json { json_line(key, &foretold)? } else { text(key, &foretold, colours)? })?;
    }
    let mut problems = rehearsal.controller().problems();
    problems.retain(|problem| only.as_deref().is_none_or(|name| is_about(name, problem)));
    if let Some((last, others)) = problems.split_last() {
        others.iter().for_each(|problem| output::complain(&placed(settings, file, problem)));
        return Err(Failure::usage(placed(settings, file, last)));
    }
    if undetermined > 0 {
        return Err(Failure::undetermined(format!("{undetermined} of {} gateways could not be planned", chosen.len())));
    }
    if !json {
        let all = chosen.len();
        output::remark(&format!("{changed} of {all} gateways would change, {restarts} would restart"));
    }
    if changed > 0 || refused > 0 { Err(Failure::Found(String::new())) } else { Ok(()) }
}

/// Whether a problem is one of this tenant: of its entry or objects, or of the whole document.
fn is_about(tenant: &str, (object, problem): &(Option<GatewayKey>, Problem)) -> bool {
    match object {
        Some(key) => key.namespace() == tenant,
        None => problem.entry.is_empty() || problem.entry == tenant,
    }
}

fn text(key: &GatewayKey, foretold: &Foretold, colours: bool) -> Result<String, Failure> {
    let name = key.called();
    let mut text = String::new();
    let waits = foretold.waits.as_ref().map(|waits| format!(" (waits: {waits})")).unwrap_or_default();
    if foretold.refused {
        return Ok(plain_lines(&format!("{name} waits: {}\n", foretold.waits.as_deref().unwrap_or_default())));
    }
    if foretold.changes.is_empty() && foretold.error.is_none() {
        return Ok(format!("{name}: nothing to do{waits}\n"));
    }
    for change in &foretold.changes {
        let diff = plain_lines(&diff::unified(change)?);
        text.push_str(&if colours { diff::coloured(&diff) } else { diff });
    }
    for change in &foretold.changes {
        let namespace = if change.namespace.is_empty() { String::new() } else { format!("{}/", change.namespace) };
        text.push_str(&format!("{name}: {} {} {namespace}{}\n", change.action.as_str(), change.kind, change.name));
    }
    for note in &foretold.notes {
        text.push_str(&plain_lines(&format!("{name}: {note}\n")));
    }
    if let Some(error) = &foretold.error {
        text.push_str(&plain_lines(&format!("{name}: cannot be done: {error}\n")));
    }
    let forecast = plain_lines(&format!("{name} {}", foretold.forecast));
    let bold = colours && matches!(foretold.forecast, Forecast::Restarts(_));
    text.push_str(&if bold { format!("\x1b[1;33m{forecast}\x1b[0m\n\n") } else { format!("{forecast}\n\n") });
    Ok(text)
}

fn json_line(key: &GatewayKey, foretold: &Foretold) -> Result<String, Failure> {
    let mut changes = Vec::new();
    for change in &foretold.changes {
        changes.push(json!({
            "action": change.action, "kind": change.kind, "namespace": change.namespace, "name": change.name,
            "diff": diff::unified(change)?,
        }));
    }
    let line = json!({
        "tenant": key.namespace(), "gateway": key.gateway(), "changes": changes, "forecast": foretold.forecast,
        "summary": format!("{} {}", key.called(), foretold.forecast), "notes": foretold.notes, "waits": foretold.waits,
        "error": foretold.error.as_ref().map(ToString::to_string),
    });
    Ok(format!("{line}\n"))
}

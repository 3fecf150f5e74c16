//! `paddock gateways status`: the table of gateways, once or as it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use paddock_api::{gateway, labels};
use paddock_controllers::gateways::{Line, PLATFORM_CONFIG, STATUS, overview};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::connect;
use crate::exit::{Failure, Outcome, chain};
use crate::output::{self, plain};
use crate::settings::{Effective, table};

/// The most characters of a message that are shown where the width is not known.
const WIDTH: usize = 160;

/// Prints the table. Exit codes: 0 all are ready, 1 one is not, 3 it could not be determined.
pub(crate) async fn run(settings: &Effective, stop: CancellationToken) -> Outcome {
    let client = connect(settings).await?;
    let namespace = settings.get(&table::CONTROL_NAMESPACE);
    let json = settings.get(&table::JSON);
    if settings.get(&table::WATCH) {
        return tokio::select! {
            outcome = watch(client, &namespace, json) => outcome,
            () = stop.cancelled() => Ok(()),
        };
    }
    let lines = tokio::select! {
        lines = once(&client, &namespace) => lines.map_err(|error| Failure::undetermined(chain(&error)))?,
        () = stop.cancelled() => return Err(Failure::undetermined("stopped")),
    };
    if json {
        output::data(&lines.iter().map(json_line).collect::<String>())?;
    } else {
        output::data(&table_of(&lines, Timestamp::now(), width()))?;
    }
    match missing(&lines) {
        None => Ok(()),
        Some(what) => Err(Failure::found(what)),
    }
}

/// What is not as it should be. A gateway that was removed and left data is none that anybody waits for.
fn missing(lines: &[Line]) -> Option<String> {
    let wanted: Vec<_> = lines.iter().filter(|line| !line.is_removed()).collect();
    let waiting = wanted.iter().filter(|line| !line.ready).count();
    (waiting > 0).then(|| format!("{waiting} of {} gateways are not ready", wanted.len()))
}

async fn once(client: &Client, namespace: &str) -> Result<Vec<Line>, kube::Error> {
    let anchors = ListParams::default().labels(labels::TENANT);
    let mut objects = all(&Api::<ConfigMap>::all(client.clone()), anchors).await?;
    match all(&gateways(client), ListParams::default()).await {
        Ok(asked) => objects.extend(asked.into_iter().map(of_our_kind)),
        Err(error) if is_unknown(&error) => {}
        Err(error) => return Err(error),
    }
    let here = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let json = |map: Option<ConfigMap>| map.and_then(|map| serde_json::to_value(map).ok());
    // Who may see how gateways stand need not be one who may read what is asked for.
    let config = here.get_opt(PLATFORM_CONFIG).await.unwrap_or_default();
    let status = here.get_opt(STATUS).await?;
    Ok(overview(&objects, json(status).as_ref(), json(config).as_ref()))
}

/// Every page of a list.
async fn all<K>(api: &Api<K>, params: ListParams) -> Result<Vec<Value>, kube::Error>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let (mut params, mut objects) = (params.limit(500), Vec::new());
    loop {
        let page = api.list(&params).await?;
        objects.extend(page.items.iter().filter_map(|object| serde_json::to_value(object).ok()));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// The `OpenShellGateway` objects of every namespace.
fn gateways(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(gateway::GROUP, gateway::VERSION, gateway::KIND);
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, gateway::PLURAL))
}

/// Items of lists need not say their kind.
fn of_our_kind(mut object: Value) -> Value {
    object["kind"] = gateway::KIND.into();
    object
}

/// The cluster does not have the kind, so nobody asked by it.
fn is_unknown(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// What a watch saw, in JSON.
enum Seen {
    Begun,
    Listed,
    Is(Value),
    Gone(Value),
}

fn seen<K: Serialize>(event: Event<K>) -> Seen {
    let json = |object: &K| serde_json::to_value(object).unwrap_or(Value::Null);
    match event {
        Event::Init => Seen::Begun,
        Event::InitDone => Seen::Listed,
        Event::Apply(object) | Event::InitApply(object) => Seen::Is(json(&object)),
        Event::Delete(object) => Seen::Gone(json(&object)),
    }
}

/// The numbers of the watches.
const ANCHORS: usize = 0;
const REPORT: usize = 1;
const ASKED: usize = 2;
const CONFIG: usize = 3;

/// On a terminal the table is drawn over itself; else each line that changed is printed.
async fn watch(client: Client, namespace: &str, json: bool) -> Outcome {
    let anchors = Api::<ConfigMap>::all(client.clone());
    let anchors = watcher(anchors, Config::default().labels(labels::TENANT)).default_backoff();
    let here = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let named = |name: &str| {
        watcher(here.clone(), Config::default().fields(&format!("metadata.name={name}"))).default_backoff()
    };
    let mut streams = vec![
        anchors.map(|event| (ANCHORS, event.map(seen))).boxed(),
        named(STATUS).map(|event| (REPORT, event.map(seen))).boxed(),
    ];
    if here.get_opt(PLATFORM_CONFIG).await.is_ok() {
        streams.push(named(PLATFORM_CONFIG).map(|event| (CONFIG, event.map(seen))).boxed());
    }
    let asked = gateways(&client);
    match asked.list(&ListParams::default().limit(1)).await {
        Err(error) if is_unknown(&error) => {}
        _ => streams
            .push(watcher(asked, Config::default()).default_backoff().map(|event| (ASKED, event.map(seen))).boxed()),
    }
    let mut waiting = streams.len();
    let mut events = futures::stream::select_all(streams);
    let (mut objects, mut report, mut config) = (BTreeMap::new(), None, None);
    let (mut listed, mut told) = (BTreeSet::new(), None::<String>);
    let (mut shown, mut drawn) = (Vec::new(), 0);
    let in_place = std::io::stdout().is_terminal() && !json;
    while let Some((which, event)) = events.next().await {
        let place = |object: &Value| (which, ["namespace", "name"].map(|key| object["metadata"][key].to_string()));
        match event {
            Err(error) => {
                // Several watches, again and again: a server that is away is told once.
                let trouble = chain(&error);
                if told.as_deref() != Some(&trouble) {
                    output::remark(&format!("cannot look: {trouble}"));
                }
                told = Some(trouble);
                continue;
            }
            Ok(Seen::Begun) => {}
            Ok(Seen::Listed) => waiting -= usize::from(listed.insert(which)),
            Ok(Seen::Is(object)) if which == REPORT => report = Some(object),
            Ok(Seen::Gone(_)) if which == REPORT => report = None,
            Ok(Seen::Is(object)) if which == CONFIG => config = Some(object),
            Ok(Seen::Gone(_)) if which == CONFIG => config = None,
            Ok(Seen::Is(object)) => {
                objects.insert(place(&object), if which == ASKED { of_our_kind(object) } else { object });
            }
            Ok(Seen::Gone(object)) => _ = objects.remove(&place(&object)),
        }
        if waiting > 0 {
            continue;
        }
        told = None;
        let lines = overview(objects.values(), report.as_ref(), config.as_ref());
        if lines == shown && drawn > 0 {
            continue;
        }
        if in_place {
            let table = table_of(&lines, Timestamp::now(), width());
            let back = if drawn > 0 { format!("\x1b[{drawn}A\x1b[J") } else { String::new() };
            drawn = table.lines().count();
            output::data(&format!("{back}{table}"))?;
        } else {
            drawn = 1;
            output::data(&news(&shown, &lines, json))?;
        }
        shown = lines;
    }
    Err(Failure::undetermined("the watch ended"))
}

/// The lines that are new or differ, and those that are gone.
fn news(before: &[Line], after: &[Line], json: bool) -> String {
    let place = |line: &Line| (line.namespace.clone(), line.gateway.clone());
    let changed = after.iter().filter(|line| !before.contains(line));
    let told = changed.map(|line| if json { json_line(line) } else { brief(line) });
    let gone = before.iter().filter(|line| !after.iter().any(|now| place(now) == place(line)));
    let gone = gone.map(|line| {
        if json {
            format!(
                "{}\n",
                serde_json::json!({ "namespace": line.namespace, "gateway": line.gateway, "phase": "Gone" })
            )
        } else {
            format!("{}/{} gone\n", line.namespace, line.gateway)
        }
    });
    told.chain(gone).collect()
}

fn brief(line: &Line) -> String {
    let Line { namespace, gateway, phase, reason, message, .. } = line;
    let colon = if message.is_empty() { "" } else { ": " };
    format!("{}\n", plain(&format!("{namespace}/{gateway} {phase} {reason}{colon}{message}")))
}

fn json_line(line: &Line) -> String {
    format!("{}\n", serde_json::to_string(line).unwrap_or_default())
}

/// The table; no line is longer than `width`.
fn table_of(lines: &[Line], now: Timestamp, width: usize) -> String {
    let head = ["NAMESPACE", "GATEWAY", "PHASE", "READY", "REASON", "IMAGE", "HASH", "CERT-END", "AGE", "MESSAGE"];
    let short = |text: &str, length: usize| text.chars().take(length).collect::<String>();
    let rows = lines.iter().map(|line| {
        [
            line.namespace.clone(),
            line.gateway.clone(),
            line.phase.clone(),
            if line.ready { "yes" } else { "no" }.to_owned(),
            line.reason.clone(),
            // The registry is the same for all of them, mostly.
            line.image.rsplit('/').next().unwrap_or_default().to_owned(),
            short(&line.config_hash, 8),
            short(&line.not_after, 10),
            line.since.map_or_else(String::new, |since| age(since, now)),
            line.message.clone(),
        ]
        .map(|cell| plain(&cell))
    });
    let all: Vec<[String; 10]> = [head.map(str::to_owned)].into_iter().chain(rows).collect();
    let mut widths = [0; 10];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if at + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', widths[at].saturating_sub(cell.chars().count()) + 2));
            }
        }
        let line = line.trim_end();
        if line.chars().count() > width {
            text.extend(line.chars().take(width.saturating_sub(1)));
            text.push('…');
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

fn width() -> usize {
    let known = console::Term::stdout().size_checked().map(|(_, width)| usize::from(width));
    known.filter(|width| std::io::stdout().is_terminal() && *width > 20).unwrap_or(WIDTH)
}

/// As kubectl has it: `45s`, `12m`, `3h`, `9d`.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(namespace: &str, message: &str) -> Line {
        Line {
            namespace: namespace.to_owned(),
            gateway: "openshell-gateway".to_owned(),
            phase: "Degraded".to_owned(),
            ready: false,
            reason: "InvalidEntry".to_owned(),
            message: message.to_owned(),
            image: "ghcr.io/nvidia/openshell/gateway:0.0.71".to_owned(),
            image_id: String::new(),
            observed_digest: String::new(),
            config_hash: "0123456789abcdef".to_owned(),
            not_after: "2027-11-21T05:00:00Z".to_owned(),
            since: Some("2026-11-20T05:00:00Z".parse().unwrap()),
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T05:00:00Z".parse().unwrap()
    }

    #[test]
    fn gw_w01_the_table_says_how_each_gateway_stands() {
        let text = table_of(&[line("tenant-a", "bad")], now(), 200);
        assert_eq!(
            text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
            [
                "tenant-a",
                "openshell-gateway",
                "Degraded",
                "no",
                "InvalidEntry",
                "gateway:0.0.71",
                "01234567",
                "2027-11-21",
                "24h",
                "bad"
            ]
        );
    }

    #[test]
    fn a_removed_gateway_is_not_waited_for() {
        let removed = Line { reason: "Removed".to_owned(), ..line("a", "kept: its volume") };
        let ready = Line { ready: true, ..line("b", "") };
        assert_eq!(missing(&[removed.clone(), ready]), None);
        assert_eq!(missing(&[removed, line("c", "bad")]).as_deref(), Some("1 of 1 gateways are not ready"));
    }

    #[test]
    fn a_line_is_cut_at_the_terminals_width() {
        let text = table_of(&[line("tenant-a", &"ä\n".repeat(300))], now(), 120);
        assert!(text.lines().all(|line| line.chars().count() <= 120));
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("…\n"));
    }

    #[test]
    fn what_a_tenant_wrote_cannot_steer_the_terminal() {
        let esc = "\x1b[2J".to_owned();
        let bad = Line { reason: esc.clone(), image: esc.clone(), not_after: esc.clone(), ..line("a", &esc) };
        let text = [table_of(std::slice::from_ref(&bad), now(), 200), brief(&bad)].concat();
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn only_what_changed_is_news() {
        let (before, after) = ([line("a", ""), line("b", "x"), line("c", "")], [line("a", ""), line("b", "y")]);
        assert_eq!(
            news(&before, &after, false),
            "b/openshell-gateway Degraded InvalidEntry: y\nc/openshell-gateway gone\n"
        );
    }

    #[test]
    fn ages_are_short() {
        let at = |text: &str| age(text.parse().unwrap(), now());
        assert_eq!(at("2026-11-21T04:59:15Z"), "45s");
        assert_eq!(at("2026-11-01T05:00:00Z"), "20d");
        assert_eq!(at("2027-11-01T05:00:00Z"), "0s");
    }
}

use paddock_policy::image::ImageReference;
use serde_json::json;

use super::*;
use crate::gateways::ClusterVersion;
use crate::gateways::rollout::Waiting;

fn rules(image: &str) -> Rules {
    Rules::new(image.parse::<ImageReference>().unwrap())
}

const IMAGE: &str = "ghcr.io/nvidia/openshell/gateway:0.0.71";

#[test]
fn gw_w22_platform_revision_changes_with_the_default_image_the_cluster_and_the_options() {
    let same = platform_revision(&rules(IMAGE), "v1beta1");
    assert_eq!(same, platform_revision(&rules(IMAGE), "v1beta1"));
    let others = [
        platform_revision(&rules("ghcr.io/nvidia/openshell/gateway:0.0.72"), "v1beta1"),
        platform_revision(&rules(IMAGE), "v1alpha1,v1beta1"),
        platform_revision(&Rules { cluster: Some(ClusterVersion::minor(36)), ..rules(IMAGE) }, "v1beta1"),
        platform_revision(&Rules { openshift: true, ..rules(IMAGE) }, "v1beta1"),
    ];
    let distinct: BTreeSet<_> = others.iter().chain([&same]).collect();
    assert_eq!(distinct.len(), 5);
}

#[test]
fn failures_are_acknowledged_for_one_revision() {
    let config = |text: &str| json!({ "metadata": { "annotations": { annotations::RESUME_ROLLOUT: text } } });
    for (text, wave) in [("wave/2", "wave"), ("a.example:5000/x/y:1/2", "a.example:5000/x/y:1")] {
        assert_eq!(acknowledged(&config(text)), Some((wave.to_owned(), 2)), "{text}");
    }
    for text in ["wave", "wave/x", ""] {
        assert_eq!(acknowledged(&config(text)), None, "{text}");
    }
}

#[test]
fn a_turn_is_read_as_it_was_written() {
    let report = json!({ "data": { ADMITTED: "a/openshell-gateway r1\nb/team r2" } });
    let key = |text: &str| GatewayKey::of_text(text).unwrap();
    assert_eq!(admitted(&report, &key("b/team")).as_deref(), Some("r2"));
    assert_eq!(admitted(&report, &key("b/openshell-gateway")), None);
}

#[test]
fn only_those_whose_turn_begins_or_ends_are_woken() {
    let report = |text: &str| json!({ "data": { ADMITTED: text, "waiting": text } });
    let (before, after) = (report("a/x r\nb/x r"), report("b/x r\nc/x r"));
    let woken = concerned(&Change { before: Some(&before), after: Some(&after) });
    assert_eq!(woken.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a/x", "c/x"]);
}

fn snapshot(members: Vec<Member>, before: Option<BTreeSet<Leave>>) -> FleetSnapshot {
    FleetSnapshot { wave: "wave".into(), members, before, acknowledged: None }
}

fn plan(snapshot: &FleetSnapshot) -> Plan {
    let memory = Memory::new(rules(IMAGE));
    let fleet = GatewayFleet::new(&Options::new("paddock-system", None).unwrap(), memory);
    fleet.plan(&Wave, snapshot, Timestamp::UNIX_EPOCH).unwrap()
}

fn member(stage: waves::Stage, waiting: Option<&str>) -> Member {
    let wait = |revision: &str| Waiting { revision: revision.to_owned(), wave: "wave".to_owned(), edited: false };
    Member { key: "a/x".to_owned(), canary: false, waiting: waiting.map(wait), wave: "wave".to_owned(), stage }
}

#[test]
fn nothing_is_written_while_nobody_ever_waited() {
    assert!(plan(&snapshot(vec![member(waves::Stage::Settled, None)], None)).apply.is_empty());
}

#[test]
fn gw_w08_pause_is_told_with_the_command_that_ends_it() {
    let failed = member(waves::Stage::Failed, None);
    let waiting = Member { key: "b/x".to_owned(), ..member(waves::Stage::Settled, Some("new")) };
    let plan = plan(&snapshot(vec![failed, waiting], None));
    assert_eq!(plan.events.len(), 1);
    assert!(plan.events[0].note.contains("(a/x)") && plan.events[0].note.contains("resume-rollout=wave/1"));
    assert_eq!(plan.apply[0].body()["data"][ADMITTED], "");
}

//! The replacement of an authority: crashes at every write, and sandboxes that read their Secret once.

use std::collections::BTreeSet;

use super::foreign::believes;
use super::*;

/// A tenant's Secrets, sandboxes and time.
struct World {
    existing: Existing,
    time: Timestamp,
    /// What each sandbox was given at its start, and when that was.
    sandboxes: Vec<(Timestamp, Secret)>,
    stages: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let material = ensure(&Existing::default(), &plain(), false, now()).unwrap();
        Self { existing: applied(&material), time: now(), sandboxes: Vec::new(), stages: BTreeSet::new() }
    }

    fn ask(&mut self, token: &str) {
        let asked = [(annotations::ROTATE_AUTHORITY.to_owned(), token.to_owned())];
        self.existing.authority.as_mut().unwrap().metadata.annotations = Some(asked.into());
    }

    fn start_sandbox(&mut self) {
        self.sandboxes.push((self.time, self.existing.client.clone().unwrap()));
    }

    /// One pass, of which only so many writes are done before the process dies.
    fn pass(&mut self, writes: usize) -> Material {
        self.existing.sandboxes = Sandboxes::Created(self.sandboxes.iter().map(|(at, _)| *at).collect());
        let material = ensure(&self.existing, &plain(), false, self.time).unwrap();
        let slots = [
            (&mut self.existing.authority, &material.authority),
            (&mut self.existing.server, &material.server),
            (&mut self.existing.client, &material.client),
        ];
        for (slot, wanted) in slots.into_iter().take(writes) {
            slot.as_mut().unwrap().data.clone_from(wanted);
        }
        self.stages.insert(text(self.existing.authority.as_ref().unwrap(), "rotation"));
        material
    }

    /// Whoever lives must reach the gateway: what was given once still fits what is served now.
    fn assert_nobody_is_lost(&self, when: &str) {
        let (server, client) = (self.existing.server.as_ref().unwrap(), self.existing.client.as_ref().unwrap());
        assert!(believes(client, server) && believes(server, client), "{when}: who starts now");
        for (at, given) in &self.sandboxes {
            assert!(believes(given, server), "{when}: the sandbox of {at} does not believe the gateway");
            assert!(believes(server, given), "{when}: the gateway does not believe the sandbox of {at}");
        }
    }

    fn sleep(&mut self, minutes: i64) {
        self.time = self.time.checked_add(SignedDuration::from_mins(minutes)).unwrap();
    }

    fn is_steady(&self) -> bool {
        let data = data(self.existing.authority.as_ref().unwrap());
        !data.contains_key("previous.crt")
    }
}

#[test]
fn gw_w05_a_replaced_authority_loses_no_sandbox() {
    let mut world = World::new();
    let before = text(world.existing.authority.as_ref().unwrap(), "tls.crt");
    let token_keys = data(world.existing.jwt.as_ref().unwrap());
    world.start_sandbox();
    world.ask("please");
    for hour in 0..80 {
        world.pass(3);
        world.assert_nobody_is_lost(&format!("hour {hour}"));
        world.start_sandbox();
        world.sleep(60);
        // A sandbox lives for a day.
        world.sandboxes.retain(|(at, _)| world.time.duration_since(*at) < SignedDuration::from_hours(24));
    }
    assert!(world.is_steady());
    assert_ne!(text(world.existing.authority.as_ref().unwrap(), "tls.crt"), before);
    assert_eq!(data(world.existing.jwt.as_ref().unwrap()), token_keys);
    assert_eq!(world.pass(3).made, Vec::<String>::new(), "a request is obeyed once");
    assert!(!world.stages.iter().any(|record| record.contains("Retiring") && record.contains("previous.key")));
}

#[test]
fn gw_w05_a_crash_after_any_write_of_a_replacement_converges_and_loses_nobody() {
    // Of each pass only the first writes happen: none, one, two or all three, in every mixture of period three.
    for pattern in 0..64_usize {
        let writes = |pass: usize| (pattern >> (2 * (pass % 3))) & 3;
        if (0..3).all(|pass| writes(pass) < 3) {
            continue;
        }
        let mut world = World::new();
        world.start_sandbox();
        world.ask("please");
        for pass in 0..90 {
            world.pass(writes(pass));
            world.assert_nobody_is_lost(&format!("pattern {pattern:06b} pass {pass}"));
            if pass % 5 == 0 {
                world.start_sandbox();
            }
            world.sleep(4);
            world.sandboxes.retain(|(at, _)| world.time.duration_since(*at) < SignedDuration::from_hours(1));
        }
        assert!(world.is_steady(), "pattern {pattern:06b}: {:?}", world.stages);
        assert_eq!(world.pass(3).made, Vec::<String>::new(), "pattern {pattern:06b}");
    }
}

#[test]
fn gw_w05_an_authority_is_due_at_two_thirds_of_its_life_and_tenants_differ() {
    let mut world = World::new();
    let due = world.pass(0).renew_at.unwrap();
    assert!(due < now().checked_add(SignedDuration::from_hours(24 * 365)).unwrap(), "the leaves come first");
    let held = Held::read(world.existing.authority.as_ref().unwrap()).unwrap();
    let (one, other) = (held.due("a authority"), held.due("b authority"));
    assert_ne!(one, other);
    world.time = one.max(other).max(held.active.info().renew_at());
    assert!(world.pass(3).made[0].starts_with("certificate authority that replaces the old one: due since"));
}

#[test]
fn names_change_in_the_middle_of_a_replacement_under_the_old_authority() {
    let mut world = World::new();
    world.start_sandbox();
    world.ask("please");
    world.pass(3);
    let more = intent("- name: t\n  gateway: {serverDnsNames: [new.example]}\n");
    let material = ensure(&world.existing, &more, false, world.time).unwrap();
    assert!(
        material.made.iter().any(|made| made == "server certificate: names added: new.example"),
        "{:?}",
        material.made
    );
    world.existing.server.as_mut().unwrap().data = material.server;
    world.assert_nobody_is_lost("after the change");
}

#[test]
fn a_damaged_record_of_a_replacement_begins_the_overlap_again() {
    let mut world = World::new();
    world.start_sandbox();
    world.ask("please");
    world.pass(3);
    world.pass(3);
    let data = world.existing.authority.as_mut().unwrap().data.as_mut().unwrap();
    data.insert("rotation".to_owned(), bytes("{"));
    assert!(replaces_authority(world.existing.authority.as_ref()));
    world.pass(3);
    world.assert_nobody_is_lost("after the damage");
    assert!(text(world.existing.authority.as_ref().unwrap(), "rotation").contains("Overlapping"));
}

#[test]
fn an_authority_that_is_not_ours_is_not_replaced() {
    let mut world = World::new();
    world.existing.authority.as_mut().unwrap().metadata.labels = None;
    world.ask("please");
    let material = world.pass(0);
    assert_eq!(material.authority, None);
    assert_eq!(material.trouble.map(|(reason, _)| reason), Some("AuthorityNotOurs"));
}

//! Leader election by a Lease: at most one process writes. May touch its one Lease.
//!
//! A holder counts as gone when its record has not changed for the lease's duration *on our own clock*; clocks of different
//! machines are never compared. A holder that could not renew for two thirds of the duration stops by itself, so that it
//! has stopped before anybody takes over.
//!
//! Who asks every two seconds is also the first to know that the API server is back after a silence: watches, whose
//! connections may have died without a word, hear it from here.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch as signal;

use crate::context::Context;
use crate::error::Error;
use crate::object::{self, ObjectRef};

/// Which lease, and its times.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long a silent holder is believed. Written in whole seconds.
    pub duration: Duration,
    /// How often the holder renews, and others look.
    pub renew_every: Duration,
}

impl LeaseConfig {
    /// 15 s, renewed every 2 s: client-go's times.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let (duration, renew_every) = (Duration::from_secs(15), Duration::from_secs(2));
        Self { namespace: namespace.into(), name: name.into(), duration, renew_every }
    }

    /// What a candidate for a lease of this name must be allowed. Nobody can be allowed to create one name alone.
    pub fn rules(name: &str) -> Vec<PolicyRule> {
        let rule = |verbs: &[&str], name: Option<&str>| PolicyRule {
            api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
            resources: Some(vec!["leases".to_owned()]),
            resource_names: name.map(|name| vec![name.to_owned()]),
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            ..PolicyRule::default()
        };
        vec![rule(&["create"], None), rule(&["get", "patch"], Some(name))]
    }
}

/// Attempts that got no answer for less than this are no silence.
const SILENCE: Duration = Duration::from_secs(5);

/// Why a holder holds the lease no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Another process took it.
    Taken,
    /// It could not be renewed in time.
    NotRenewed,
}

/// A candidate.
pub(crate) struct Election {
    cx: Context,
    config: LeaseConfig,
    target: ObjectRef,
    /// The newest record of another holder, and when our clock first saw it.
    seen: Option<(String, Duration)>,
    /// When we last renewed.
    renewed: Duration,
    /// When the first attempt began of those that got no answer since the last that did.
    silent: Option<Duration>,
    /// Ticks when the API server answers after a silence.
    back: signal::Sender<u64>,
}

impl Election {
    pub(crate) fn new(cx: Context, config: LeaseConfig, back: signal::Sender<u64>) -> Self {
        let target = ObjectRef::of::<Lease>(Some(&config.namespace), config.name.clone());
        Self { cx, config, target, seen: None, renewed: Duration::ZERO, silent: None, back }
    }

    /// Returns once we hold the lease. `told` hears of every attempt that came to nothing: of its failure, or that another process
    /// holds the lease.
    pub(crate) async fn acquire(&mut self, told: impl Fn(Option<&Error>)) {
        loop {
            // Packets that vanish are no answer: their connection is given up with the request.
            let patience = self.config.duration * 2 / 3;
            let clock = self.cx.clock().clone();
            let began = clock.monotonic();
            let attempt = tokio::select! {
                attempt = self.attempt() => attempt,
                () = clock.sleep(patience) => {
                    Err(Error::unanswered(format!("{}: no answer within {} s", self.target, patience.as_secs())))
                }
            };
            self.heard(!matches!(attempt, Err(Error::Transient { unanswered: true, .. })), began);
            match attempt {
                Ok(true) => return,
                Ok(false) => told(None),
                Err(error) => {
                    tracing::debug!(%error, lease = %self.target, "cannot take the lease");
                    told(Some(&error));
                }
            }
            self.cx.clock().sleep(self.cx.chance().jitter(self.config.renew_every, 0.1)).await;
        }
    }

    /// Notes whether the attempt that began then was answered.
    fn heard(&mut self, answered: bool, began: Duration) {
        if !answered {
            self.silent.get_or_insert(began);
        } else if let Some(since) = self.silent.take()
            && self.cx.clock().monotonic().saturating_sub(since) >= SILENCE
        {
            self.back.send_modify(|times| *times = times.wrapping_add(1));
        }
    }

    /// Renews; returns once the lease is lost or could not be renewed for two thirds of its duration.
    pub(crate) async fn keep(&mut self) -> Lost {
        let lost = self.renew_until_lost().await;
        if lost == Lost::NotRenewed {
            tracing::warn!(lease = %self.target, "the lease could not be renewed in time: nothing is written until it is held again");
        }
        lost
    }

    async fn renew_until_lost(&mut self) -> Lost {
        loop {
            let give_up = self.renewed.saturating_add(self.config.duration * 2 / 3);
            let clock = self.cx.clock().clone();
            let next = clock.monotonic().saturating_add(self.config.renew_every);
            tokio::select! {
                () = clock.sleep_until(next) => {}
                () = clock.sleep_until(give_up) => return Lost::NotRenewed,
            }
            let began = clock.monotonic();
            let attempt = tokio::select! {
                attempt = self.attempt() => attempt,
                () = clock.sleep_until(give_up) => {
                    self.heard(false, began);
                    return Lost::NotRenewed;
                }
            };
            self.heard(!matches!(attempt, Err(Error::Transient { unanswered: true, .. })), began);
            match attempt {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(lease = %self.target, "the lease was taken by another process");
                    return Lost::Taken;
                }
                Err(error) => tracing::warn!(%error, lease = %self.target, "the lease could not be renewed"),
            }
        }
    }

    /// Gives the lease up, so that a successor need not wait.
    pub(crate) async fn release(&mut self) {
        let Ok(Some(live)) = self.cx.get_live(&self.target).await else { return };
        if holder(&live) != self.cx.identity().instance {
            return;
        }
        if let Err(error) = self.write(Some(&live), "").await {
            tracing::debug!(%error, lease = %self.target, "the lease was not released");
        }
    }

    /// Takes or renews the lease if it is ours, free or abandoned. Whether we hold it then.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let now = self.cx.clock().monotonic();
        let live = self.cx.get_live(&self.target).await?;
        if let Some(live) = &live {
            let holder = holder(live);
            if !holder.is_empty() && holder != self.cx.identity().instance {
                let version = object::text(live, "/metadata/resourceVersion").to_owned();
                let since = match &self.seen {
                    Some((seen, since)) if *seen == version => *since,
                    _ => now,
                };
                self.seen = Some((version, since));
                let stated = live.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
                let believed = stated.map_or(self.config.duration, Duration::from_secs);
                if now.saturating_sub(since) < believed {
                    return Ok(false);
                }
            }
        }
        let instance = self.cx.identity().instance.clone();
        self.write(live.as_deref(), &instance).await?;
        // Counted from before the request: the server may have stored it at any moment since.
        self.renewed = now;
        self.seen = None;
        Ok(true)
    }

    /// Writes the record against exactly the state that was read: of two candidates one gets a conflict.
    async fn write(&self, live: Option<&Value>, holder_now: &str) -> Result<(), Error> {
        let api = self.target.kind.api(self.cx.client().clone(), self.target.namespace.as_deref());
        let manager = Some(self.cx.identity().field_manager.clone());
        let now = self.cx.clock().now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let taken_over = live.is_none_or(|live| holder(live) != holder_now);
        let transitions = live.and_then(|l| l.pointer("/spec/leaseTransitions")?.as_i64()).unwrap_or(0);
        let taken_at = live.and_then(|l| l.pointer("/spec/acquireTime")?.as_str()).unwrap_or(&now);
        let mut spec = json!({
            "holderIdentity": holder_now,
            "leaseDurationSeconds": self.config.duration.as_secs().max(1),
            "acquireTime": if taken_over { &now } else { taken_at },
            "renewTime": now,
            "leaseTransitions": if taken_over && live.is_some() { transitions + 1 } else { transitions },
        });
        if holder_now.is_empty() {
            spec["leaseDurationSeconds"] = 1.into();
        }
        let failed = |e: kube::Error| Error::from_kube(&e, &self.target);
        match live {
            Some(live) => {
                let version = object::text(live, "/metadata/resourceVersion");
                let patch = json!({"metadata": {"resourceVersion": version}, "spec": spec});
                let params = PatchParams { field_manager: manager, ..Default::default() };
                api.patch(&self.target.name, &params, &Patch::Merge(&patch)).await.map_err(failed)?;
            }
            None => {
                let body = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.target.name, "namespace": self.target.namespace}, "spec": spec,
                });
                let body: DynamicObject =
                    serde_json::from_value(body).map_err(|e| Error::fatal(format!("bug: {e}")))?;
                api.create(&PostParams { field_manager: manager, ..Default::default() }, &body)
                    .await
                    .map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn holder(lease: &Value) -> &str {
    object::text(lease, "/spec/holderIdentity")
}

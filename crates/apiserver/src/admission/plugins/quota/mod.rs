//! ResourceQuota: nothing is made in a namespace beyond what its quotas allow. The last plugin of all, because what it books
//! in `status.used` stays booked; what is given back is counted by the loop `quotas`.

mod bookings;
mod decide;
pub(crate) mod usage;

use serde_json::Value;

pub(crate) use bookings::{Booking, Bookings};
pub(crate) use decide::{same, to_json};

use super::resources::Amounts;
use crate::admission::{Attributes, Operation};
use crate::api::Api;
use crate::kinds::at::At;
use crate::status::Status;
use crate::store::{Encoded, Expect, Key, ListRequest, Write};
use usage::Counter;

/// Where quotas are stored.
pub(crate) const QUOTAS: &str = "/resourcequotas";
/// How often a booking is tried again when somebody else wrote the quota meanwhile.
const ATTEMPTS: usize = 8;

/// Books the write in the quotas of its namespace.
///
/// # Errors
/// 403 when it does not fit; what the store says when the booking cannot be written.
pub(super) async fn charge(a: &mut Attributes<'_>) -> Result<(), Status> {
    let resource = &*a.resource;
    let written = matches!(a.operation, Operation::Create | Operation::Update);
    let Some(counter) = Counter::of(&resource.group, &resource.plural) else { return Ok(()) };
    if !written || !resource.namespaced || !decide::may_charge(counter, a.subresource, &a.object, a.old) {
        return Ok(());
    }
    if quotas(a.api, a.namespace)?.is_empty() {
        return Ok(());
    }
    let api = a.api;
    let _turn = api.bookings.turn().await;
    if !a.dry_run {
        // From here on, whatever comes of it: the counting loop puts right what was booked for nothing.
        a.booking = Some(api.bookings.begin(a.namespace));
    }
    let mut open = quotas(a.api, a.namespace)?;
    for _ in 0..ATTEMPTS {
        let request = decide::Request { counter, new: &a.object, old: a.old, now: a.now };
        let charged = decide::charge(&open, request).map_err(|why| a.forbidden(&why))?;
        if a.dry_run {
            return Ok(());
        }
        let mut failed = Vec::new();
        for (index, used) in charged {
            if let Some(quota) = open.get(index)
                && !book(a.api, quota, &used).await?
            {
                failed.push(quota.at("/metadata/name").clone());
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        // Those that were booked stay booked: only the others are asked again.
        open = quotas(a.api, a.namespace)?;
        open.retain(|quota| failed.contains(quota.at("/metadata/name")));
    }
    let name = open.first().map(|quota| quota.str_at("/metadata/name")).unwrap_or_default();
    Err(Status::modified("", "resourcequotas", name))
}

/// The quotas of a namespace, as they are stored.
fn quotas(api: &Api, namespace: &str) -> Result<Vec<Value>, Status> {
    let request = ListRequest { namespace: Some(namespace), ..ListRequest::all(QUOTAS) };
    let listing = api.store.list(&request).map_err(|e| Status::internal(e.to_string()))?;
    let decoded = listing.objects.iter().map(|object| object.decode().map_err(|e| Status::internal(e.to_string())));
    decoded.collect()
}

/// Writes what a quota has used over the state that it was read in. `false`: that one changed meanwhile.
async fn book(api: &Api, quota: &Value, used: &Amounts) -> Result<bool, Status> {
    let Ok(revision) = quota.str_at("/metadata/resourceVersion").parse() else { return Ok(false) };
    let mut quota = quota.clone();
    quota.set_at("/status/used", to_json(used));
    let key = Key::new(QUOTAS, quota.str_at("/metadata/namespace"), quota.str_at("/metadata/name"));
    let value = Encoded::new(&quota).map_err(|e| Status::internal(e.to_string()))?;
    Ok(api.write(Write { key, expect: Expect::Revision(revision), value: Some(value) }).await?.is_ok())
}

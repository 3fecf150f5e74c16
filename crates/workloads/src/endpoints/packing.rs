//! How endpoints are spread over slices with the fewest writes: what is there stays where it is. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// Endpoints in one slice.
pub(super) const LIMIT: usize = 100;

/// What becomes of the slices of one address type and one list of ports.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// As they were, with other endpoints or labels.
    pub(super) update: Vec<EndpointSlice>,
    /// No longer needed.
    pub(super) delete: Vec<EndpointSlice>,
    /// Endpoints of new slices.
    pub(super) create: Vec<Vec<Endpoint>>,
    /// How many slices stay as they are.
    pub(super) kept: usize,
}

/// What makes two endpoints the same one, whatever state it is in.
fn identity(endpoint: &Endpoint) -> (Vec<String>, Option<String>) {
    let mut addresses = endpoint.addresses.clone();
    addresses.sort();
    (addresses, endpoint.target_ref.as_ref().and_then(|of| of.name.clone()))
}

/// `labels` sets a slice's labels as they should be, and says whether they were not.
pub(super) fn pack(
    existing: Vec<EndpointSlice>,
    desired: Vec<Endpoint>,
    mut labels: impl FnMut(&mut EndpointSlice) -> bool,
) -> Packed {
    let mut desired: BTreeMap<_, Endpoint> = desired.into_iter().map(|e| (identity(&e), e)).collect();
    let mut packed = Packed::default();
    let mut unchanged = Vec::new();
    for mut slice in existing {
        let before = slice.endpoints.take().unwrap_or_default();
        let after: Vec<Endpoint> = before.iter().filter_map(|e| desired.remove(&identity(e))).collect();
        let changed = before != after;
        let emptied = after.is_empty();
        slice.endpoints = Some(if changed { after } else { before });
        let relabelled = labels(&mut slice);
        match (changed || relabelled, emptied) {
            (_, true) => packed.delete.push(slice),
            (true, false) => packed.update.push(slice),
            (false, false) => unchanged.push(slice),
        }
    }
    // What is written anyway is filled first, the fullest first.
    packed.update.sort_by_key(|slice| std::cmp::Reverse(size(slice)));
    for slice in &mut packed.update {
        fill(slice, &mut desired);
    }
    while !desired.is_empty() {
        let number = desired.len();
        let roomy = unchanged.iter().enumerate().filter(|(_, slice)| size(slice).saturating_add(number) <= LIMIT);
        // The fullest that has room for the rest.
        match roomy.max_by_key(|(_, slice)| size(slice)).map(|(at, _)| at).filter(|_| number < LIMIT) {
            Some(at) => {
                let mut slice = unchanged.swap_remove(at);
                fill(&mut slice, &mut desired);
                packed.update.push(slice);
            }
            None => {
                let mut fresh = EndpointSlice::default();
                fill(&mut fresh, &mut desired);
                packed.create.push(fresh.endpoints.unwrap_or_default());
            }
        }
    }
    packed.kept = unchanged.len();
    packed
}

fn size(slice: &EndpointSlice) -> usize {
    slice.endpoints.as_ref().map_or(0, Vec::len)
}

fn fill<K: Ord>(slice: &mut EndpointSlice, desired: &mut BTreeMap<K, Endpoint>) {
    let endpoints = slice.endpoints.get_or_insert_default();
    while endpoints.len() < LIMIT
        && let Some((_, endpoint)) = desired.pop_first()
    {
        endpoints.push(endpoint);
    }
}

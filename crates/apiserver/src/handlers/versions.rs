//! A resource's other versions, as managed fields see them.

use std::sync::Arc;

use serde_json::Value;

use super::Call;
use crate::patch::managed::Versions;
use crate::registry::Served;
use crate::resource::Resource;
use crate::schema::{Typed, prune};

/// The versions of one stored resource.
pub(crate) struct OtherVersions {
    served: Arc<Served>,
    resource: Arc<Resource>,
}

impl Call<'_> {
    pub(crate) fn versions(&self) -> OtherVersions {
        OtherVersions { served: Arc::clone(&self.api.registry.served()), resource: self.resource.clone() }
    }
}

impl OtherVersions {
    /// The resource in a version such as `apps/v1`. Another group counts when it serves the same stored objects.
    pub(crate) fn find(&self, api_version: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = self.served.find(group, version, &self.resource.plural)?;
        (found.storage == self.resource.storage).then_some(&**found)
    }
}

impl Versions for OtherVersions {
    fn schema(&self, api_version: &str) -> Option<Typed<'_>> {
        self.find(api_version).map(|resource| Typed::new(&resource.definitions, &resource.schema))
    }

    fn convert(&self, object: &Value, from: &str, to: &str) -> Value {
        let mut out = object.clone();
        let (Some(from), Some(to)) = (self.find(from), self.find(to)) else { return out };
        if to.custom {
            prune::prune(&mut out, &to.schema, true);
        } else {
            if *from.storage_version != *from.api_version() {
                from.strategy.to_storage(&mut out);
            }
            if *to.storage_version != *to.api_version() {
                to.strategy.served_from_storage(&mut out);
            }
        }
        out["apiVersion"] = to.api_version().into();
        out
    }
}

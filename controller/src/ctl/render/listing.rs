//! What tables and lists of backends are made of. PURE.

use std::collections::BTreeSet;

use weir_proto::wire;

/// Services with the revision of each, and backend sets: what the tables of both are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listing {
    pub(crate) services: Vec<(wire::Service, u64)>,
    pub(crate) sets: Vec<(wire::BackendSet, u64)>,
}

impl Listing {
    /// Gives the backends of a service, each with the set it comes from, if it is one. Where the service and a set name
    /// the same address and port, the service's own counts.
    pub(super) fn backends<'a>(
        &'a self,
        service: &'a wire::Service,
    ) -> Vec<(&'a wire::Backend, Option<&'a str>)> {
        let own = service.backends.iter().map(|backend| (backend, None));
        let sets = self.sets.iter().map(|(set, _)| set);
        let from_sets = sets
            .filter(|set| set.service == service.name)
            .flat_map(|set| {
                set.backends
                    .iter()
                    .map(|backend| (backend, Some(set.name.as_str())))
            });
        let mut seen = BTreeSet::new();
        own.chain(from_sets)
            .filter(|(backend, _)| seen.insert((backend.address.as_str(), backend.port)))
            .collect()
    }
}

//! Where a number leads.

use crate::event::Routed;
use crate::site::{Extension, Flow, RingGroup, Site};

/// What a number stands for on a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// Somebody's phones.
    Extension(&'a Extension),
    /// Several people's phones at once.
    RingGroup(&'a RingGroup),
    /// A program.
    Flow(&'a Flow),
    /// Nothing.
    Nowhere,
}

impl Destination<'_> {
    /// For the record.
    pub fn routed(&self) -> Routed {
        match self {
            Destination::Extension(extension) => Routed::Extension(extension.number.clone()),
            Destination::RingGroup(group) => Routed::RingGroup(group.number.clone()),
            Destination::Flow(flow) => Routed::Flow(flow.number.clone()),
            Destination::Nowhere => Routed::Nowhere,
        }
    }
}

/// Looks a dialed number up. The site's validation makes sure that a number has one meaning.
pub fn route<'a>(site: &'a Site, dialed: &str) -> Destination<'a> {
    if let Some(extension) = site.extensions.get(dialed) {
        Destination::Extension(extension)
    } else if let Some(group) = site.ring_groups.get(dialed) {
        Destination::RingGroup(group)
    } else if let Some(flow) = site.flows.get(dialed) {
        Destination::Flow(flow)
    } else {
        Destination::Nowhere
    }
}

//! Who depends on whom: the graph from a channel's input to the viewer, as a value of its own.
//!
//! ```text
//! channel → encoder → origin → shield → edge → steering        service
//! ```
//!
//! It orders what is applied, and answers what may be lost: which single pods playback hangs on, and whether a set of
//! regions can go without taking the last healthy path with it.

use std::{collections::BTreeSet, fmt};

use petgraph::{
    Direction,
    graph::{DiGraph, NodeIndex},
    visit::{Bfs, NodeFiltered},
};
use showrunner_crds::platform::{PushTo, Role};

use crate::validate::{
    ValidatedPlatform,
    names::{ChannelName, RegionName, ServiceName},
};

/// A vertex of the graph: a channel's input, or a workload in a region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The input of a channel.
    Channel(ChannelName),
    /// The encoder of one channel in one region.
    Encoder(RegionName, ChannelName),
    /// The origins of a region.
    Origin(RegionName),
    /// The shields of a region.
    Shield(RegionName),
    /// The edges of a region.
    Edge(RegionName),
    /// The steering servers of a region.
    Steering(RegionName),
    /// A playback service in a region.
    Service(RegionName, ServiceName),
}

impl Node {
    /// Region the node is in; a channel's input is in none.
    #[must_use]
    pub const fn region(&self) -> Option<&RegionName> {
        match self {
            Self::Channel(_) => None,
            Self::Encoder(region, _)
            | Self::Origin(region)
            | Self::Shield(region)
            | Self::Edge(region)
            | Self::Steering(region)
            | Self::Service(region, _) => Some(region),
        }
    }

    /// Role of the workload.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Channel(_) => None,
            Self::Encoder(..) => Some(Role::Encoder),
            Self::Origin(_) => Some(Role::Origin),
            Self::Shield(_) => Some(Role::Shield),
            Self::Edge(_) => Some(Role::Edge),
            Self::Steering(_) => Some(Role::Steering),
            Self::Service(..) => Some(Role::Services),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "channel {channel}"),
            Self::Encoder(region, channel) => write!(f, "encoder of {channel} in {region}"),
            Self::Origin(region) => write!(f, "origin in {region}"),
            Self::Shield(region) => write!(f, "shield in {region}"),
            Self::Edge(region) => write!(f, "edge in {region}"),
            Self::Steering(region) => write!(f, "steering in {region}"),
            Self::Service(region, service) => write!(f, "service {service} in {region}"),
        }
    }
}

/// What no longer works once something is lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outage {
    /// No edge can be reached from the channel's input any more.
    Channel(ChannelName),
    /// No steering server is left to send players anywhere.
    Steering,
    /// No replica of a playback service is left.
    Service(ServiceName),
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "channel {channel} reaches no edge"),
            Self::Steering => f.write_str("no steering server is left"),
            Self::Service(service) => write!(f, "service {service} is gone"),
        }
    }
}

/// The dependency graph of a platform.
#[derive(Clone, Debug)]
pub struct Topology {
    graph: DiGraph<Vertex, ()>,
}

#[derive(Clone, Debug)]
struct Vertex {
    node: Node,
    /// Pods that do the same job; inputs have one.
    replicas: u32,
}

impl Topology {
    /// The graph of a platform. It has no cycle: every edge leads from a role to a later one.
    #[must_use]
    pub fn of(platform: &ValidatedPlatform) -> Self {
        let mut topology = Self { graph: DiGraph::new() };
        topology.vertices(platform);
        topology.edges(platform);
        topology
    }

    fn vertices(&mut self, platform: &ValidatedPlatform) {
        let mut add = |node, replicas| {
            self.graph.add_node(Vertex { node, replicas });
        };
        for channel in &platform.channels {
            add(Node::Channel(channel.name.clone()), 1);
        }
        for region in &platform.regions {
            let name = &region.name;
            for &role in &region.roles {
                match role {
                    Role::Encoder => platform
                        .channels
                        .iter()
                        .for_each(|channel| add(Node::Encoder(name.clone(), channel.name.clone()), 1)),
                    Role::Origin => add(Node::Origin(name.clone()), platform.origin.replicas.0),
                    Role::Shield => add(Node::Shield(name.clone()), platform.shield.replicas.0),
                    Role::Edge => add(Node::Edge(name.clone()), platform.edge.autoscaling.min.0),
                    Role::Steering => add(Node::Steering(name.clone()), platform.steering.replicas.0),
                    Role::Services => platform.deployed_services().for_each(|service| {
                        add(Node::Service(name.clone(), service.name.clone()), service.replicas.0);
                    }),
                }
            }
        }
    }

    fn edges(&mut self, platform: &ValidatedPlatform) {
        let shielded = platform.regions_with(Role::Shield).next().is_some();
        let mut edges = Vec::new();
        for from in self.graph.node_indices() {
            for to in self.graph.node_indices() {
                let feeds = match (&self.graph[from].node, &self.graph[to].node) {
                    (Node::Channel(channel), Node::Encoder(_, encoded)) => channel == encoded,
                    (Node::Encoder(region, _), Node::Origin(origin)) => match platform.encoder.push_to {
                        PushTo::AllOrigins => true,
                        PushTo::LocalOrigins => region == origin,
                    },
                    (Node::Origin(_), Node::Shield(_))
                    | (Node::Shield(_), Node::Edge(_))
                    | (Node::Edge(_), Node::Steering(_)) => true,
                    (Node::Origin(_), Node::Edge(_)) => !shielded,
                    _ => false,
                };
                if feeds {
                    edges.push((from, to));
                }
            }
        }
        for (from, to) in edges {
            self.graph.add_edge(from, to, ());
        }
    }

    /// Every node, each after those it depends on.
    #[must_use]
    pub fn order(&self) -> Vec<&Node> {
        // The graph has no cycle by construction; were there one, the order of insertion is an order all the same.
        let indices = petgraph::algo::toposort(&self.graph, None)
            .unwrap_or_else(|_| self.graph.node_indices().collect::<Vec<_>>());
        indices.into_iter().map(|index| &self.graph[index].node).collect()
    }

    /// Roles in the order in which they are rolled out.
    #[must_use]
    pub fn role_order(&self) -> Vec<Role> {
        let mut roles = Vec::new();
        for role in self.order().into_iter().filter_map(Node::role) {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        roles
    }

    /// What no longer works when every node that `lost` names is gone. Empty: viewers still play everything.
    #[must_use]
    pub fn outages(&self, lost: impl Fn(&Node) -> bool) -> BTreeSet<Outage> {
        let alive = |index: NodeIndex| !lost(&self.graph[index].node);
        let filtered = NodeFiltered::from_fn(&self.graph, alive);
        let mut outages = BTreeSet::new();
        let mut steered = false;
        let mut services = BTreeSet::new();
        for index in self.graph.node_indices() {
            match &self.graph[index].node {
                Node::Channel(channel) => {
                    let mut search = Bfs::new(&filtered, index);
                    let mut reached = false;
                    while let Some(next) = search.next(&filtered) {
                        reached |= matches!(self.graph[next].node, Node::Edge(_));
                    }
                    if !reached || !alive(index) {
                        outages.insert(Outage::Channel(channel.clone()));
                    }
                }
                Node::Steering(_) => steered |= alive(index),
                Node::Service(_, service) => {
                    outages.insert(Outage::Service(service.clone()));
                    if alive(index) {
                        services.insert(service.clone());
                    }
                }
                Node::Encoder(..) | Node::Origin(_) | Node::Shield(_) | Node::Edge(_) => {}
            }
        }
        outages.retain(|outage| !matches!(outage, Outage::Service(service) if services.contains(service)));
        if !steered {
            outages.insert(Outage::Steering);
        }
        outages
    }

    /// What no longer works when whole regions are gone.
    #[must_use]
    pub fn outages_without_regions(&self, regions: &BTreeSet<RegionName>) -> BTreeSet<Outage> {
        self.outages(|node| node.region().is_some_and(|region| regions.contains(region)))
    }

    /// Whether a region carries the last healthy path, given the regions that are out already.
    #[must_use]
    pub fn is_last_healthy_path(&self, region: &RegionName, already_lost: &BTreeSet<RegionName>) -> bool {
        let mut lost = already_lost.clone();
        lost.insert(region.clone());
        !self
            .outages_without_regions(&lost)
            .is_subset(&self.outages_without_regions(already_lost))
    }

    /// Workloads of a single pod whose loss alone is an outage.
    #[must_use]
    pub fn single_points_of_failure(&self) -> Vec<&Node> {
        self.graph
            .node_weights()
            .filter(|vertex| vertex.replicas <= 1 && vertex.node.role().is_some())
            .map(|vertex| &vertex.node)
            .filter(|node| !self.outages(|other| other == *node).is_empty())
            .collect()
    }

    /// What a node depends on directly.
    #[must_use]
    pub fn upstream(&self, node: &Node) -> Vec<&Node> {
        self.graph
            .node_indices()
            .find(|&index| self.graph[index].node == *node)
            .map(|index| {
                let mut nodes: Vec<_> = self
                    .graph
                    .neighbors_directed(index, Direction::Incoming)
                    .map(|neighbour| &self.graph[neighbour].node)
                    .collect();
                nodes.sort();
                nodes
            })
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn lost(names: &[&str]) -> BTreeSet<RegionName> {
        names.iter().map(|name| region(name)).collect()
    }

    #[test]
    fn roles_follow_the_media() {
        let topology = Topology::of(&fixtures::cinema());
        let order = topology.role_order();
        let place = |role| order.iter().position(|&other| other == role).unwrap();
        for pair in [Role::Encoder, Role::Origin, Role::Shield, Role::Edge, Role::Steering].windows(2) {
            assert!(place(pair[0]) < place(pair[1]), "{order:?}");
        }
    }

    #[test]
    fn any_region_of_three_may_go() {
        let topology = Topology::of(&fixtures::cinema());
        for name in ["north", "south", "west"] {
            assert!(topology.outages_without_regions(&lost(&[name])).is_empty(), "{name}");
        }
    }

    #[test]
    fn without_its_encoders_a_platform_is_dark() {
        let topology = Topology::of(&fixtures::cinema());
        let outages = topology.outages_without_regions(&lost(&["north", "south"]));
        assert!(
            outages.iter().any(|outage| matches!(outage, Outage::Channel(_))),
            "{outages:?}"
        );
        assert!(topology.is_last_healthy_path(&region("south"), &lost(&["north"])));
        assert!(!topology.is_last_healthy_path(&region("west"), &lost(&["north"])));
    }

    #[test]
    fn one_region_alone_is_full_of_single_points() {
        let mut platform = fixtures::cinema();
        platform.regions.truncate(1);
        let topology = Topology::of(&platform);
        let points = topology.single_points_of_failure();
        assert!(points.contains(&&Node::Shield(region("north"))), "{points:?}");
        assert!(Topology::of(&fixtures::cinema()).single_points_of_failure().is_empty());
    }

    #[test]
    fn local_push_ties_an_origin_to_its_encoder() {
        let mut platform = fixtures::cinema();
        platform.encoder.push_to = PushTo::LocalOrigins;
        let topology = Topology::of(&platform);
        let upstream = topology.upstream(&Node::Origin(region("north")));
        assert!(
            upstream.iter().all(|node| node.region() == Some(&region("north"))),
            "{upstream:?}"
        );
    }
}

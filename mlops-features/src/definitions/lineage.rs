//! From sources over views and services to models.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use mlops_core::Name;
use mlops_core::catalog::{Catalog, DRAWN_EDGES_MAX, DRAWN_NODES_MAX, Lineage, Trace, mermaid_text};
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::deployment::ModelLink;
use super::set::Definitions;
use crate::define::FeatureRef;
use crate::error::{Core, Result};
use crate::origin::{BatchOrigin, StreamOrigin};
use crate::service::FeatureService;
use crate::transform::{InputSource, OnDemandView};
use crate::view::FeatureView;
use crate::window::WindowView;

/// One place in the lineage of features.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Node {
    /// Where history is read from.
    Batch(BatchOrigin),
    /// Where rows come from as things happen.
    Stream(StreamOrigin),
    /// A view of any kind.
    View(Name),
    /// A service.
    Service(Name),
    /// A version of a model.
    Model {
        /// The model.
        model: Name,
        /// Its version.
        version: String,
    },
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(origin) => origin.fmt(f),
            Self::Stream(origin) => origin.fmt(f),
            Self::View(name) => write!(f, "view {name}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Model { model, version } => write!(f, "model {model} {version}"),
        }
    }
}

/// `to` is made of `from`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineageEdge {
    /// What is read.
    pub from: Node,
    /// What reads it.
    pub to: Node,
    /// The features of `from` that are read, sorted; empty where `from` has none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub features: BTreeSet<Name>,
}

/// Which way edges are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// What is made of what, as the definitions tell it.
///
/// # Examples
/// ```
/// use mlops_core::Name;
/// use mlops_features::definitions::{DefinitionLineage, Definitions, Node};
/// use mlops_features::{Entity, FeatureService, FeatureView, KeyType, StreamOrigin, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let clicks = FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64);
/// let clicks = clicks.stream(StreamOrigin::push("clicks")?).build()?;
/// let ranker = FeatureService::builder("ranker").feature("clicks:ctr").build()?;
/// let definitions = Definitions::builder().with(clicks).with(ranker).build()?;
///
/// let lineage = DefinitionLineage::of(&definitions, &[])?;
/// let from = lineage.upstream(&Node::Service(Name::new("ranker")?))?;
/// assert_eq!(from.nodes().len(), 3);
/// assert_eq!(lineage.users_of(&"clicks:ctr".parse()?)?, [Node::Service(Name::new("ranker")?)]);
/// assert!(from.to_mermaid().contains("-->|\"ctr\"|"));
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DefinitionLineage {
    nodes: BTreeSet<Node>,
    edges: BTreeMap<(Node, Node), BTreeSet<Name>>,
    /// What each feature of a computed view reads.
    computed: BTreeMap<FeatureRef, BTreeSet<FeatureRef>>,
}

impl DefinitionLineage {
    /// The lineage of `definitions`, down to `models`.
    ///
    /// # Errors
    /// `Core(NotFound)` when they do not fit together, which is not so for a set that was built.
    pub fn of(definitions: &Definitions, models: &[ModelLink]) -> Result<Self> {
        let mut lineage = Self::default();
        for definition in definitions.all() {
            match definition {
                Definition::View(view) => match view.batch() {
                    Some(BatchOrigin::Derived { driver, views }) => {
                        lineage.add_stored(view.name(), None, view.stream());
                        lineage.add_derived(definitions, view, driver, views);
                    }
                    batch => lineage.add_stored(view.name(), batch, view.stream()),
                },
                Definition::WindowView(view) => lineage.add_windows(view),
                Definition::OnDemandView(view) => lineage.add_computed(view),
                Definition::Service(service) => lineage.add_service(definitions, service)?,
                Definition::Entity(_) => {}
            }
        }
        for link in models {
            let model = Node::Model { model: link.model.clone(), version: link.version.clone() };
            lineage.edge(Node::Service(link.features.service.clone()), model, None);
        }
        Ok(lineage)
    }

    fn node(&mut self, node: Node) -> Node {
        self.nodes.insert(node.clone());
        node
    }

    fn edge(&mut self, from: Node, to: Node, feature: Option<Name>) {
        self.nodes.extend([from.clone(), to.clone()]);
        self.edges.entry((from, to)).or_default().extend(feature);
    }

    fn add_stored(&mut self, view: &Name, batch: Option<&BatchOrigin>, stream: Option<&StreamOrigin>) {
        let node = self.node(Node::View(view.clone()));
        let sources = batch.cloned().map(Node::Batch).into_iter().chain(stream.cloned().map(Node::Stream));
        for source in sources {
            self.edge(source, node.clone(), None);
        }
    }

    fn add_windows(&mut self, view: &WindowView) {
        let Some(BatchOrigin::History { view: history }) = view.batch() else {
            return self.add_stored(view.name(), view.batch(), view.stream());
        };
        self.add_stored(view.name(), None, view.stream());
        let node = Node::View(view.name().clone());
        self.edge(Node::View(history.clone()), node.clone(), None);
        for (aggregate, feature) in view.aggregates().iter().zip(view.feature_view().features()) {
            let Some(column) = &aggregate.column else { continue };
            let made = FeatureRef { view: view.name().clone(), feature: feature.name.clone() };
            let read = FeatureRef { view: history.clone(), feature: column.clone() };
            self.edge(Node::View(history.clone()), node.clone(), Some(column.clone()));
            self.computed.entry(made).or_default().insert(read);
        }
    }

    fn add_derived(&mut self, definitions: &Definitions, target: &FeatureView, driver: &Name, views: &[Name]) {
        let node = Node::View(target.name().clone());
        self.edge(Node::View(driver.clone()), node.clone(), None);
        for by in views {
            let has = definitions.any_view(by).map(Definition::features).unwrap_or_default();
            for feature in target.features().iter().filter(|f| has.iter().any(|shown| *shown.name == f.name)) {
                let made = FeatureRef { view: target.name().clone(), feature: feature.name.clone() };
                let read = FeatureRef { view: by.clone(), feature: feature.name.clone() };
                self.edge(Node::View(by.clone()), node.clone(), Some(feature.name.clone()));
                self.computed.entry(made).or_default().insert(read);
            }
        }
    }

    fn add_computed(&mut self, view: &OnDemandView) {
        let node = self.node(Node::View(view.name().clone()));
        for (at, feature) in view.features().iter().enumerate() {
            let made = FeatureRef { view: view.name().clone(), feature: feature.name.clone() };
            for input in view.reads(at).iter().map(|at| &view.inputs()[*at]) {
                if let InputSource::Feature(read) = &input.from {
                    self.edge(Node::View(read.view.clone()), node.clone(), Some(read.feature.clone()));
                    self.computed.entry(made.clone()).or_default().insert(read.clone());
                }
            }
        }
    }

    fn add_service(&mut self, definitions: &Definitions, service: &FeatureService) -> Result<()> {
        let node = self.node(Node::Service(service.name().clone()));
        for used in service.views() {
            let view = definitions.any_view(used.view());
            let view = view.ok_or_else(|| Core::not_found("view", used.view().as_str()))?;
            let all = || view.features().iter().map(|feature| feature.name.clone()).collect();
            let features: Vec<Name> = if used.features().is_empty() { all() } else { used.features().to_vec() };
            for feature in features {
                self.edge(Node::View(used.view().clone()), node.clone(), Some(feature));
            }
        }
        Ok(())
    }

    /// All places, by kind and name.
    pub fn nodes(&self) -> &BTreeSet<Node> {
        &self.nodes
    }

    /// What leads from place to place, sorted.
    pub fn edges(&self) -> impl Iterator<Item = LineageEdge> {
        let edges = self.edges.iter();
        edges.map(|((from, to), features)| LineageEdge {
            from: from.clone(),
            to: to.clone(),
            features: features.clone(),
        })
    }

    /// `node`, and all that it is made of.
    ///
    /// # Errors
    /// `Core(NotFound)` when it is not there.
    pub fn upstream(&self, node: &Node) -> Result<Self> {
        self.walk(node, Way::Up)
    }

    /// `node`, and all that is made of it.
    ///
    /// # Errors
    /// `Core(NotFound)` when it is not there.
    pub fn downstream(&self, node: &Node) -> Result<Self> {
        self.walk(node, Way::Down)
    }

    fn walk(&self, start: &Node, way: Way) -> Result<Self> {
        if !self.nodes.contains(start) {
            return Err(Core::not_found("place in the lineage", start.to_string()).into());
        }
        let mut ways: BTreeMap<&Node, Vec<&(Node, Node)>> = BTreeMap::new();
        for edge in self.edges.keys() {
            ways.entry(if way == Way::Up { &edge.1 } else { &edge.0 }).or_default().push(edge);
        }
        let mut reached = Self { nodes: BTreeSet::from([start.clone()]), ..Self::default() };
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            for edge in ways.get(node).into_iter().flatten() {
                reached.edges.insert((*edge).clone(), self.edges[*edge].clone());
                let end = if way == Way::Up { &edge.0 } else { &edge.1 };
                if reached.nodes.insert(end.clone()) {
                    open.push(end);
                }
            }
        }
        let inside = |made: &FeatureRef| reached.nodes.contains(&Node::View(made.view.clone()));
        reached.computed =
            self.computed.iter().filter(|(made, _)| inside(made)).map(|(m, r)| (m.clone(), r.clone())).collect();
        Ok(reached)
    }

    /// Who takes one feature, whether directly or through computed features, in order: what to look at before it is changed.
    /// Views are told when one of their features reads it.
    ///
    /// # Errors
    /// `Core(NotFound)` when the view is not there. A feature that nobody takes has no users, whether it is there or not.
    pub fn users_of(&self, feature: &FeatureRef) -> Result<Vec<Node>> {
        let view = Node::View(feature.view.clone());
        if !self.nodes.contains(&view) {
            return Err(Core::not_found("view", feature.view.as_str()).into());
        }
        let mut open = vec![feature.clone()];
        let mut seen: BTreeSet<FeatureRef> = open.iter().cloned().collect();
        let mut users = BTreeSet::new();
        while let Some(read) = open.pop() {
            let takes = |((from, _), features): &(&(Node, Node), &BTreeSet<Name>)| {
                *from == Node::View(read.view.clone()) && features.contains(&read.feature)
            };
            for ((_, to), _) in self.edges.iter().filter(takes) {
                users.insert(to.clone());
            }
            for (made, _) in self.computed.iter().filter(|(_, reads)| reads.contains(&read)) {
                if seen.insert(made.clone()) {
                    open.push(made.clone());
                }
            }
        }
        let services: Vec<Node> = users.iter().filter(|node| matches!(node, Node::Service(_))).cloned().collect();
        for service in services {
            users.extend(self.edges.keys().filter(|(from, _)| *from == service).map(|(_, to)| to.clone()));
        }
        Ok(users.into_iter().collect())
    }

    /// What the data sets that this is made of were made from in turn, as `catalog` remembers it: one trace per data set of the
    /// catalog that is there, by name. Data sets that the catalog does not know are left out.
    ///
    /// # Errors
    /// What the catalog fails with.
    pub fn data_sets(&self, catalog: &dyn Catalog) -> Result<BTreeMap<Name, Trace>> {
        let lineage = Lineage::of(catalog)?;
        let mut traces = BTreeMap::new();
        for node in &self.nodes {
            let Node::Batch(BatchOrigin::Catalog { name }) = node else { continue };
            match catalog.get(name) {
                Ok((entry, _)) => drop(traces.insert(name.clone(), lineage.ancestors(&entry.digest)?)),
                Err(Core::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(traces)
    }

    /// A Mermaid flow chart, from sources to models: at most [`DRAWN_NODES_MAX`] places and [`DRAWN_EDGES_MAX`] edges between
    /// them, and a note where there are more.
    pub fn to_mermaid(&self) -> String {
        let drawn = self.nodes.iter().take(DRAWN_NODES_MAX).enumerate();
        let places: BTreeMap<&Node, usize> = drawn.map(|(at, node)| (node, at)).collect();
        let mut text = "flowchart LR\n".to_owned();
        for (node, at) in &places {
            let label = mermaid_text(&node.to_string());
            let (open, close) = match node {
                Node::Batch(_) | Node::Stream(_) => ("[(", ")]"),
                Node::View(_) => ("[", "]"),
                Node::Service(_) => ("([", "])"),
                Node::Model { .. } => ("{{", "}}"),
            };
            let _ = writeln!(text, "    n{at}{open}\"{label}\"{close}");
        }
        let inside = self.edges.iter().filter_map(|((from, to), features)| {
            Some((places.get(from)?, places.get(to)?, features.iter().map(Name::as_str).collect::<Vec<_>>()))
        });
        let mut edges = 0;
        for (from, to, words) in inside.take(DRAWN_EDGES_MAX) {
            edges += 1;
            let _ = match words.as_slice() {
                [] => writeln!(text, "    n{from} --> n{to}"),
                words => writeln!(text, "    n{from} -->|\"{}\"| n{to}", mermaid_text(&words.join(" "))),
            };
        }
        let (nodes, edges) = (self.nodes.len() - places.len(), self.edges.len() - edges);
        if nodes + edges > 0 {
            let _ = writeln!(text, "    note[\"{nodes} places and {edges} edges more are not drawn\"]");
        }
        text
    }
}

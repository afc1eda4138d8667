//! Finds where every column of a service comes from, through chains of on-demand views.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlops_core::Name;
use mlops_core::schema::Sensitivity;

use super::plan::{CallerColumn, Origin, Output, Step};
use crate::define::{FeatureRef, ValueType};
use crate::error::{Core, Error, Result};
use crate::service::{FeatureService, ViewJoin, ViewUse};
use crate::transform::{Input, InputSource, OnDemandView};
use crate::view::FeatureView;

/// Longest chain of on-demand views.
const CHAIN_MAX: usize = 64;

/// Most uses of on-demand views in one service: one view counts once per naming of the caller's columns.
const STEPS_MAX: usize = 4_096;

/// From a column that a view asks for to the caller's column.
type Renamed = BTreeMap<Name, Name>;

pub(super) struct Resolver<'a> {
    views: BTreeMap<&'a Name, &'a FeatureView>,
    on_demand: BTreeMap<&'a Name, &'a OnDemandView>,
    /// Links from each on-demand view down to views that read no other one.
    heights: BTreeMap<&'a Name, usize>,
    reads: Vec<OpenRead<'a>>,
    steps: Vec<OpenStep>,
    columns: Vec<CallerColumn>,
    /// Positions of the columns by name: one name may be asked for as several types.
    column_places: BTreeMap<Name, Vec<usize>>,
    /// What was found out of features by view and position.
    asked: BTreeMap<(&'a Name, usize), Arc<BTreeSet<Name>>>,
}

struct OpenRead<'a> {
    view: &'a FeatureView,
    label: Name,
    keys: Vec<Name>,
    features: Vec<usize>,
    /// Positions of features in the read.
    places: BTreeMap<usize, usize>,
}

struct OpenStep {
    step: Step,
    renamed: Renamed,
    height: usize,
    /// Per feature of the view that is wanted: its position, and how sensitive it turned out to be.
    places: BTreeMap<usize, (usize, Sensitivity)>,
}

/// A column that was found.
struct Found {
    origin: Origin,
    value_type: ValueType,
    sensitivity: Sensitivity,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(views: &'a [FeatureView], on_demand: &'a [OnDemandView]) -> Result<Self> {
        let mut stored = BTreeMap::new();
        for view in views {
            // The first of several definitions counts, as it does where services look views up.
            stored.entry(view.name()).or_insert(view);
        }
        let mut computed = BTreeMap::new();
        for view in on_demand {
            if stored.contains_key(view.name()) || computed.insert(view.name(), view).is_some() {
                return Err(Core::AlreadyExists { kind: "view", name: view.name().to_string() }.into());
            }
        }
        let heights = heights(&computed)?;
        Ok(Self {
            views: stored,
            on_demand: computed,
            heights,
            reads: Vec::new(),
            steps: Vec::new(),
            columns: Vec::new(),
            column_places: BTreeMap::new(),
            asked: BTreeMap::new(),
        })
    }

    /// The columns of `service`, in order. Stored views come first, so that what the service says of them stands.
    pub(super) fn service(&mut self, service: &FeatureService) -> Result<Vec<Output>> {
        for used in service.views() {
            if let Some(view) = self.views.get(used.view()) {
                let join = ViewJoin::of(view, used)?;
                self.reads.push(OpenRead::new(view, &join));
            }
        }
        let mut outputs = Vec::new();
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let mut read = 0;
        for used in service.views() {
            let (names, found) = if self.views.contains_key(used.view()) {
                read += 1;
                self.stored_use(read - 1)
            } else {
                self.computed_use(used)?
            };
            for (feature, found) in names.into_iter().zip(found) {
                let name =
                    if service.full_names() { format!("{}__{feature}", used.label()) } else { feature.to_string() };
                let origin = format!("`{}:{feature}`", used.label());
                match taken.entry(name.clone()) {
                    Entry::Vacant(free) => free.insert(origin),
                    Entry::Occupied(first) => {
                        return Err(Error::Collision { column: name, first: first.get().clone(), second: origin });
                    }
                };
                let Found { origin, value_type, sensitivity } = found;
                outputs.push(Output { name, value_type, sensitivity, origin });
            }
        }
        self.finish_order(&mut outputs);
        Ok(outputs)
    }

    fn stored_use(&self, at: usize) -> (Vec<Name>, Vec<Found>) {
        let read = &self.reads[at];
        // Inputs of computed features are appended behind what the service selects, and after this in time.
        let found = read.features.iter().enumerate().map(|(place, index)| {
            let feature = &read.view.features()[*index];
            let origin = Origin::Read(at, place);
            (feature.name.clone(), Found { origin, value_type: feature.value_type, sensitivity: feature.sensitivity })
        });
        found.unzip()
    }

    fn computed_use(&mut self, used: &ViewUse) -> Result<(Vec<Name>, Vec<Found>)> {
        let view = *self.on_demand.get(used.view()).ok_or_else(|| Core::not_found("view", used.view().as_str()))?;
        let wanted: Vec<usize> = match used.features() {
            [] => (0..view.features().len()).collect(),
            named => named.iter().map(|name| view.feature_index(name.as_str())).collect::<Result<_>>()?,
        };
        let mut seen = BTreeSet::new();
        if let Some(twice) = wanted.iter().find(|feature| !seen.insert(**feature)) {
            let name = format!("{}:{}", used.label(), view.features()[*twice].name);
            return Err(Core::AlreadyExists { kind: "feature", name }.into());
        }
        let asked = wanted.iter().map(|feature| self.asked(view, *feature)).collect::<Result<Vec<_>>>()?;
        if let Some(unknown) = used.keys().keys().find(|key| !asked.iter().any(|names| names.contains(*key))) {
            return Err(Core::not_found("key", format!("{}:{unknown}", view.name())).into());
        }
        let mut found = Vec::with_capacity(wanted.len());
        for feature in &wanted {
            found.push(self.computed(view, *feature, used.keys(), used.label())?);
        }
        Ok((wanted.iter().map(|feature| view.features()[*feature].name.clone()).collect(), found))
    }

    /// Columns that a feature asks a caller for, by the names that the view itself knows.
    fn asked(&mut self, view: &'a OnDemandView, feature: usize) -> Result<Arc<BTreeSet<Name>>> {
        if let Some(known) = self.asked.get(&(view.name(), feature)) {
            return Ok(known.clone());
        }
        let mut asked = BTreeSet::new();
        for input in view.reads(feature).iter().map(|input| &view.inputs()[*input]) {
            let through: Arc<BTreeSet<Name>> = match &input.from {
                InputSource::Column(name) => Arc::new([name.clone()].into()),
                InputSource::Feature(FeatureRef { view: source, feature }) => {
                    if let Some(stored) = self.views.get(source) {
                        Arc::new(stored.entity().keys().iter().map(|key| key.name.clone()).collect())
                    } else if let Some(computed) = self.on_demand.get(source).copied() {
                        self.asked(computed, computed.feature_index(feature.as_str())?)?
                    } else {
                        return Err(unknown(view, input, source).into());
                    }
                }
            };
            if let Some(other) = input.keys.keys().find(|key| !through.contains(*key)) {
                return Err(Core::not_found("key", format!("{}:{}:{other}", view.name(), input.name)).into());
            }
            asked.extend(through.iter().map(|name| renamed(&input.keys, name)));
        }
        let asked = Arc::new(asked);
        self.asked.insert((view.name(), feature), asked.clone());
        Ok(asked)
    }

    /// Feature `feature` of `view`, whose columns the caller has under the names `outer`.
    fn computed(&mut self, view: &'a OnDemandView, feature: usize, outer: &Renamed, label: &Name) -> Result<Found> {
        let at = self.step(view, outer, label)?;
        let value_type = view.value_type(feature).unwrap_or(ValueType::Float64);
        if let Some((place, sensitivity)) = self.steps[at].places.get(&feature) {
            return Ok(Found { origin: Origin::Step(at, *place), value_type, sensitivity: *sensitivity });
        }
        let mut sensitivity = view.features()[feature].sensitivity;
        for input in view.reads(feature) {
            let found = self.input(view, &view.inputs()[*input], outer)?;
            sensitivity = sensitivity.max(found.sensitivity);
            self.steps[at].step.inputs[*input] = Some(found.origin);
        }
        let open = &mut self.steps[at];
        let place = open.step.wanted.len();
        open.step.wanted.push(feature);
        open.places.insert(feature, (place, sensitivity));
        Ok(Found { origin: Origin::Step(at, place), value_type, sensitivity })
    }

    fn step(&mut self, view: &'a OnDemandView, outer: &Renamed, label: &Name) -> Result<usize> {
        let known = self.steps.iter().position(|open| open.step.view.name() == view.name() && open.renamed == *outer);
        if let Some(known) = known {
            return Ok(known);
        }
        if self.steps.len() >= STEPS_MAX {
            return Err(Core::invalid("uses of on-demand views", "more than 4096", "at most 4096").into());
        }
        let inputs = vec![None; view.inputs().len()];
        let step = Step { label: label.clone(), view: view.clone(), wanted: Vec::new(), inputs };
        let height = self.heights.get(view.name()).copied().unwrap_or(0);
        self.steps.push(OpenStep { step, renamed: outer.clone(), height, places: BTreeMap::new() });
        Ok(self.steps.len() - 1)
    }

    /// The source of one input, of the type that the input has.
    fn input(&mut self, view: &OnDemandView, input: &Input, outer: &Renamed) -> Result<Found> {
        let found = match &input.from {
            InputSource::Column(name) => {
                let origin = Origin::Caller(self.column(renamed(outer, name), input.value_type));
                return Ok(Found { origin, value_type: input.value_type, sensitivity: Sensitivity::Public });
            }
            InputSource::Feature(FeatureRef { view: source, feature }) => {
                if let Some(stored) = self.views.get(source).copied() {
                    let keys = stored.entity().keys().iter();
                    let keys = keys.map(|key| renamed(outer, &renamed(&input.keys, &key.name))).collect();
                    self.stored(stored, stored.feature_index(feature.as_str())?, keys)?
                } else if let Some(computed) = self.on_demand.get(source).copied() {
                    let at = computed.feature_index(feature.as_str())?;
                    let mut inner = Renamed::new();
                    for name in self.asked(computed, at)?.iter() {
                        let to = renamed(outer, &renamed(&input.keys, name));
                        if to != *name {
                            inner.insert(name.clone(), to);
                        }
                    }
                    self.computed(computed, at, &inner, computed.name())?
                } else {
                    return Err(unknown(view, input, source).into());
                }
            }
        };
        if found.value_type != input.value_type {
            let column = format!("{}:{}", view.name(), input.name);
            return Err(Core::schema(column, input.value_type, found.value_type).into());
        }
        Ok(found)
    }

    /// A feature of a stored view, in a read that is there or in one of its own.
    fn stored(&mut self, view: &'a FeatureView, feature: usize, keys: Vec<Name>) -> Result<Found> {
        let same = |read: &OpenRead<'_>| read.view.name() == view.name() && read.keys == keys;
        let known = self.reads.iter().position(same);
        let at = if let Some(known) = known {
            known
        } else {
            let label = self.free_label(view.name())?;
            self.reads.push(OpenRead { view, label, keys, features: Vec::new(), places: BTreeMap::new() });
            self.reads.len() - 1
        };
        let place = self.reads[at].place(feature);
        let Some(told) = view.features().get(feature) else {
            return Err(Core::not_found("feature", format!("{}:{feature}", view.name())).into());
        };
        let (value_type, sensitivity) = (told.value_type, told.sensitivity);
        Ok(Found { origin: Origin::Read(at, place), value_type, sensitivity })
    }

    /// The name of `view`, or that name with the first number that no read has.
    fn free_label(&self, view: &Name) -> Result<Name> {
        let taken = |name: &Name| self.reads.iter().any(|read| read.label == *name);
        let mut label = view.clone();
        let mut number = 2;
        while taken(&label) {
            label = Name::new(format!("{view}.{number}"))?;
            number += 1;
        }
        Ok(label)
    }

    fn column(&mut self, name: Name, value_type: ValueType) -> usize {
        let places = self.column_places.entry(name.clone()).or_default();
        let known = places.iter().copied().find(|at| self.columns[*at].value_type == value_type);
        known.unwrap_or_else(|| {
            self.columns.push(CallerColumn { name, value_type });
            places.push(self.columns.len() - 1);
            self.columns.len() - 1
        })
    }

    /// Puts steps behind those that they read, and says so to all who refer to them.
    fn finish_order(&mut self, outputs: &mut [Output]) {
        let mut order: Vec<usize> = (0..self.steps.len()).collect();
        order.sort_by_key(|at| self.steps[*at].height);
        let mut places = vec![0; order.len()];
        for (place, at) in order.iter().enumerate() {
            places[*at] = place;
        }
        let moved = |origin: &mut Origin| {
            if let Origin::Step(at, _) = origin {
                *at = places[*at];
            }
        };
        for open in &mut self.steps {
            open.step.inputs.iter_mut().flatten().for_each(moved);
        }
        outputs.iter_mut().for_each(|output| moved(&mut output.origin));
        self.steps.sort_by_key(|open| open.height);
    }

    pub(super) fn finish(self) -> (Vec<ViewJoin>, Vec<Step>, Vec<CallerColumn>) {
        let reads =
            self.reads.into_iter().map(|read| ViewJoin::selecting(read.view, read.label, read.features, read.keys));
        (reads.collect(), self.steps.into_iter().map(|open| open.step).collect(), self.columns)
    }
}

impl<'a> OpenRead<'a> {
    fn new(view: &'a FeatureView, join: &ViewJoin) -> Self {
        let features = join.feature_indices().to_vec();
        let places = features.iter().enumerate().map(|(place, feature)| (*feature, place)).collect();
        Self { view, label: join.label().clone(), keys: join.key_columns().to_vec(), features, places }
    }

    fn place(&mut self, feature: usize) -> usize {
        let next = self.features.len();
        let place = *self.places.entry(feature).or_insert(next);
        if place == next {
            self.features.push(feature);
        }
        place
    }
}

fn renamed(names: &Renamed, name: &Name) -> Name {
    names.get(name).unwrap_or(name).clone()
}

fn unknown(view: &OnDemandView, input: &Input, source: &Name) -> Core {
    Core::not_found("view", format!("{source}` of input `{}:{}", view.name(), input.name))
}

/// How many on-demand views each one is above those that read none.
///
/// # Errors
/// `Core(Invalid)` for a circle, naming the views on it, and for a chain of more than 64.
fn heights<'a>(views: &BTreeMap<&'a Name, &'a OnDemandView>) -> Result<BTreeMap<&'a Name, usize>> {
    let mut heights: BTreeMap<&Name, usize> = BTreeMap::new();
    for root in views.keys() {
        // Views on the way down, each with what it still has to look at. No recursion: definitions come from files.
        let mut path = vec![(*root, sources(views, root))];
        while let Some((name, open)) = path.last_mut() {
            let name = *name;
            if heights.contains_key(name) {
                path.pop();
                continue;
            }
            match open.pop() {
                Some(next) if heights.contains_key(next) => {}
                Some(next) => {
                    if let Some(start) = path.iter().position(|(on_path, _)| *on_path == next) {
                        let circle = path[start..].iter().map(|(name, _)| name.as_str()).chain([next.as_str()]);
                        let circle: Vec<&str> = circle.take(12).collect();
                        let domain = "free of circles; a view must not lead back to itself";
                        return Err(Core::invalid("chain of on-demand views", circle.join(" → "), domain).into());
                    }
                    path.push((next, sources(views, next)));
                }
                None => {
                    let below = sources(views, name).into_iter().filter_map(|source| heights.get(source)).max();
                    let height = below.map_or(0, |below| below + 1);
                    if height >= CHAIN_MAX {
                        let chain = format!("{} links up to `{name}`", height + 1);
                        return Err(Core::invalid("chain of on-demand views", chain, "at most 64 long").into());
                    }
                    heights.insert(name, height);
                    path.pop();
                }
            }
        }
    }
    Ok(heights)
}

/// The on-demand views that `name` reads.
fn sources<'a>(views: &BTreeMap<&'a Name, &'a OnDemandView>, name: &Name) -> Vec<&'a Name> {
    let Some(view) = views.get(name) else { return Vec::new() };
    let mut sources: Vec<&Name> = view
        .inputs()
        .iter()
        .filter_map(|input| match &input.from {
            InputSource::Feature(reference) => views.get_key_value(&reference.view).map(|(name, _)| *name),
            InputSource::Column(_) => None,
        })
        .collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

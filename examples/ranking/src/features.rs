//! The features of the ranker: views, their history, the online store, and training tables that see no further than a request
//! would have.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use mlops_core::arrow::compute::{cast, concat_batches};
use mlops_core::arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimestampMicrosecondType};
use mlops_core::schema::Role;
use mlops_core::{Dataset, Error, EventTime, Schema};
use mlops_features::offline::{AsOfOptions, JoinReport, OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineStore};
use mlops_features::{
    FeatureServer, FeatureService, FeatureView, MaterializeOptions, MaterializeReport, ServingPlan, ViewUse,
    materialize,
};

use crate::Result;
use crate::derive::{Derived, numbers};
use crate::history::{self, Catalogue, History, Seen};
use crate::intake::Intake;
use crate::watch;
use crate::world::{Ask, World};

/// Columns of the rows that features are joined to: who was shown what, when and where, and how well it suited.
pub const SPINE: [&str; 8] =
    ["request_id", "customer_id", "offer_id", "category", "maker", "position", "event_time", LABEL];

/// What is learnt: how well an offer suited, 1 for a click and 0 for none. A world of ratings has grades of its own.
pub const LABEL: &str = "relevance";

/// The request that rows belong to.
pub const GROUP: &str = "request_id";

/// The place on the page as a feature: known in training, 0 for whoever asks, so that all candidates are judged as if they
/// stood first.
pub const SHOWN_AT: &str = "shown_at";

const SHOWN_FIRST: Derived = Derived { name: SHOWN_AT, inputs: &[], compute: |_| 0.0 };

/// Everything that is known of customers and offers over time.
#[derive(Debug)]
pub struct Features {
    views: Vec<FeatureView>,
    facts: usize,
    service: FeatureService,
    plan: ServingPlan,
    derived: Vec<Derived>,
    offline: Arc<ParquetStore>,
    online: Arc<MemoryStore>,
    history: History,
    /// Rows that the online store has and the disk has not.
    streamed: Vec<[RecordBatch; 4]>,
}

impl Features {
    /// The features of `world`, with their history in the folder `dir`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(world: &dyn World, catalogue: Catalogue, dir: &Path) -> Result<Self> {
        let mut views = world.views()?;
        let facts = views.len();
        views.extend(history::views()?);
        let mut uses = views.iter().map(|view| ViewUse::all(view.name().as_str()));
        let service =
            uses.try_fold(FeatureService::builder("ranker"), |service, used| used.map(|used| service.using(used)));
        let service = service?.description("what the click ranker is fed with").build()?;
        let plan = ServingPlan::compile(&service, &views)?;
        let derived = world.derived();
        let history = History::new(world.history(), catalogue);
        let offline = Arc::new(ParquetStore::open(dir)?);
        Ok(Self {
            views,
            facts,
            service,
            plan,
            derived,
            offline,
            online: Arc::new(MemoryStore::new()),
            history,
            streamed: Vec::new(),
        })
    }

    /// What features are kept of.
    pub fn views(&self) -> &[FeatureView] {
        &self.views
    }

    /// Digest of all definitions behind a training table.
    ///
    /// # Errors
    /// None in practice: the views are those of the service.
    pub fn fingerprint(&self) -> Result<String> {
        let names: Vec<&str> = self.at_request().iter().map(|derived| derived.name).collect();
        Ok(format!("{} {names:?}", self.service.fingerprint(&self.views)?))
    }

    /// Features computed at the time of a request: from others, and the place on the page.
    pub fn at_request(&self) -> Vec<Derived> {
        [&self.derived[..], &[SHOWN_FIRST]].concat()
    }

    /// Rates as they stand.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// A server of the online store.
    pub fn server(&self) -> FeatureServer {
        FeatureServer::new(self.plan.clone(), self.online.clone() as Arc<dyn OnlineStore>)
    }

    /// Names of the model's inputs, in order.
    pub fn inputs(&self) -> Vec<String> {
        let stored = self.plan.schema().fields().iter().map(|field| field.name().clone());
        stored.chain(self.at_request().iter().map(|derived| derived.name.to_owned())).collect()
    }

    /// Columns that a log of what was served keeps: the features but the place on the page, which the log has anyway.
    pub fn logged(&self) -> Vec<Field> {
        let stored = self.plan.schema().fields().iter().map(|field| field.as_ref().clone());
        stored.chain(self.derived.iter().map(Derived::field)).collect()
    }

    /// Takes note of what was seen.
    pub fn learn(&mut self, seen: impl IntoIterator<Item = Seen>) {
        self.history.learn(seen);
    }

    /// Feeds the days of history: every look at `impressions`, or in a world that tells at once every request.
    ///
    /// # Errors
    /// Whatever is wrong with the data or the disk.
    pub fn remember(&mut self, world: &dyn World, intake: &Intake, impressions: &Dataset) -> Result<()> {
        let plan = world.plan();
        if plan.by_request {
            self.backfill(world, intake, [plan.history.start])?;
            for day in plan.history.clone() {
                for ask in world.asks(day)? {
                    self.learn(watch::looks(&ask, &world.react(&ask, &[])?));
                    self.stream(known(&ask))?;
                }
            }
            return self.settle();
        }
        for batch in impressions.batches()? {
            self.learn(looks_of(world, &batch?)?);
        }
        self.backfill(world, intake, plan.history.start..=plan.history.end)
    }

    /// Adds what became known until the first instant of each of `days`, one append per view.
    ///
    /// # Errors
    /// Whatever is wrong with the data or the disk.
    pub fn backfill(&mut self, world: &dyn World, intake: &Intake, days: impl IntoIterator<Item = u32>) -> Result<()> {
        let mut rows: Vec<Vec<RecordBatch>> = vec![Vec::new(); self.views.len()];
        for day in days {
            for (rows, facts) in rows.iter_mut().zip(world.facts(day, intake)?) {
                rows.extend(facts);
            }
            for (rows, flushed) in rows[self.facts..].iter_mut().zip(self.history.flush(world.day_start(day))?) {
                rows.push(flushed);
            }
        }
        self.append(rows)
    }

    /// Brings what history became known of until `at` straight to the online store; [`settle`](Self::settle) adds it to the
    /// history on disk. Between the two a crash costs what the log of requests can tell again.
    ///
    /// # Errors
    /// None in practice: the rows are those of the views.
    pub fn stream(&mut self, at: EventTime) -> Result<()> {
        let flushed = self.history.flush(at)?;
        for (view, rows) in self.views[self.facts..].iter().zip(&flushed) {
            if rows.num_rows() > 0 {
                self.online.write_sync(view, rows, None)?;
            }
        }
        self.streamed.push(flushed);
        Ok(())
    }

    /// Adds what was streamed to the history on disk, one append per view.
    ///
    /// # Errors
    /// Whatever is wrong with the disk.
    pub fn settle(&mut self) -> Result<()> {
        let mut rows: Vec<Vec<RecordBatch>> = vec![Vec::new(); self.views.len()];
        for flushed in std::mem::take(&mut self.streamed) {
            for (rows, batch) in rows[self.facts..].iter_mut().zip(flushed) {
                rows.push(batch);
            }
        }
        self.append(rows)
    }

    fn append(&self, rows: Vec<Vec<RecordBatch>>) -> Result<()> {
        for (view, batches) in self.views.iter().zip(rows) {
            let batches: Vec<RecordBatch> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
            if let Some(first) = batches.first() {
                let rows = concat_batches(&first.schema(), &batches)?;
                self.offline.append(view, &Dataset::from_batches([rows])?)?;
            }
        }
        Ok(())
    }

    /// Brings everything new to the online store.
    ///
    /// # Errors
    /// Whatever is wrong with the disk.
    pub fn publish(&self) -> Result<Vec<MaterializeReport>> {
        let options = MaterializeOptions::default();
        let bring = |view| Ok(materialize(&*self.offline, &*self.online, view, &options, &mut |_| true)?);
        self.views.iter().map(bring).collect()
    }

    /// The rows of `spine` with the features that were known at the instant of each.
    ///
    /// # Errors
    /// When the spine lacks a column of [`SPINE`], or history cannot be read.
    pub fn join(&self, spine: &Dataset) -> Result<(Dataset, Vec<JoinReport>)> {
        let joins = self.service.joins(&self.views)?;
        let options = AsOfOptions::new().event_time("event_time").as_known(true);
        let joined = self.offline.as_of(spine, &joins, &options)?;
        let rows = map(&joined.dataset, |batch| {
            self.derived.iter().map(|derived| Ok((derived.field(), derived.column(batch)?))).collect()
        })?;
        Ok((rows, joined.reports))
    }

    /// Rows of [`join`](Self::join) or of the log as the trainer takes them: request, time, inputs, and `label`, a column of numbers,
    /// under the name [`LABEL`].
    ///
    /// # Errors
    /// When a column is missing.
    pub fn examples(&self, rows: &Dataset, label: &str) -> Result<Dataset> {
        let placed = map(rows, |batch| {
            let label = Arc::new(numbers(batch, label)?) as ArrayRef;
            let place = Arc::new(numbers(batch, "position")?) as ArrayRef;
            let float = |name: &str| Field::new(name, DataType::Float64, true);
            Ok(vec![(float(SHOWN_AT), place), (float("label"), label)])
        })?;
        let mut columns = vec![GROUP.to_owned(), "event_time".to_owned(), "position".to_owned()];
        columns.extend(self.inputs());
        columns.push("label".to_owned());
        let kept = placed.schema().project(&columns)?;
        let indices = columns.iter().map(|name| placed.schema().index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let batches = placed.batches()?.map(|batch| {
            let batch = batch?.project(&indices)?;
            let position = batch.schema().index_of("position")?;
            let mut arrays = batch.columns().to_vec();
            arrays[position] = cast(&arrays[position], &DataType::Int64)?;
            Ok::<_, Error>(arrays)
        });
        let fields = kept.arrow().fields().iter().map(|field| {
            let metadata = field.metadata().clone();
            match field.name().as_str() {
                "label" => Field::new(LABEL, DataType::Float64, true),
                "position" => Field::new("position", DataType::Int64, true),
                GROUP => Field::new(GROUP, DataType::Utf8, true),
                // Whether nulls may occur is a property of the table that a row comes from, not of the model's input.
                name => Field::new(name, field.data_type().clone(), true).with_metadata(metadata),
            }
        });
        let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
        let batches = batches.map(|arrays| Ok(RecordBatch::try_new(schema.clone(), arrays?)?));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        Ok(Dataset::held(Schema::new(schema.clone())?.with_role(LABEL, Role::Label)?, batches)?)
    }

    /// How many values that were served differ from those that the as-of join gives for the same rows, bit for bit.
    ///
    /// * `served`: rows of the log, with the columns of [`SPINE`] but the label.
    ///
    /// # Errors
    /// When a column is missing, or history cannot be read.
    pub fn skew(&self, served: &Dataset) -> Result<u64> {
        let stored: Vec<String> = self.plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let spine_columns: Vec<&str> = served.schema().names().filter(|name| SPINE.contains(name)).collect();
        let spine = Dataset::collect(served.scan(&mlops_core::source::ScanRequest::all().columns(spine_columns))?)?;
        let (joined, _) = self.join(&spine)?;
        let (joined, served) = (joined.to_batch()?, served.to_batch()?);
        let derived = self.derived.iter().map(|derived| derived.name.to_owned());
        let mut differing = 0;
        for name in stored.into_iter().chain(derived) {
            let (offline, online) = (numbers(&joined, &name)?, numbers(&served, &name)?);
            let bits = |column: &Float64Array, row: usize| column.is_valid(row).then(|| column.value(row).to_bits());
            differing += (0..offline.len()).filter(|row| bits(&offline, *row) != bits(&online, *row)).count() as u64;
        }
        Ok(differing)
    }
}

/// `data` with more columns, held in memory.
fn map(data: &Dataset, more: impl Fn(&RecordBatch) -> mlops_core::Result<Vec<(Field, ArrayRef)>>) -> Result<Dataset> {
    let mut schema = None;
    let mut batches = Vec::new();
    for batch in data.batches()? {
        let batch = batch?;
        let more = more(&batch)?;
        let schema = schema.get_or_insert_with(|| {
            let old = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
            Arc::new(ArrowSchema::new(
                old.into_iter().chain(more.iter().map(|(field, _)| field.clone())).collect::<Vec<_>>(),
            ))
        });
        let columns = batch.columns().iter().cloned().chain(more.into_iter().map(|(_, array)| array)).collect();
        batches.push(RecordBatch::try_new(schema.clone(), columns)?);
    }
    Ok(Dataset::from_batches(batches)?)
}

/// The text of a column that holds texts, by row.
///
/// # Errors
/// [`Error::NotFound`] when it is missing, [`Error::Schema`] when it holds no texts.
pub fn texts(batch: &RecordBatch, name: &str) -> mlops_core::Result<Vec<String>> {
    let column = batch.column_by_name(name).ok_or_else(|| Error::not_found("column", name))?;
    let column = cast(column, &DataType::Utf8).map_err(|_| Error::schema(name, "texts", column.data_type()))?;
    Ok(column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

/// The first instant at which what came of a request is known, in a world that tells at once.
pub fn known(ask: &Ask) -> EventTime {
    ask.at.plus(Duration::from_micros(1))
}

/// Impressions as looks.
fn looks_of(world: &dyn World, batch: &RecordBatch) -> Result<Vec<Seen>> {
    let column = |name: &str| numbers(batch, name);
    let (customers, offers) = (column("customer_id")?, column("offer_id")?);
    let (places, suited) = (column("position")?, column(LABEL)?);
    let times = batch.column_by_name("event_time").ok_or("impressions without event_time")?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let seen = |row: usize| Seen {
        at: EventTime::from_micros(times.value(row)),
        customer_id: customers.value(row) as i64,
        offer_id: offers.value(row) as i64,
        looks: world.looks(places.value(row) as u32),
        value: suited.value(row),
    };
    Ok((0..batch.num_rows()).map(seen).collect())
}

//! Stages of ranking written as closures, for tests.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mlops_core::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use mlops_core::arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use mlops_core::model::{Input, Model, Signature, ValueType};
use mlops_core::rank::{
    Budget, CandidateSource, Filter, FixedCandidates, Hydrator, Observer, Query, RequestId, Scored, Scorer, Selector,
    Served, Slate,
};
use mlops_core::{Error, EventTime, Name, Result, Schema};

pub(crate) fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

pub(crate) fn query(limit: usize) -> Query {
    let user: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let context = RecordBatch::try_from_iter([("user", user)]).unwrap();
    Query::new(RequestId(1), EventTime::EPOCH, context, limit).unwrap()
}

/// `id`, and a price that is the id tenfold.
pub(crate) fn table(ids: &[i64]) -> RecordBatch {
    let price: ArrayRef = Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| *id as f64 * 10.0)));
    let kind: ArrayRef = Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("k{}", id % 3))));
    let id: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_from_iter([("id", id), ("price", price), ("kind", kind)]).unwrap()
}

pub(crate) fn slate(rows: i64) -> Slate {
    Slate::new(table(&(0..rows).collect::<Vec<_>>())).unwrap()
}

pub(crate) fn fixed(stage: &str, ids: &[i64]) -> Arc<FixedCandidates> {
    Arc::new(FixedCandidates::new(stage, table(ids)).unwrap())
}

pub(crate) fn ids(served: &Served) -> Vec<i64> {
    served.slate.keys().as_primitive::<Int64Type>().values().to_vec()
}

pub(crate) fn names(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}

type Body<T> = Box<dyn Fn(&Slate, Budget) -> Result<T> + Send + Sync>;

/// A stage that answers with what `body` makes of the slate.
pub(crate) struct Stage<T> {
    pub name: Name,
    pub fields: Vec<Field>,
    pub needs: Vec<String>,
    pub body: Body<T>,
}

impl<T> Stage<T> {
    pub(crate) fn new(stage: &str, body: impl Fn(&Slate, Budget) -> Result<T> + Send + Sync + 'static) -> Self {
        Self { name: name(stage), fields: Vec::new(), needs: Vec::new(), body: Box::new(body) }
    }

    pub(crate) fn field(mut self, column: &str, data_type: DataType) -> Self {
        self.fields.push(Field::new(column, data_type, false));
        self
    }

    pub(crate) fn needs(mut self, column: &str) -> Self {
        self.needs.push(column.to_owned());
        self
    }

    fn check(&self, columns: &Schema) -> Result<()> {
        self.needs.iter().try_for_each(|column| columns.field(column).map(|_| ()))
    }
}

impl<T> fmt::Debug for Stage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

#[async_trait]
impl CandidateSource for Stage<RecordBatch> {
    fn name(&self) -> &Name {
        &self.name
    }
    fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }
    async fn retrieve(&self, _query: &Query, _limit: usize, budget: Budget) -> Result<RecordBatch> {
        (self.body)(&slate(0), budget)
    }
}

#[async_trait]
impl Hydrator for Stage<Vec<ArrayRef>> {
    fn name(&self) -> &Name {
        &self.name
    }
    fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }
    async fn hydrate(&self, _query: &Query, slate: &Slate, budget: Budget) -> Result<Vec<ArrayRef>> {
        (self.body)(slate, budget)
    }
}

#[async_trait]
impl Filter for Stage<BooleanArray> {
    fn name(&self) -> &Name {
        &self.name
    }
    fn check(&self, columns: &Schema) -> Result<()> {
        self.check(columns)
    }
    async fn keep(&self, _query: &Query, slate: &Slate, budget: Budget) -> Result<BooleanArray> {
        (self.body)(slate, budget)
    }
}

#[async_trait]
impl Scorer for Stage<Vec<f64>> {
    fn name(&self) -> &Name {
        &self.name
    }
    fn check(&self, columns: &Schema) -> Result<()> {
        self.check(columns)
    }
    async fn score(&self, _query: &Query, slate: &Slate, budget: Budget) -> Result<Scored> {
        Ok(Scored { scores: (self.body)(slate, budget)?, version: format!("{}/1", self.name).into() })
    }
}

impl Selector for Stage<Vec<usize>> {
    fn name(&self) -> &Name {
        &self.name
    }
    fn select(&self, _query: &Query, slate: &Slate, _scores: &[f64], _limit: usize) -> Result<Vec<usize>> {
        (self.body)(slate, Budget { left: None })
    }
}

/// Scores by the column `price`.
pub(crate) fn by_price(stage: &str) -> Stage<Vec<f64>> {
    Stage::new(stage, |slate: &Slate, _| Ok(slate.column("price")?.as_primitive::<Float64Type>().values().to_vec()))
        .needs("price")
}

/// Makes `stock`, a column of ones.
pub(crate) fn stock(stage: &str) -> Stage<Vec<ArrayRef>> {
    Stage::new(stage, |slate: &Slate, _| Ok(vec![Arc::new(Int64Array::from(vec![1; slate.len()])) as ArrayRef]))
        .field("stock", DataType::Int64)
}

/// Keeps everything.
pub(crate) fn keep_all(stage: &str) -> Stage<BooleanArray> {
    Stage::new(stage, |slate: &Slate, _| Ok(BooleanArray::from(vec![true; slate.len()])))
}

/// An observer that remembers.
#[derive(Debug)]
pub(crate) struct Seen(pub Name, pub Mutex<Vec<Arc<Served>>>);

impl Seen {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(name("seen"), Mutex::default()))
    }
}

impl Observer for Seen {
    fn name(&self) -> &Name {
        &self.0
    }
    fn observe(&self, served: &Arc<Served>) {
        let mut seen = self.1.lock().unwrap();
        if seen.len() < 100 {
            seen.push(served.clone());
        }
    }
}

/// `2 · price + stock`, null where a part is.
#[derive(Debug)]
pub(crate) struct Linear(Signature);

impl Linear {
    pub(crate) fn new(output_type: ValueType) -> Self {
        let input = |name: &str| Input { name: name.to_owned(), value_type: ValueType::Float, nullable: true };
        Self(Signature { inputs: vec![input("price"), input("stock")], output: "score".to_owned(), output_type })
    }
}

impl Model for Linear {
    fn signature(&self) -> &Signature {
        &self.0
    }
    fn flavor(&self) -> &'static str {
        "linear"
    }
    fn predict(&self, features: &RecordBatch) -> Result<ArrayRef> {
        let columns = self.0.select(features)?;
        let part = |i: usize| match columns[i].data_type() {
            DataType::Float64 => Ok(columns[i].as_primitive::<Float64Type>()),
            other => Err(Error::schema(&self.0.inputs[i].name, "float64", other)),
        };
        let both = part(0)?.iter().zip(part(1)?.iter());
        Ok(Arc::new(both.map(|(price, stock)| Some(2.0 * price? + stock?)).collect::<Float64Array>()))
    }
    fn explain(&self, _features: &RecordBatch) -> Result<Option<RecordBatch>> {
        Ok(None)
    }
    fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

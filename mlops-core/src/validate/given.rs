//! What a run has beside its rules: the time, other data sets, and what rules ask of a batch in common.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use foldhash::fast::FixedState;

use super::kernel::Column;
use crate::expr::{Common, Memo, characters};
use crate::rowkey::{KeyHasher, keyless};
use crate::source::ScanRequest;
use crate::time::EventTime;
use crate::{Dataset, Error, Result, Schema};

/// Most different keys of one data set that rows are looked up in.
const REFERENCE_KEYS_MAX: usize = 50_000_000;

/// What the host gives to every run of a suite.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    now: Option<EventTime>,
    may_wait: bool,
    common: Arc<Common>,
    references: BTreeMap<Place, Arc<Known>>,
}

/// A data set by name, and those of its columns that are looked at.
type Place = (String, Vec<String>);

impl Given {
    pub(super) fn at(mut self, now: EventTime) -> Self {
        self.now = Some(now);
        self
    }

    /// For a run that marks of rows may be told to after the last batch.
    pub(super) fn waiting(mut self) -> Self {
        self.may_wait = true;
        self
    }

    /// With what the expressions of all rules have in common.
    pub(super) fn sharing(mut self, common: Arc<Common>) -> Self {
        self.common = common;
        self
    }

    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    pub(super) fn may_wait(&self) -> bool {
        self.may_wait
    }

    pub(super) fn now(&self) -> Result<EventTime> {
        self.now
            .ok_or_else(|| Error::invalid("now", "nothing", "a time, which `Suite::at` gives to rules that ask for it"))
    }

    /// Reads the keys that `columns` of `data` hold, once for all rules and runs.
    pub(super) fn refer(&mut self, name: &str, columns: &[String], data: &Dataset) -> Result<()> {
        if let Entry::Vacant(place) = self.references.entry((name.to_owned(), columns.to_vec())) {
            place.insert(Arc::new(Known::read(columns, data)?));
        }
        Ok(())
    }

    pub(super) fn known(&self, name: &str, columns: &[String]) -> Result<Arc<Known>> {
        let known = self.references.get(&(name.to_owned(), columns.to_vec()));
        known.cloned().ok_or_else(|| Error::not_found("data set given by `Suite::refer`", name))
    }
}

/// Keys of another data set.
#[derive(Debug)]
pub(super) struct Known {
    hasher: KeyHasher,
    keys: HashSet<u128, FixedState>,
    types: Vec<DataType>,
}

impl Known {
    fn read(columns: &[String], data: &Dataset) -> Result<Self> {
        let found = columns.iter().map(|name| Ok(folded(data.schema().field(name)?.data_type()).clone()));
        let types: Vec<DataType> = found.collect::<Result<_>>()?;
        let mut known = Self { hasher: KeyHasher::new(), keys: HashSet::default(), types };
        for batch in data.scan(&ScanRequest::all().columns(columns))? {
            let batch = batch?;
            let arrays =
                columns.iter().map(|name| batch.column_by_name(name).ok_or_else(|| Error::not_found("column", name)));
            let arrays = arrays.collect::<Result<Vec<_>>>()?;
            let nulls = keyless(&arrays);
            for (row, key) in known.hashes(&arrays)?.into_iter().enumerate() {
                if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                    known.keys.insert(key);
                }
            }
            if known.keys.len() > REFERENCE_KEYS_MAX {
                return Err(Error::invalid("reference", "more than 50000000 keys", "at most 50000000 different keys"));
            }
        }
        Ok(known)
    }

    /// Checks that a column can hold keys of the other data set.
    pub(super) fn check(&self, position: usize, column: &Column) -> Result<()> {
        let fits = self.types.get(position).is_some_and(|wanted| folded(column.value_type()) == *wanted);
        if fits { Ok(()) } else { Err(column.unfit("the type that it has in the other data set")) }
    }

    pub(super) fn hashes(&self, arrays: &[&ArrayRef]) -> Result<Vec<u128>> {
        let hash = |array: &&ArrayRef| {
            let to = folded(array.data_type());
            let one = if to.is_integer() { self.hasher.column(&cast(array, &to)?) } else { self.hasher.column(array) };
            one.map(Arc::new)
        };
        Ok(self.hasher.join(&arrays.iter().map(hash).collect::<Result<Vec<_>>>()?))
    }

    pub(super) fn holds(&self, key: u128) -> bool {
        self.keys.contains(&key)
    }
}

/// One type for all that hold the same values.
fn folded(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => folded(values),
        DataType::UInt64 => DataType::UInt64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other if other.is_integer() => DataType::Int64,
        other if other.is_floating() => DataType::Float64,
        other => other.clone(),
    }
}

/// One value per row, by column.
type Remembered<T> = RefCell<Vec<(String, Arc<Vec<T>>)>>;

/// A batch, and what several rules ask of it, worked out once.
pub(super) struct Shared<'a> {
    batch: &'a RecordBatch,
    hasher: &'a KeyHasher,
    numbers: Numbers,
    memo: Memo,
    keys: Remembered<u128>,
    lengths: Remembered<u32>,
}

/// Places of a batch's rows in the table.
#[derive(Clone)]
enum Numbers {
    From(u64),
    /// Of the rows of a larger batch, those that are marked.
    Chosen(Box<Self>, BooleanBuffer),
}

impl Numbers {
    fn of(&self, rows: usize) -> Vec<u64> {
        match self {
            Self::From(first) => (*first..first + rows as u64).collect(),
            Self::Chosen(all, chosen) => {
                let all = all.of(chosen.len());
                chosen.set_indices().map(|row| all[row]).collect()
            }
        }
    }
}

impl Deref for Shared<'_> {
    type Target = RecordBatch;

    fn deref(&self) -> &RecordBatch {
        self.batch
    }
}

impl<'a> Shared<'a> {
    /// `hasher` is the same for all batches of a run; `first_row` is the place of the first row in the table.
    pub(super) fn new(batch: &'a RecordBatch, hasher: &'a KeyHasher, first_row: u64) -> Self {
        let (numbers, memo) = (Numbers::From(first_row), Memo::default());
        Self { batch, hasher, numbers, memo, keys: RefCell::default(), lengths: RefCell::default() }
    }

    /// With room for what expressions have in common.
    pub(super) fn remembering(self, memo: Memo) -> Self {
        Self { memo, ..self }
    }

    /// The `chosen` rows of this batch, which share nothing with it but the keys' hash.
    pub(super) fn part<'b>(&'b self, batch: &'b RecordBatch, chosen: &BooleanBuffer) -> Shared<'b> {
        let numbers = Numbers::Chosen(Box::new(self.numbers.clone()), chosen.clone());
        Shared { numbers, memo: self.memo.afresh(), ..Shared::new(batch, self.hasher, 0) }
    }

    /// What expressions have worked out for this batch.
    pub(super) fn memo(&self) -> &Memo {
        &self.memo
    }

    /// Places of the rows in the table.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.numbers.of(self.batch.num_rows())
    }

    pub(super) fn hasher(&self) -> &KeyHasher {
        self.hasher
    }

    /// Hashes of the values of a column of this batch.
    pub(super) fn keys(&self, column: &Column) -> Result<Arc<Vec<u128>>> {
        remembered(&self.keys, column, || self.hasher.column(column.of(self.batch)?))
    }

    /// Characters of each text of a column of this batch; 0 for null.
    pub(super) fn lengths(&self, column: &Column) -> Result<Arc<Vec<u32>>> {
        remembered(&self.lengths, column, || lengths(column.of(self.batch)?))
    }
}

fn remembered<T>(all: &Remembered<T>, column: &Column, make: impl FnOnce() -> Result<Vec<T>>) -> Result<Arc<Vec<T>>> {
    if let Some((_, known)) = all.borrow().iter().find(|(name, _)| name == column.name()) {
        return Ok(known.clone());
    }
    let made = Arc::new(make()?);
    all.borrow_mut().push((column.name().to_owned(), made.clone()));
    Ok(made)
}

fn lengths(array: &ArrayRef) -> Result<Vec<u32>> {
    Ok(match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            if texts.is_ascii() {
                // One byte is one character.
                texts.offsets().windows(2).map(|ends| (ends[1] - ends[0]).cast_unsigned()).collect()
            } else {
                (0..texts.len()).map(|row| characters(texts.value(row)) as u32).collect()
            }
        }
        DataType::LargeUtf8 => {
            let texts = array.as_string::<i64>();
            (0..texts.len()).map(|row| characters(texts.value(row)) as u32).collect()
        }
        DataType::Utf8View => {
            let texts = array.as_string_view();
            (0..texts.len()).map(|row| characters(texts.value(row)) as u32).collect()
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                return Ok(vec![0; array.len()]);
            }
            let of_values = lengths(dictionary.values())?;
            dictionary.normalized_keys().into_iter().map(|key| of_values.get(key).copied().unwrap_or(0)).collect()
        }
        other => return Err(Error::schema("*", "text", other)),
    })
}

/// Names of columns that exist, each found once.
pub(super) fn find_all(schema: &Schema, names: &[String]) -> Result<Vec<Column>> {
    names.iter().map(|name| Column::find(schema, name)).collect()
}

//! What is remembered of each group on the way.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::TimestampMicrosecondType;
use foldhash::fast::FixedState;

use super::super::super::rows::Named;
use super::super::{Nan, missing};
use super::cells::Cells;
use super::{FittedFillForward, Group};
use crate::rowkey::StableKeys;
use crate::source::Scalar;
use crate::time::EventTime;
use crate::{Error, Result, Schema};

pub(super) type Groups = HashMap<u128, Group, FixedState>;

/// Goes through rows and remembers the last values of each group.
pub(super) struct Walk {
    pub(super) columns: Vec<(usize, String)>,
    time: (usize, String),
    reader: StableKeys,
    groups_max: u64,
    pub(super) groups: Groups,
}

/// A gap of one column: its row, and the value that fills it.
pub(super) type Fillings = Vec<(usize, Scalar)>;

impl Walk {
    pub(super) fn begin(fitted: &FittedFillForward, input: &Schema) -> Result<Self> {
        let find = |named: &Named| named.find(input).map(|position| (position, named.name.clone()));
        let by = fitted.by.iter().map(|named| named.find(input)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            columns: fitted.columns.iter().map(find).collect::<Result<_>>()?,
            time: find(&fitted.time)?,
            reader: StableKeys::new(input, by)?,
            groups_max: fitted.groups_max,
            groups: HashMap::default(),
        })
    }

    /// Group and time of each row.
    fn places(&self, batch: &RecordBatch) -> Result<(Vec<Option<u128>>, TimestampMicrosecondArray)> {
        let times = cast(batch.column(self.time.0), &EventTime::data_type())?;
        let lacking = times.logical_null_count();
        if lacking > 0 {
            return Err(Error::schema(&self.time.1, "a time in every row", format!("{lacking} rows without")));
        }
        Ok((self.reader.digests(batch)?, times.as_primitive::<TimestampMicrosecondType>().clone()))
    }

    /// The group of a row at `time`, which must not be older than those before.
    fn visit(&mut self, digest: u128, time: i64) -> Result<&mut Group> {
        if self.groups.len() as u64 >= self.groups_max && !self.groups.contains_key(&digest) {
            return Err(Error::invalid("groups_max", self.groups_max, "as many as there are different groups"));
        }
        let fresh = || Group { at: time, last: vec![None; self.columns.len()] };
        let group = self.groups.entry(digest).or_insert_with(fresh);
        if time < group.at {
            return Err(Error::schema(
                &self.time.1,
                "rows of a group in order of time: sort them",
                "an older row later",
            ));
        }
        group.at = time;
        Ok(group)
    }

    pub(super) fn learn(&mut self, batch: &RecordBatch) -> Result<()> {
        let (digests, times) = self.places(batch)?;
        let readers = self.readers(batch)?;
        for (row, digest) in digests.into_iter().enumerate() {
            let time = times.value(row);
            let Some(digest) = digest else { continue };
            let group = self.visit(digest, time)?;
            for (last, reader) in group.last.iter_mut().zip(&readers) {
                if let Some(value) = reader.value(row)? {
                    *last = Some((time, value));
                }
            }
        }
        Ok(())
    }

    fn readers(&self, batch: &RecordBatch) -> Result<Vec<Cells>> {
        self.columns.iter().map(|(position, name)| Cells::of(name, batch.column(*position))).collect()
    }

    /// What fills the gaps of `batch`, column by column; remembers its values.
    pub(super) fn fill(&mut self, batch: &RecordBatch, known: &Groups) -> Result<(Vec<Fillings>, Vec<BooleanBuffer>)> {
        let (digests, times) = self.places(batch)?;
        let readers = self.readers(batch)?;
        let mut fillings = vec![Vec::new(); readers.len()];
        for (row, digest) in digests.into_iter().enumerate() {
            let time = times.value(row);
            let Some(digest) = digest else { continue };
            let group = self.visit(digest, time)?;
            for (place, reader) in readers.iter().enumerate() {
                if let Some(value) = reader.value(row)? {
                    group.last[place] = Some((time, value));
                } else if let Some((_, value)) =
                    group.last[place].as_ref().or_else(|| before(known, digest, place, time))
                {
                    fillings[place].push((row, value.clone()));
                }
            }
        }
        Ok((fillings, readers.into_iter().map(|reader| reader.gaps).collect()))
    }

    /// As [`fill`](Self::fill), from what is known alone.
    pub(super) fn fill_alone(
        &self,
        batch: &RecordBatch,
        known: &Groups,
    ) -> Result<(Vec<Fillings>, Vec<BooleanBuffer>)> {
        let (digests, times) = self.places(batch)?;
        let gaps: Vec<_> = self.columns.iter().map(|(at, _)| missing(batch.column(*at), Nan::Missing)).collect();
        let mut fillings = vec![Vec::new(); gaps.len()];
        for (row, digest) in digests.into_iter().enumerate() {
            let Some(digest) = digest else { continue };
            for place in (0..gaps.len()).filter(|place| gaps[*place].value(row)) {
                if let Some((_, value)) = before(known, digest, place, times.value(row)) {
                    fillings[place].push((row, value.clone()));
                }
            }
        }
        Ok((fillings, gaps))
    }
}

/// The last value known of a group, where it is from before `time`.
fn before(known: &Groups, digest: u128, place: usize, time: i64) -> Option<&(i64, Scalar)> {
    known.get(&digest)?.last.get(place)?.as_ref().filter(|(at, _)| *at < time)
}

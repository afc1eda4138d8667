//! What the categories of a column become.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::super::derive::{Make, Maker};
use super::super::learn::present;
use super::super::rows::{Named, booleans};
use super::super::{Change, StepChanges};
use super::tally::Labels;
use super::{Encoding, Smooth, Unknown, place, texts};
use crate::{Error, Result};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Code {
    OneHot {
        drop_first: bool,
    },
    Ordinal,
    /// One number per category, and what stands for none.
    Numbers {
        numbers: Vec<f64>,
        missing: f64,
    },
    Hash {
        columns: u32,
    },
}

impl Code {
    /// For categories with the labels `groups`, among rows with the labels `all`.
    pub(super) fn learn(encoding: Encoding, groups: &[Labels], all: &Labels) -> Self {
        let numbers =
            |of: &dyn Fn(&Labels) -> f64, missing| Self::Numbers { numbers: groups.iter().map(of).collect(), missing };
        match encoding {
            Encoding::OneHot { drop_first } => Self::OneHot { drop_first },
            Encoding::Ordinal => Self::Ordinal,
            Encoding::Hash { columns } => Self::Hash { columns },
            Encoding::Frequency => {
                let rows = groups.iter().map(|group| group.rows).sum::<u64>().max(1) as f64;
                numbers(&|group| group.rows as f64 / rows, 0.0)
            }
            Encoding::Target { smooth } => numbers(&|group| target(group, all, smooth), all.mean),
            Encoding::WeightOfEvidence { regularization } => {
                numbers(&|group| evidence(group, all, regularization), 0.0)
            }
        }
    }

    pub(super) fn numbers(&self) -> Option<&[f64]> {
        if let Self::Numbers { numbers, .. } = self { Some(numbers) } else { None }
    }

    /// How many columns `groups` categories become.
    pub(super) fn columns(&self, groups: usize) -> usize {
        match self {
            Self::OneHot { .. } => groups,
            Self::Hash { columns } => *columns as usize,
            Self::Ordinal | Self::Numbers { .. } => 1,
        }
    }
}

fn target(group: &Labels, all: &Labels, smooth: Smooth) -> f64 {
    let n = group.labelled as f64;
    if group.labelled == 0 {
        return all.mean;
    }
    match smooth {
        Smooth::Rows(rows) => (group.sum() + rows * all.mean) / (n + rows),
        Smooth::Auto => {
            let variance = all.squares / all.labelled as f64;
            let weight = variance * n / (variance * n + group.squares / n);
            // Labels that are all equal: 0 divided by 0.
            if weight.is_nan() { all.mean } else { weight * group.mean + (1.0 - weight) * all.mean }
        }
    }
}

fn evidence(group: &Labels, all: &Labels, r: f64) -> f64 {
    let (positives, all_positives) = (group.sum().round(), all.sum().round());
    let negatives = group.labelled as f64 - positives;
    let all_negatives = all.labelled as f64 - all_positives;
    ((positives + r) / (all_positives + 2.0 * r)).ln() - ((negatives + r) / (all_negatives + 2.0 * r)).ln()
}

/// One column and its code. Slots are the categories, then "other", then the missing ones, where they have their own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encoded {
    pub(super) source: Named,
    pub(super) categories: Vec<String>,
    pub(super) has_other: bool,
    pub(super) has_null: bool,
    pub(super) unknown: Unknown,
    pub(super) code: Code,
}

impl Encoded {
    fn slots(&self) -> usize {
        self.categories.len() + usize::from(self.has_other) + usize::from(self.has_null)
    }

    /// Suffix of a slot's column.
    fn suffix(&self, slot: usize) -> &str {
        match self.categories.get(slot) {
            Some(category) => category,
            None if slot == self.categories.len() && self.has_other => "other",
            None => "null",
        }
    }
}

impl Maker for Encoded {
    fn source(&self) -> &Named {
        &self.source
    }

    fn keeps_source(&self) -> bool {
        false
    }

    fn fields(&self, source: &Field) -> Vec<Field> {
        let name = source.name();
        match &self.code {
            Code::OneHot { drop_first } => {
                let slots = usize::from(*drop_first)..self.slots();
                slots
                    .map(|slot| Field::new(format!("{name}_{}", self.suffix(slot)), DataType::Boolean, false))
                    .collect()
            }
            Code::Ordinal => vec![Field::new(name, DataType::Int64, !self.has_null)],
            Code::Numbers { .. } => vec![Field::new(name, DataType::Float64, false)],
            Code::Hash { columns } => {
                (0..*columns).map(|i| Field::new(format!("{name}_hash_{i}"), DataType::Float64, false)).collect()
            }
        }
    }

    fn prepare(&self) -> Result<Box<dyn Make>> {
        if let Code::Numbers { numbers, .. } = &self.code
            && numbers.len() != self.slots()
        {
            let reason = format_args!("{} numbers for {} categories", numbers.len(), self.slots());
            return Err(Error::invalid_data("state of `encode`", reason));
        }
        if let Code::Hash { columns } = self.code {
            Encoding::Hash { columns }.check()?;
        }
        let slots = self.categories.iter().enumerate();
        let slots = slots.map(|(slot, text)| (text.as_str().into(), slot as u32)).collect();
        let other = self.has_other.then_some(self.categories.len() as u32);
        let null = self.has_null.then(|| self.slots() as u32 - 1);
        Ok(Box::new(Finder { encoded: self.clone(), slots, other, null }))
    }
}

/// An [`Encoded`] that finds its categories.
struct Finder {
    encoded: Encoded,
    slots: HashMap<Box<str>, u32, FixedState>,
    other: Option<u32>,
    null: Option<u32>,
}

impl Make for Finder {
    fn make(&mut self, array: &ArrayRef, changes: &mut StepChanges) -> Result<Vec<ArrayRef>> {
        let name = &self.encoded.source.name;
        let texts = texts(name, array)?;
        changes.count(name, Change::Encoded, present(&texts));
        if let Code::Hash { columns } = self.encoded.code {
            return Ok(hashed(&texts, columns as usize));
        }
        let slots = self.find(&texts, changes)?;
        Ok(match &self.encoded.code {
            Code::OneHot { drop_first } => self.one_hot(&slots, usize::from(*drop_first)),
            Code::Ordinal => vec![Arc::new(slots.iter().map(|slot| slot.map(i64::from)).collect::<Int64Array>())],
            Code::Numbers { numbers, missing } => {
                let number = |slot: &Option<u32>| slot.map_or(*missing, |slot| numbers[slot as usize]);
                vec![Arc::new(Float64Array::from_iter_values(slots.iter().map(number)))]
            }
            Code::Hash { .. } => Vec::new(),
        })
    }
}

impl Finder {
    /// The slot of each row, `None` where it has none.
    fn find(&self, texts: &StringArray, changes: &mut StepChanges) -> Result<Vec<Option<u32>>> {
        let mut unknown = 0;
        let mut slots = Vec::with_capacity(texts.len());
        for text in texts {
            let Some(text) = text else {
                slots.push(self.null);
                continue;
            };
            let known = self.slots.get(text).copied();
            unknown += u64::from(known.is_none());
            slots.push(known.or(self.other));
        }
        let name = &self.encoded.source.name;
        if unknown > 0 && self.encoded.unknown == Unknown::Refuse {
            let found = format!("{unknown} rows with others");
            return Err(Error::schema(name, "categories that were there at the fit", found));
        }
        changes.count(name, Change::Unknown, unknown);
        Ok(slots)
    }

    fn one_hot(&self, slots: &[Option<u32>], first: usize) -> Vec<ArrayRef> {
        let column = |wanted: usize| {
            let is_it = |row: usize| slots[row] == Some(wanted as u32);
            booleans(BooleanBuffer::collect_bool(slots.len(), is_it))
        };
        (first..self.encoded.slots()).map(column).collect()
    }
}

fn hashed(texts: &StringArray, columns: usize) -> Vec<ArrayRef> {
    let mut values = vec![vec![0.0; texts.len()]; columns];
    for (row, text) in texts.iter().enumerate() {
        if let Some(text) = text {
            let (column, sign) = place(text, columns);
            values[column][row] = sign;
        }
    }
    values.into_iter().map(|column| Arc::new(Float64Array::from(column)) as ArrayRef).collect()
}

//! States as bytes.
//!
//! ```text
//! [format u8 = 1][fingerprint of the view, 32][latest i64]
//! [ids u32][per id: time i64, id u128]
//! [raw events u32][per event: time i64, per column: value]
//! [per slot: base i64, before: u8 and partial, per length of tiles: count u32, per tile: start i64, partial]
//! [CRC-32C of all before]
//! ```
//! Integers are little endian. A value is `[0]` null, `[1][i64]`, `[2][f64]` or `[3][length u32][UTF-8]`. Equal states of equal
//! history have equal bytes, but for sketches that depend on order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlops_core::Digest;
use mlops_core::stats::{Distinct, FrequentItems, Quantiles};

use super::{SlotState, WindowState};
use crate::error::{Error, Result};
use crate::window::bytes::{Reader, put_bytes, put_i64, put_u32, put_u64};
use crate::window::measure::{Measure, Partial, Spread};
use crate::window::sum::ExactSum;
use crate::window::value::Value;
use crate::window::view::WindowView;

const FORMAT: u8 = 1;

/// Bytes of the checksum.
const CRC: usize = 4;

/// Refuses what is of another definition.
pub(super) fn ensure_same(view: &WindowView, found: Digest) -> Result<()> {
    let declared = view.fingerprint();
    if found == declared {
        return Ok(());
    }
    Err(Error::Changed {
        view: view.name().to_string(),
        what: "the definition of its windows".to_owned(),
        stored: found.short(),
        declared: declared.short(),
    })
}

impl WindowState {
    /// Refuses to be read as a state of `view` where it is none.
    pub(crate) fn ensure_of(&self, view: &WindowView) -> Result<()> {
        ensure_same(view, self.view.fingerprint())
    }

    /// The state as bytes, with a checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(self.view.fingerprint().as_bytes());
        put_i64(&mut out, self.latest);
        put_u32(&mut out, self.ids.len() as u32);
        for (time, id) in &self.ids {
            put_i64(&mut out, *time);
            out.extend_from_slice(&id.to_le_bytes());
        }
        put_u32(&mut out, self.raw.len() as u32);
        for (time, values) in &self.raw {
            put_i64(&mut out, *time);
            values.iter().for_each(|value| put_value(&mut out, value.as_ref()));
        }
        for slot in &self.slots {
            put_i64(&mut out, slot.base);
            out.push(u8::from(slot.before.is_some()));
            slot.before.iter().for_each(|before| put_partial(&mut out, before));
            for tiles in &slot.tiles {
                put_u32(&mut out, tiles.len() as u32);
                for (start, partial) in tiles {
                    put_i64(&mut out, *start);
                    put_partial(&mut out, partial);
                }
            }
        }
        let crc = crc32c::crc32c(&out);
        put_u32(&mut out, crc);
        out
    }

    /// Reads [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// `Core(Corrupt)` when they are not those that were written, [`Error::Changed`] when the view was defined differently then.
    pub fn from_bytes(view: &WindowView, bytes: &[u8]) -> Result<Self> {
        let what = format!("the window state of a key of `{}`", view.name());
        let corrupt = |reason: &str| Error::Core(crate::error::Core::corrupt(&what, reason));
        let Some((content, crc)) = bytes.len().checked_sub(CRC).map(|at| bytes.split_at(at)) else {
            return Err(corrupt("it is cut off"));
        };
        if crc32c::crc32c(content).to_le_bytes() != crc {
            return Err(corrupt("its checksum is another"));
        }
        let mut from = Reader::new(content, &what);
        if from.u8()? != FORMAT {
            return Err(from.corrupt("its format is not known"));
        }
        let mut found = [0; 32];
        found.copy_from_slice(from.raw(32)?);
        ensure_same(view, Digest::from_bytes(found))?;
        let mut state = Self::new(view);
        state.latest = from.i64()?;
        state.ids = (0..from.count(24)?).map(|_| Ok((from.i64()?, from.u128()?))).collect::<Result<BTreeSet<_>>>()?;
        for _ in 0..from.count(8)? {
            let time = from.i64()?;
            let values = (0..view.columns().len()).map(|_| value(&mut from)).collect::<Result<Arc<[_]>>>()?;
            state.raw.push((time, values));
        }
        if !state.raw.is_sorted_by_key(|event| event.0) {
            return Err(from.corrupt("its events are out of order"));
        }
        for (slot, declared) in state.slots.iter_mut().zip(&view.plan().slots) {
            *slot = read_slot(&mut from, &declared.measure)?;
        }
        from.end()?;
        state.retain();
        Ok(state)
    }
}

fn read_slot(from: &mut Reader<'_>, measure: &Measure) -> Result<SlotState> {
    let mut slot = SlotState { base: from.i64()?, ..SlotState::default() };
    if from.u8()? == 1 {
        slot.before = Some(partial(from, measure)?);
    }
    for tiles in &mut slot.tiles {
        let read = (0..from.count(9)?).map(|_| Ok((from.i64()?, partial(from, measure)?)));
        *tiles = read.collect::<Result<BTreeMap<_, _>>>()?;
    }
    Ok(slot)
}

fn put_value(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        None => out.push(0),
        Some(Value::Int(value)) => {
            out.push(1);
            put_i64(out, *value);
        }
        Some(Value::Real(value)) => {
            out.push(2);
            put_u64(out, value.to_bits());
        }
        Some(Value::Text(text)) => {
            out.push(3);
            put_bytes(out, text.as_bytes());
        }
    }
}

fn value(from: &mut Reader<'_>) -> Result<Option<Value>> {
    Ok(Some(match from.u8()? {
        0 => return Ok(None),
        1 => Value::Int(from.i64()?),
        2 => {
            let value = f64::from_bits(from.u64()?);
            Value::real(value).ok_or_else(|| from.corrupt("a value that is not finite"))?
        }
        3 => Value::Text(from.text()?),
        _ => return Err(from.corrupt("a value of no kind")),
    }))
}

fn present(from: &mut Reader<'_>) -> Result<Value> {
    value(from)?.ok_or_else(|| from.corrupt("a null where a value belongs"))
}

fn put_partial(out: &mut Vec<u8>, partial: &Partial) {
    match partial {
        Partial::Count(n) => put_u64(out, *n),
        Partial::Ints { n, sum } => {
            put_u64(out, *n);
            out.extend_from_slice(&sum.to_le_bytes());
        }
        Partial::Reals { n, sum } => {
            put_u64(out, *n);
            sum.encode(out);
        }
        Partial::Spread(spread) => {
            put_u64(out, spread.n);
            put_u64(out, spread.beyond);
            spread.sum.encode(out);
            spread.squares.encode(out);
        }
        Partial::Extreme(held) => put_value(out, held.as_ref()),
        Partial::Ends(held) | Partial::Recent(held) => {
            put_u32(out, held.len() as u32);
            for (time, value) in held {
                put_i64(out, *time);
                put_value(out, Some(value));
            }
        }
        Partial::Counts(counts) => {
            put_u32(out, counts.len() as u32);
            for (value, count) in counts {
                put_value(out, Some(value));
                put_u64(out, *count);
            }
        }
        Partial::Sketch(sketch) => put_bytes(out, &sketch.to_bytes()),
        Partial::Quantiles(quantiles) => put_bytes(out, &quantiles.to_bytes()),
        Partial::Items(items) => put_bytes(out, &items.to_bytes()),
        Partial::Bins(bins) => bins.iter().for_each(|bin| put_u64(out, *bin)),
    }
}

fn partial(from: &mut Reader<'_>, measure: &Measure) -> Result<Partial> {
    Ok(match measure {
        Measure::Count => Partial::Count(from.u64()?),
        Measure::Ints => Partial::Ints { n: from.u64()?, sum: from.i128()? },
        Measure::Reals => Partial::Reals { n: from.u64()?, sum: ExactSum::decode(from)? },
        Measure::Spread => {
            let (n, beyond) = (from.u64()?, from.u64()?);
            let (sum, squares) = (ExactSum::decode(from)?, ExactSum::decode(from)?);
            Partial::Spread(Box::new(Spread { n, sum, squares, beyond }))
        }
        Measure::Min | Measure::Max => Partial::Extreme(value(from)?),
        Measure::First(_) | Measure::Last(_) => Partial::Ends(timed(from)?),
        Measure::Recent(_) => Partial::Recent(timed(from)?),
        Measure::Counts => {
            let counts = (0..from.count(13)?).map(|_| Ok((present(from)?, from.u64()?)));
            Partial::Counts(counts.collect::<Result<BTreeMap<_, _>>>()?)
        }
        Measure::Sketch(_) => Partial::Sketch(Box::new(Distinct::from_bytes(from.bytes()?)?)),
        Measure::Quantiles(_) => Partial::Quantiles(Box::new(Quantiles::from_bytes(from.bytes()?)?)),
        Measure::Items(_) => Partial::Items(Box::new(FrequentItems::from_bytes(from.bytes()?)?)),
        Measure::Bins(edges) => Partial::Bins((0..=edges.len()).map(|_| from.u64()).collect::<Result<_>>()?),
    })
}

fn timed(from: &mut Reader<'_>) -> Result<Vec<(i64, Value)>> {
    (0..from.count(13)?).map(|_| Ok((from.i64()?, present(from)?))).collect()
}

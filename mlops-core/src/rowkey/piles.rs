//! Keys and their rows on disk, parted by key.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use super::NUMBER;
use super::seen::random_factor;
use crate::file::nameless;
use crate::{Error, Result};

/// Parts of the keys of one file.
const PILES: usize = 64;
const PILE_BITS: u32 = PILES.ilog2();

/// Bytes of a pile that are written at a time.
const BLOCK: usize = 1 << 16;

/// Most bytes of one key and its row.
const ENTRY_MAX: usize = 10 + 16;

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a row that has been told.
    Known,
    Row(u64),
}

/// Takes keys with the rows that they stand in, which rise. One file without a name holds all piles, in blocks as they become
/// full, so that neither names nor open files grow in number: 9 to 20 bytes of disk per key, 4 MiB of memory.
pub(super) struct Piles {
    factor: u128,
    file: File,
    written: u64,
    parts: Vec<Pile>,
}

#[derive(Default)]
struct Pile {
    row: u64,
    len: usize,
    buffer: Vec<u8>,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy)]
struct Block {
    at: u64,
    len: usize,
}

impl Piles {
    pub(super) fn new() -> Result<Self> {
        let parts = (0..PILES).map(|_| Pile::default()).collect();
        Ok(Self { factor: random_factor(), file: nameless(&std::env::temp_dir())?, written: 0, parts })
    }

    pub(super) fn push(&mut self, key: u128, place: Place) -> Result<()> {
        let pile = &mut self.parts[(key.wrapping_mul(self.factor) >> (u128::BITS - PILE_BITS)) as usize];
        if pile.buffer.len() + ENTRY_MAX > BLOCK {
            flush(pile, &mut self.file, &mut self.written)?;
        } else if pile.buffer.capacity() == 0 {
            pile.buffer.reserve_exact(BLOCK);
        }
        let (step, is_row) = match place {
            Place::Known => (0, false),
            Place::Row(row) => {
                debug_assert!(row >= pile.row, "rows rise");
                (row - std::mem::replace(&mut pile.row, row), true)
            }
        };
        // The lower half of a number's key says only that it is one.
        let is_number = key as u64 == NUMBER as u64;
        let bits = u128::from(is_row) << 1 | u128::from(is_number);
        write_varint(&mut pile.buffer, u128::from(step) << 2 | bits);
        pile.buffer.extend_from_slice(&((key >> 64) as u64).to_le_bytes());
        if !is_number {
            pile.buffer.extend_from_slice(&(key as u64).to_le_bytes());
        }
        pile.len += 1;
        Ok(())
    }

    /// Everything that was pushed, to be read pile by pile.
    pub(super) fn close(mut self) -> Result<Closed> {
        for pile in &mut self.parts {
            flush(pile, &mut self.file, &mut self.written)?;
        }
        let piles = self.parts.into_iter().map(|pile| (pile.len, pile.blocks)).collect();
        Ok(Closed { file: self.file, piles })
    }
}

fn flush(pile: &mut Pile, file: &mut File, written: &mut u64) -> Result<()> {
    if pile.buffer.is_empty() {
        return Ok(());
    }
    file.write_all(&pile.buffer).map_err(failed)?;
    pile.blocks.push(Block { at: *written, len: pile.buffer.len() });
    *written += pile.buffer.len() as u64;
    pile.buffer.clear();
    Ok(())
}

/// An operation on the file failed.
fn failed(error: std::io::Error) -> Error {
    Error::io(std::env::temp_dir(), error)
}

/// Full [`Piles`].
pub(super) struct Closed {
    file: File,
    piles: Vec<(usize, Vec<Block>)>,
}

impl Closed {
    pub(super) fn places(&self) -> std::ops::Range<usize> {
        0..self.piles.len()
    }

    /// Keys in a pile, those that come again included.
    pub(super) fn len(&self, place: usize) -> usize {
        self.piles[place].0
    }

    /// Hands on the keys of one pile with their places, in the order in which they came.
    pub(super) fn read(&mut self, place: usize, see: &mut dyn FnMut(u128, Place) -> Result<()>) -> Result<()> {
        let (mut row, mut bytes) = (0, Vec::with_capacity(BLOCK));
        for block in &self.piles[place].1 {
            self.file.seek(SeekFrom::Start(block.at)).map_err(failed)?;
            bytes.resize(block.len, 0);
            self.file.read_exact(&mut bytes).map_err(failed)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let entry = read_entry(&mut rest).ok_or_else(|| Error::corrupt("file of keys", "it was cut"))?;
                row += entry.step;
                see(entry.key, if entry.is_row { Place::Row(row) } else { Place::Known })?;
            }
        }
        Ok(())
    }
}

struct Entry {
    key: u128,
    /// How far its row is from the one before.
    step: u64,
    is_row: bool,
}

fn write_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_entry(from: &mut &[u8]) -> Option<Entry> {
    let (mut head, mut shift) = (0_u128, 0);
    loop {
        let byte = *from.split_off_first()?;
        head |= u128::from(byte & 0x7F) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
        if shift > 63 {
            return None;
        }
    }
    let mut half = || from.split_off(..8).and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes));
    let upper = u128::from(half()?) << 64;
    let lower = if head & 1 == 1 { NUMBER } else { u128::from(half()?) };
    Some(Entry { key: upper | lower, step: (head >> 2) as u64, is_row: head & 2 == 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pile_gives_back_its_keys_and_places_in_order() {
        let number = |i: u64| i.is_multiple_of(3);
        let lower = |i: u64| if number(i) { NUMBER } else { 4 | u128::from(i) << 9 };
        let key = |i: u64| u128::from(crate::stats::hash::mix(i)) << 64 | lower(i);
        let place = |i: u64| if i.is_multiple_of(5) { Place::Known } else { Place::Row(i * i * 1_000) };
        let mut piles = Piles::new().unwrap();
        let mut expected = vec![Vec::new(); PILES];
        for i in 0..400_000 {
            expected[(key(i).wrapping_mul(piles.factor) >> 122) as usize].push((key(i), place(i)));
            piles.push(key(i), place(i)).unwrap();
        }
        let mut closed = piles.close().unwrap();
        assert!(closed.piles.iter().all(|(_, blocks)| blocks.len() > 1));
        for (pile, expected) in expected.iter().enumerate() {
            assert_eq!(closed.len(pile), expected.len());
            assert!(read(&mut closed, pile) == *expected, "pile {pile}");
        }
    }

    fn read(closed: &mut Closed, pile: usize) -> Vec<(u128, Place)> {
        let mut found = Vec::new();
        let mut see = |key, place| {
            found.push((key, place));
            Ok(())
        };
        closed.read(pile, &mut see).unwrap();
        found
    }

    #[test]
    fn the_greatest_row_has_a_place() {
        let greatest = (u128::MAX, Place::Row(u64::MAX));
        let mut piles = Piles::new().unwrap();
        piles.push(greatest.0, greatest.1).unwrap();
        let mut closed = piles.close().unwrap();
        let found: Vec<_> = closed.places().flat_map(|pile| read(&mut closed, pile)).collect();
        assert_eq!(found, [greatest]);
    }
}

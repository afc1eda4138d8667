//! Exact order statistics of ages, of however many there are.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use super::options::Room;
use super::report::AgeQuantiles;
use crate::error::{Core, Result};
use mlops_core::file::nameless;

/// Part of the room that ages may take.
const SHARE: u64 = 16;

/// Ages in the order in which they came: the first in memory, the others in a file without a name.
#[derive(Debug)]
pub(crate) struct Ages {
    room: Room,
    held: Vec<u64>,
    held_max: usize,
    file: Option<BufWriter<File>>,
    count: u64,
    /// Least and greatest.
    ends: Option<(u64, u64)>,
}

impl Ages {
    pub(crate) fn new(room: &Room) -> Self {
        let held_max = Room::count(room.bytes / SHARE, 8);
        Self { room: room.clone(), held: Vec::new(), held_max, file: None, count: 0, ends: None }
    }

    pub(crate) fn push(&mut self, age: u64) -> Result<()> {
        self.count += 1;
        self.ends = Some(self.ends.map_or((age, age), |(min, max)| (min.min(age), max.max(age))));
        if self.held.len() < self.held_max {
            self.held.push(age);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(nameless(self.room.folder())?)),
        };
        Ok(file.write_all(&age.to_le_bytes()).map_err(|e| Core::io(self.room.folder(), e))?)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Nearest-rank quantiles; `None` when there is no age.
    pub(crate) fn quantiles(mut self) -> Result<Option<AgeQuantiles>> {
        let Some((min_us, max_us)) = self.ends else { return Ok(None) };
        let rank = |percent: u64| (u128::from(self.count) * u128::from(percent)).div_ceil(100).max(1) as u64 - 1;
        let ranks = [rank(50), rank(90), rank(99)];
        let [p50_us, p90_us, p99_us] = match self.file.take() {
            None => ranks.map(|rank| *self.held.select_nth_unstable(rank as usize).1),
            Some(file) => {
                let folder = self.room.folder().to_owned();
                select(&self.held, file, ranks).map_err(|e| Core::io(folder, e))?
            }
        };
        Ok(Some(AgeQuantiles { min_us, p50_us, p90_us, p99_us, max_us }))
    }
}

/// The values of some ranks, found 16 bits at a time from the highest: four readings, and counters as all the memory.
fn select(held: &[u64], file: BufWriter<File>, ranks: [u64; 3]) -> std::io::Result<[u64; 3]> {
    let mut file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    let (mut found, mut left) = ([0_u64; 3], ranks);
    for shift in [48, 32, 16, 0] {
        let mut counts = vec![[0_u64; 3]; 1 << 16];
        let mut count = |age: u64| {
            let digit = (age >> shift) as usize & 0xffff;
            for (at, prefix) in found.iter().enumerate() {
                // Shifting in two steps: one by 64 would overflow.
                counts[digit][at] += u64::from((age >> shift) >> 16 == *prefix);
            }
        };
        held.iter().for_each(|age| count(*age));
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 16, &file);
        let mut bytes = [0; 8];
        while !at_end(&mut reader)? {
            reader.read_exact(&mut bytes)?;
            count(u64::from_le_bytes(bytes));
        }
        for (at, (found, left)) in found.iter_mut().zip(&mut left).enumerate() {
            let mut digit = 0;
            while counts[digit][at] <= *left {
                *left -= counts[digit][at];
                digit += 1;
            }
            *found = (*found << 16) | digit as u64;
        }
    }
    Ok(found)
}

fn at_end(reader: &mut impl std::io::BufRead) -> std::io::Result<bool> {
    Ok(reader.fill_buf()?.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::AsOfOptions;
    use super::*;

    fn quantiles_of(ages: &[u64], bytes: u64) -> Option<AgeQuantiles> {
        let mut all = Ages::new(&AsOfOptions::new().memory_bytes(bytes).room());
        ages.iter().for_each(|age| all.push(*age).unwrap());
        assert_eq!(all.count(), ages.len() as u64);
        all.quantiles().unwrap()
    }

    #[test]
    fn quantiles_are_those_of_the_nearest_rank() {
        let ages: Vec<u64> = (1..=200).rev().collect();
        let expected = AgeQuantiles { min_us: 1, p50_us: 100, p90_us: 180, p99_us: 198, max_us: 200 };
        for bytes in [0, 16 * 8 * 50, 1 << 30] {
            assert_eq!(quantiles_of(&ages, bytes), Some(expected));
            assert_eq!(quantiles_of(&[7], bytes).map(|age| (age.min_us, age.p99_us)), Some((7, 7)));
            assert_eq!(quantiles_of(&[], bytes), None);
        }
    }

    proptest! {
        #[test]
        fn a_file_changes_nothing(
            ages in proptest::collection::vec(prop_oneof![any::<u64>(), 0_u64..5, Just(u64::MAX), Just(1 << 48)], 0..60),
            bytes in 0_u64..4096,
        ) {
            prop_assert_eq!(quantiles_of(&ages, bytes), quantiles_of(&ages, 1 << 30));
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let options = AsOfOptions::new().memory_bytes(0).spill_folder("/no/such/folder");
        let mut ages = Ages::new(&options.room());
        ages.push(1).unwrap();
        assert!(ages.push(2).unwrap_err().to_string().contains("/no/such/folder"));
    }
}

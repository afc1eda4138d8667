//! The texts that a frequent-items sketch holds, each with its count.

use crate::stats::hash;

/// Texts by hash, in one piece of memory: nothing is allocated for a text.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// 0 for nothing, else one more than a place in `entries`.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    texts: String,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    count: u64,
    start: u32,
    len: u32,
}

/// Slots per text that is held, at least.
const SPARE: usize = 2;
const SLOTS_FIRST: usize = 16;

impl Default for Held {
    fn default() -> Self {
        Self { slots: vec![0; SLOTS_FIRST], entries: Vec::new(), texts: String::new() }
    }
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Texts with their counts, in order of arrival.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().map(|entry| (self.text(entry), entry.count))
    }

    /// The count of `text`, 0 where it is not held.
    pub(super) fn count(&self, text: &str) -> u64 {
        self.find(hash::of_text(text), text).map_or(0, |place| self.entries[place].count)
    }

    /// Adds to the count of `text`, whose hash is given, and says whether it was held before.
    pub(super) fn add(&mut self, hash: u64, text: &str, count: u64) -> bool {
        debug_assert_eq!(hash, hash::of_text(text));
        if let Some(place) = self.find(hash, text) {
            self.entries[place].count += count;
            return true;
        }
        let (start, len) = (self.texts.len() as u32, text.len() as u32);
        self.texts.push_str(text);
        self.entries.push(Entry { hash, count, start, len });
        if self.entries.len() * SPARE > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 2];
            self.place_all();
        } else {
            self.place(self.entries.len());
        }
        false
    }

    /// Takes the median count from all counts, lets go of texts that have none left, and returns it.
    pub(super) fn purge(&mut self) -> u64 {
        let mut counts: Vec<u64> = self.entries.iter().map(|entry| entry.count).collect();
        if counts.is_empty() {
            return 0;
        }
        let middle = counts.len() / 2;
        let (_, &mut median, _) = counts.select_nth_unstable(middle);
        let old = std::mem::take(&mut self.texts);
        self.entries.retain_mut(|entry| {
            if entry.count <= median {
                return false;
            }
            entry.count -= median;
            let text = &old[entry.start as usize..(entry.start + entry.len) as usize];
            entry.start = self.texts.len() as u32;
            self.texts.push_str(text);
            true
        });
        if self.texts.is_empty() {
            // Its memory serves what comes next.
            self.texts = old;
            self.texts.clear();
        }
        self.slots.fill(0);
        self.place_all();
        median
    }

    fn text(&self, entry: &Entry) -> &str {
        &self.texts[entry.start as usize..(entry.start + entry.len) as usize]
    }

    fn find(&self, hash: u64, text: &str) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let place = (self.slots[slot] as usize).checked_sub(1)?;
            let entry = &self.entries[place];
            if entry.hash == hash && self.text(entry) == text {
                return Some(place);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn place_all(&mut self) {
        (1..=self.entries.len()).for_each(|number| self.place(number));
    }

    /// Finds a slot for the entry `number`, from 1.
    fn place(&mut self, number: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.entries[number - 1].hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = number as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(held: &mut Held, text: &str, count: u64) -> bool {
        held.add(hash::of_text(text), text, count)
    }

    #[test]
    fn texts_are_held_once_whatever_their_number() {
        let mut held = Held::default();
        let text = |i: u64| if i == 0 { String::new() } else { format!("tên {i}") };
        assert!((0..3_000).all(|i| !add(&mut held, &text(i), i + 1)));
        assert!((0..3_000).all(|i| add(&mut held, &text(i), 1)));
        assert!((0..3_000).all(|i| held.count(&text(i)) == i + 2));
        assert_eq!((held.len(), held.count("tên")), (3_000, 0));
        assert!(
            held.iter().eq((0..3_000)
                .map(|i| (text(i), i + 2))
                .collect::<Vec<_>>()
                .iter()
                .map(|(t, n)| (t.as_str(), *n)))
        );
    }

    #[test]
    fn a_purge_takes_the_median_from_every_count() {
        let mut held = Held::default();
        assert_eq!(held.purge(), 0);
        for (text, count) in [("a", 5), ("b", 1), ("c", 3), ("d", 9), ("e", 2)] {
            add(&mut held, text, count);
        }
        assert_eq!(held.purge(), 3);
        assert_eq!(held.iter().collect::<Vec<_>>(), [("a", 2), ("d", 6)]);
        assert!(!add(&mut held, "c", 1) && add(&mut held, "d", 1));
        assert_eq!(held.count("d"), 7);
        assert!((0..100).all(|i| !add(&mut held, &i.to_string(), 1)));
        assert_eq!(held.purge(), 1);
        assert_eq!(held.iter().collect::<Vec<_>>(), [("a", 1), ("d", 6)]);
    }
}

//! The binary form of COPY: a header, rows of cells with their lengths, an end.

use bytes::{Bytes, BytesMut};

use crate::source::cells::Misfit;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Cuts what the server sends into rows. Pieces may end anywhere, though the server ends them with rows.
#[derive(Debug)]
pub(super) struct Tuples {
    bytes: Bytes,
    /// Where the next row begins.
    at: usize,
    begun: bool,
    ended: bool,
    /// Where the cells of a row lie, behind its beginning; `None` for null.
    places: Vec<Option<(usize, usize)>>,
}

/// One row.
pub(super) struct Tuple<'a> {
    bytes: &'a [u8],
    places: &'a [Option<(usize, usize)>],
}

impl<'a> Tuple<'a> {
    pub(super) fn cell(&self, index: usize) -> Option<&'a [u8]> {
        self.places[index].map(|(start, end)| &self.bytes[start..end])
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl Tuples {
    /// Rows of `columns` cells.
    pub(super) fn of(columns: usize) -> Self {
        Self { bytes: Bytes::new(), at: 0, begun: false, ended: false, places: vec![None; columns] }
    }

    /// Adds what came next.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.at == self.bytes.len() {
            self.bytes = piece;
        } else {
            let mut joined = BytesMut::from(self.bytes.split_off(self.at));
            joined.extend_from_slice(&piece);
            self.bytes = joined.freeze();
        }
        self.at = 0;
    }

    /// The next whole row, `None` when more must come first or there is no more.
    pub(super) fn next(&mut self) -> Result<Option<Tuple<'_>>, Misfit> {
        if self.ended {
            return if self.at == self.bytes.len() { Ok(None) } else { Err("bytes behind the end".into()) };
        }
        if !self.begun && !self.begin()? {
            return Ok(None);
        }
        let start = self.at;
        match self.measure()? {
            None => Ok(None),
            Some(end) => {
                self.at = end;
                if self.ended {
                    return self.next();
                }
                Ok(Some(Tuple { bytes: &self.bytes[start..end], places: &self.places }))
            }
        }
    }

    /// Whether the end has come.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    fn begin(&mut self) -> Result<bool, Misfit> {
        let Some((head, rest)) = self.bytes[self.at..].split_at_checked(SIGNATURE.len() + 8) else { return Ok(false) };
        let word = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (flags, more) = (word(SIGNATURE.len()), usize::try_from(word(SIGNATURE.len() + 4)));
        let more = more.ok().filter(|_| head.starts_with(SIGNATURE) && flags == 0).ok_or("a header of another form")?;
        if rest.len() < more {
            return Ok(false);
        }
        self.at += head.len() + more;
        self.begun = true;
        Ok(true)
    }

    /// Finds the cells of the row that begins here, and where it ends; `None` when some of it has not come.
    fn measure(&mut self) -> Result<Option<usize>, Misfit> {
        let row = &self.bytes[self.at..];
        let Some((count, _)) = row.split_first_chunk::<2>() else { return Ok(None) };
        let count = i16::from_be_bytes(*count);
        let mut end = 2;
        if count == -1 {
            self.ended = true;
            return Ok(Some(self.at + end));
        }
        if usize::try_from(count) != Ok(self.places.len()) {
            return Err(format!("a row of {count} cells where there should be {}", self.places.len()).into());
        }
        for place in &mut self.places {
            let Some(length) = row[end..].first_chunk::<4>() else { return Ok(None) };
            end += 4;
            *place = match i32::from_be_bytes(*length) {
                -1 => None,
                length => {
                    let length = usize::try_from(length).map_err(|_| "a cell of negative length")?;
                    if row.len() - end < length {
                        return Ok(None);
                    }
                    end += length;
                    Some((end - length, end))
                }
            };
        }
        Ok(Some(self.at + end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; 8]].concat()
    }

    fn row(cells: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut bytes = (cells.len() as i16).to_be_bytes().to_vec();
        for cell in cells {
            bytes.extend(cell.as_ref().map_or(-1, |cell| cell.len() as i32).to_be_bytes());
            bytes.extend(cell.iter().flatten());
        }
        bytes
    }

    type Cells = Vec<Option<Vec<u8>>>;

    fn read(columns: usize, pieces: &[&[u8]]) -> Result<(Vec<Cells>, bool), Misfit> {
        let (mut tuples, mut rows) = (Tuples::of(columns), Vec::new());
        for piece in pieces {
            tuples.push(Bytes::copy_from_slice(piece));
            while let Some(tuple) = tuples.next()? {
                rows.push((0..columns).map(|index| tuple.cell(index).map(<[u8]>::to_vec)).collect());
            }
        }
        Ok((rows, tuples.ended()))
    }

    #[test]
    fn rows_come_out_as_they_went_in_wherever_pieces_end() {
        let cell = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
        let rows = prop::collection::vec(prop::collection::vec(cell, 3), 0..8);
        proptest!(|(rows in rows, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6))| {
            let body: Vec<u8> = rows.iter().flat_map(|cells| row(cells)).collect();
            let whole = [header(), body, vec![0xFF, 0xFF]].concat();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            ends.extend([0, whole.len()]);
            ends.sort_unstable();
            let pieces: Vec<&[u8]> = ends.windows(2).map(|ends| &whole[ends[0]..ends[1]]).collect();
            prop_assert_eq!(read(3, &pieces).unwrap(), (rows, true));
        });
    }

    #[test]
    fn what_is_cut_off_or_of_another_form_is_told() {
        let good = [header(), row(&[Some(vec![7]), None])].concat();
        for cut in 0..good.len() {
            assert_eq!(read(2, &[&good[..cut]]).unwrap(), (vec![], false), "{cut}");
        }
        assert_eq!(read(2, &[&good]).unwrap(), (vec![vec![Some(vec![7]), None]], false), "its end has not come");
        let mut oids = good.clone();
        oids[SIGNATURE.len() + 1] = 1;
        let negative = [header(), vec![0, 1], (-2_i32).to_be_bytes().to_vec()].concat();
        let behind = [header(), vec![0xFF, 0xFF, 0]].concat();
        for (columns, bytes) in [(3, good.as_slice()), (2, &[7; 40]), (2, &oids), (1, &negative), (1, &behind)] {
            assert!(read(columns, &[bytes]).is_err(), "{bytes:?}");
        }
    }
}

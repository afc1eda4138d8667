//! The dialect of a CSV file, from its first lines.

use std::io::{Cursor, Read};
use std::path::Path;

use super::records::{Dialect, Records};
use crate::Result;
use crate::source::compression::{Input, read_failed};
use crate::source::infer::Guess;
use crate::source::medium::StandIn;

/// Bytes that are looked at, at the most.
const SNIFF_BYTES_MAX: u64 = 64 << 10;

/// Records that are looked at, at the most.
const SNIFF_RECORDS_MAX: usize = 256;

/// What may stand between fields; the first one wins where several fit alike.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What may stand around fields.
const QUOTES: [u8; 2] = [b'"', b'\''];

/// What the dialect of a CSV file was found to be, and how surely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SniffReport {
    /// The byte between fields: `,`, `;`, tab or `|`.
    pub delimiter: u8,
    /// The byte around fields: `"` or `'`.
    pub quote: u8,
    /// Whether the first record names the columns.
    pub header: bool,
    /// Records looked at.
    pub records: usize,
    /// Fields of each.
    pub fields: usize,
    /// Whether the delimiter cuts every record looked at into the same number of fields, two at the least. Where none does, it is a comma.
    pub delimiter_certain: bool,
    /// Whether the first record differs in kind from those below it, or does not. Where all is text, it is taken for a header.
    pub header_certain: bool,
}

/// One way to cut the sample.
struct Cut {
    dialect: Dialect,
    /// For each record, the kinds of its fields.
    records: Vec<Vec<Guess>>,
    first: Vec<String>,
    quoted: usize,
    malformed: usize,
}

impl Cut {
    /// Whether all records have as many fields as the first one, two at the least.
    fn is_even(&self) -> bool {
        self.malformed == 0 && self.fields() > 1 && self.records.iter().all(|record| record.len() == self.fields())
    }

    fn fields(&self) -> usize {
        self.records.first().map_or(0, Vec::len)
    }
}

/// Looks at the beginning of `path`.
///
/// # Errors
/// What [`Input::open`] says, and what a read of it fails with.
pub(super) fn sniff(path: &Path, stand_in: &StandIn) -> Result<SniffReport> {
    let mut sample = Vec::new();
    Input::open(path, stand_in)?.take(SNIFF_BYTES_MAX).read_to_end(&mut sample).map_err(|e| read_failed(path, e))?;
    if sample.len() as u64 == SNIFF_BYTES_MAX {
        let whole_lines = sample.iter().rposition(|byte| *byte == b'\n').map_or(sample.len(), |end| end + 1);
        sample.truncate(whole_lines);
    }
    let mut best: Option<Cut> = None;
    for quote in QUOTES {
        for delimiter in DELIMITERS {
            let cut = cut(path, &sample, Dialect { delimiter, quote: Some(quote) })?;
            // A quote counts only where it is around fields; an apostrophe within text is none.
            let usable = cut.is_even() && (quote == QUOTES[0] || cut.quoted > 0);
            let better = best.as_ref().is_none_or(|known| (cut.quoted, cut.fields()) > (known.quoted, known.fields()));
            if usable && better {
                best = Some(cut);
            }
        }
    }
    let certain = best.is_some();
    let chosen = match best {
        Some(cut) => cut,
        None => cut(path, &sample, Dialect { delimiter: DELIMITERS[0], quote: Some(QUOTES[0]) })?,
    };
    let (header, header_certain) = header(&chosen);
    Ok(SniffReport {
        delimiter: chosen.dialect.delimiter,
        quote: chosen.dialect.quote.unwrap_or(QUOTES[0]),
        header,
        records: chosen.records.len(),
        fields: chosen.fields(),
        delimiter_certain: certain,
        header_certain,
    })
}

fn cut(path: &Path, sample: &[u8], dialect: Dialect) -> Result<Cut> {
    let mut records = Records::new(Cursor::new(sample), path.to_owned(), dialect.clone())?;
    let mut cut = Cut { dialect, records: Vec::new(), first: Vec::new(), quoted: 0, malformed: 0 };
    while cut.records.len() < SNIFF_RECORDS_MAX {
        let Some(record) = records.next()? else { break };
        if record.is_blank() {
            continue;
        }
        cut.malformed += usize::from(record.malformed.is_some());
        cut.quoted += record.fields.iter().filter(|span| span.quoted).count();
        let text = String::from_utf8_lossy(record.raw);
        let cells = record.fields.iter().map(|span| span.of(&text));
        if cut.records.is_empty() {
            cut.first = cells.clone().map(str::to_owned).collect();
        }
        cut.records
            .push(cells.map(|cell| if cell.is_empty() { Guess::Nothing } else { Guess::of_text(cell) }).collect());
    }
    Ok(cut)
}

/// Whether the first record names columns, and whether that is sure: each column whose values are no text votes.
fn header(cut: &Cut) -> (bool, bool) {
    let Some((first, below)) = cut.records.split_first() else { return (true, false) };
    let mut votes = 0_i64;
    for (column, name) in first.iter().enumerate() {
        let cells = below.iter().filter_map(|record| record.get(column)).cloned();
        let kind = cells.fold(Guess::Nothing, Guess::join);
        let is_text = |kind: &Guess| matches!(kind, Guess::Text | Guess::Mixed | Guess::Nothing);
        match (name, &kind) {
            (Guess::Text, kind) if !is_text(kind) => votes += 1,
            (Guess::Text | Guess::Nothing, _) => {}
            (_, kind) if is_text(kind) || is_year(&cut.first[column]) => {}
            _ => votes -= 1,
        }
    }
    let mut names: Vec<&String> = cut.first.iter().collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1] && !pair[0].is_empty());
    let is_value = |(kind, name): (&Guess, &String)| {
        !matches!(kind, Guess::Text | Guess::Mixed | Guess::Nothing) && !is_year(name)
    };
    match votes {
        _ if twice => (false, true),
        0 if first.iter().zip(&cut.first).any(is_value) => (false, below.is_empty()),
        0 => (true, false),
        votes => (votes > 0, true),
    }
}

/// Wide tables have years for names: `country,2019,2020`.
fn is_year(name: &str) -> bool {
    name.len() == 4 && name.parse().is_ok_and(|year: u16| (1800..2200).contains(&year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, delimiter: u8, quote: u8, header: bool, certain: (bool, bool)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let found = sniff(&path, &None).unwrap();
        let shown = (char::from(found.delimiter), char::from(found.quote), found.header);
        assert_eq!(shown, (char::from(delimiter), char::from(quote), header), "{text:?}");
        assert_eq!((found.delimiter_certain, found.header_certain), certain, "{text:?}");
    }

    #[test]
    fn delimiters_are_those_that_cut_every_record_alike() {
        check("id,price\n1,2.5\n2,3\n", b',', b'"', true, (true, true));
        check("id;price\n1;2,5\n2;3,5\n", b';', b'"', true, (true, true));
        check("a\tb\n1,2\t3\n", b'\t', b'"', true, (true, true));
        check("a|b|c\n1|2|3\n", b'|', b'"', true, (true, true));
        check("id,note\n1,\"a;b;c\"\n2,\"d;e;f\"\n", b',', b'"', true, (true, true));
        check("id,note\n1,'a,b'\n2,'c,d'\n", b',', b'\'', true, (true, true));
        check("id,note\n1,it's\n2,that's\n", b',', b'"', true, (true, true));
    }

    #[test]
    fn what_cannot_be_told_is_a_comma_and_a_header() {
        check("", b',', b'"', true, (false, false));
        check("name\nAn\nBình\n", b',', b'"', true, (false, false));
        check("name\nAn; and\nBình\n", b',', b'"', true, (false, false));
        check("a,b\n1\n2,3,4\n", b',', b'"', true, (false, true));
        check("first,last\nAn,Lê\nBình,Trần\n", b',', b'"', true, (true, false));
    }

    #[test]
    fn a_first_record_like_the_others_is_no_header() {
        check("1,2.5\n2,3\n", b',', b'"', false, (true, true));
        check("2024-01-01;x\n2024-01-02;y\n", b';', b'"', false, (true, true));
        check("x,x\ny,z\n", b',', b'"', false, (true, true));
        check("1,An\n", b',', b'"', false, (true, true));
        check("2019,5\n2020,6\n", b',', b'"', false, (true, true));
    }

    #[test]
    fn years_are_names_of_columns_where_no_other_column_says_otherwise() {
        check("country,2019,2020\nVN,1,2.5\n", b',', b'"', true, (true, false));
    }

    #[test]
    fn a_long_file_is_looked_at_from_its_beginning() {
        let text: String =
            std::iter::once("id;note\n".to_owned()).chain((0..20_000).map(|i| format!("{i};a,b\n"))).collect();
        check(&text, b';', b'"', true, (true, true));
    }
}

//! Writes JSON lines that [`JsonSource`](super::JsonSource) reads back exactly.

use std::path::PathBuf;

use arrow::array::RecordBatch;

use crate::source::cells::{Misfit, ensure_textual};
use crate::source::compression::Output;
use crate::source::local::{LineWriter, Lines, shown};
use crate::source::print::Printer;
use crate::source::spoilt::Spoilt;
use crate::source::{DataSink, SinkWriter};
use crate::{Error, Result, Schema};

/// What becomes of NaN and the infinities, which JSON cannot spell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum NonFinite {
    /// The write fails with [`Error::InvalidData`].
    #[default]
    Refuse,
    /// They become null.
    Null,
}

/// A JSON-lines file: one object per row with every column in order, nulls written out.
///
/// Times are written in UTC to the microsecond. Roles and sensitivities are not kept: give the schema again when
/// reading. NaN and infinities are refused unless [`NonFinite::Null`] is set.
/// A name that ends in `.gz` or `.zst` makes packed text.
#[derive(Clone, Debug)]
pub struct JsonSink {
    path: PathBuf,
    non_finite: NonFinite,
}

impl JsonSink {
    /// The file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), non_finite: NonFinite::default() }
    }

    /// What becomes of NaN and the infinities. Default [`NonFinite::Refuse`].
    pub fn non_finite(mut self, rule: NonFinite) -> Self {
        self.non_finite = rule;
        self
    }

    fn value(&self, column: &Printer, row: usize, out: &mut String) -> Result<(), Misfit> {
        if column.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        match column {
            Printer::List(list, items) => {
                let ends = list.value_offsets();
                out.push('[');
                for (index, item) in (ends[row] as usize..ends[row + 1] as usize).enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    self.value(items, item, out)?;
                }
                out.push(']');
            }
            Printer::Struct(_, members) => self.object(members.iter().map(|(n, p)| (n.as_str(), p)), row, out)?,
            _ if column.real(row).is_some_and(|v| !v.is_finite()) => match self.non_finite {
                NonFinite::Null => out.push_str("null"),
                NonFinite::Refuse => return Err("NaN or an infinity, which JSON cannot spell".into()),
            },
            _ if column.text(row).is_some() => quote(column.text(row).unwrap_or_default(), out),
            _ if column.is_spelled() => {
                out.push('"');
                column.write(row, out)?;
                out.push('"');
            }
            _ => column.write(row, out)?,
        }
        Ok(())
    }

    fn object<'a>(
        &self,
        members: impl Iterator<Item = (&'a str, &'a Printer)>,
        row: usize,
        out: &mut String,
    ) -> Result<(), Misfit> {
        out.push('{');
        for (index, (name, member)) in members.enumerate() {
            if index > 0 {
                out.push(',');
            }
            quote(name, out);
            out.push(':');
            self.value(member, row, out).map_err(|reason| format!("column `{name}`: {reason}"))?;
        }
        out.push('}');
        Ok(())
    }
}

/// `text` between quotes, escaped.
fn quote(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, b)| *b < 0x20 || matches!(b, b'"' | b'\\')) {
        out.push_str(&text[plain..at]);
        let _ = match byte {
            b'"' => out.write_str("\\\""),
            b'\\' => out.write_str("\\\\"),
            b'\n' => out.write_str("\\n"),
            other => write!(out, "\\u{other:04x}"),
        };
        plain = at + 1;
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

impl DataSink for JsonSink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        schema.arrow().fields().iter().try_for_each(|f| ensure_textual(f, true))?;
        let file = Output::create(&self.path)?;
        let (schema, lines, text) = (schema.clone(), self.clone(), String::new());
        Ok(Box::new(LineWriter { file, schema, lines, rows: 0, text, spoilt: Spoilt::default() }))
    }
}

impl Lines for JsonSink {
    fn lines(&mut self, batch: &RecordBatch, first_row: u64, out: &mut String) -> Result<()> {
        let printers = batch.columns().iter().map(Printer::new).collect::<Result<Vec<_>>>()?;
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let members = schema.fields().iter().map(|f| f.name().as_str()).zip(&printers);
            self.object(members, row, out).map_err(|reason| {
                Error::invalid_data(format!("{}, row {}", shown(&self.path), first_row + row as u64), reason)
            })?;
            out.push('\n');
        }
        Ok(())
    }
}

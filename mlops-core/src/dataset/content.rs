//! Digest of rows, the same however they are cut into batches.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use crate::schema::logical_type;
use crate::{Digest, Result, Schema};

/// Hashes rows column by column as they come.
///
/// The digest covers the schema's fingerprint, the number of rows, which cells are null and the bytes of the others.
/// Values under a null do not count; `0.0` and `-0.0` differ, NaNs differ by their bits.
#[derive(Debug)]
pub struct ContentHasher {
    schema: Digest,
    columns: Vec<ColumnHasher>,
    rows: u64,
}

#[derive(Debug, Default)]
struct ColumnHasher {
    values: blake3::Hasher,
    lengths: blake3::Hasher,
    nulls: blake3::Hasher,
    scratch: Vec<u8>,
}

impl ContentHasher {
    /// For rows of `schema`.
    ///
    /// # Errors
    /// None at present; reserved for column types without a canonical form.
    pub fn new(schema: &Schema) -> Result<Self> {
        let columns = (0..schema.len()).map(|_| ColumnHasher::default()).collect();
        Ok(Self { schema: schema.fingerprint(), columns, rows: 0 })
    }

    /// Adds the rows of `batch`, which must have the columns of the schema.
    ///
    /// # Errors
    /// [`Error::External`](crate::Error::External) when Arrow cannot normalise a nested column.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        for (hasher, array) in self.columns.iter_mut().zip(batch.columns()) {
            hasher.update(array, self.rows)?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest.
    pub fn finish(self) -> Digest {
        let mut parts = vec![self.schema.as_bytes().to_vec(), self.rows.to_le_bytes().to_vec()];
        for column in self.columns {
            for hasher in [column.values, column.lengths, column.nulls] {
                parts.push(hasher.finalize().as_bytes().to_vec());
            }
        }
        Digest::of_parts(parts.iter().map(Vec::as_slice))
    }
}

impl ColumnHasher {
    fn update(&mut self, array: &ArrayRef, first_row: u64) -> Result<()> {
        if let DataType::Dictionary(_, values) = array.data_type() {
            // Nulls are counted on the plain values, once: counted per encoding too, cuts would show in their order.
            let plain = cast(array, values)?;
            debug_assert_eq!(logical_type(plain.data_type()), logical_type(array.data_type()));
            return self.update(&plain, first_row);
        }
        if let Some(nulls) = array.logical_nulls().filter(|n| n.null_count() > 0) {
            let positions = (0..array.len()).filter(|i| nulls.is_null(*i));
            self.scratch.clear();
            self.scratch.extend(positions.flat_map(|i| (first_row + i as u64).to_le_bytes()));
            self.nulls.update(&self.scratch);
        }
        match array.data_type() {
            DataType::Null => {}
            DataType::Boolean => self.booleans(array),
            DataType::Utf8 => self.strings(array.as_string::<i32>().iter().map(|v| v.map(str::as_bytes))),
            DataType::LargeUtf8 => self.strings(array.as_string::<i64>().iter().map(|v| v.map(str::as_bytes))),
            DataType::Utf8View => self.strings(array.as_string_view().iter().map(|v| v.map(str::as_bytes))),
            DataType::Binary => self.strings(array.as_binary::<i32>().iter()),
            DataType::LargeBinary => self.strings(array.as_binary::<i64>().iter()),
            DataType::BinaryView => self.strings(array.as_binary_view().iter()),
            DataType::FixedSizeBinary(_) => self.strings(array.as_fixed_size_binary().iter()),
            primitive if primitive.primitive_width().is_some() => self.primitives(array),
            _ => self.nested(array)?,
        }
        Ok(())
    }

    fn booleans(&mut self, array: &ArrayRef) {
        let values = array.as_boolean();
        self.scratch.clear();
        self.scratch.extend(values.iter().map(|v| u8::from(v == Some(true))));
        self.values.update(&self.scratch);
    }

    fn strings<'a>(&mut self, values: impl Iterator<Item = Option<&'a [u8]>>) {
        self.scratch.clear();
        let mut lengths = Vec::with_capacity(values.size_hint().0 * 8);
        for value in values {
            let value = value.unwrap_or_default();
            lengths.extend_from_slice(&(value.len() as u64).to_le_bytes());
            self.scratch.extend_from_slice(value);
        }
        self.lengths.update(&lengths);
        self.values.update(&self.scratch);
    }

    /// Fixed-width values straight from their buffer; those under a null are read as zero.
    fn primitives(&mut self, array: &ArrayRef) {
        let data = array.to_data();
        let width = array.data_type().primitive_width().unwrap_or(0);
        let start = data.offset() * width;
        let bytes = &data.buffers()[0].as_slice()[start..start + data.len() * width];
        match data.nulls().filter(|n| n.null_count() > 0) {
            None => {
                self.values.update(bytes);
            }
            Some(nulls) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(bytes);
                for row in (0..data.len()).filter(|row| nulls.is_null(*row)) {
                    self.scratch[row * width..(row + 1) * width].fill(0);
                }
                self.values.update(&self.scratch);
            }
        }
    }

    /// Lists, structs and maps in Arrow's row format, which is canonical per value.
    fn nested(&mut self, array: &ArrayRef) -> Result<()> {
        let converter = RowConverter::new(vec![SortField::new(array.data_type().clone())])?;
        let rows = converter.convert_columns(std::slice::from_ref(array))?;
        for row in &rows {
            let bytes: &[u8] = row.as_ref();
            self.lengths.update(&(bytes.len() as u64).to_le_bytes());
            self.values.update(bytes);
        }
        Ok(())
    }
}

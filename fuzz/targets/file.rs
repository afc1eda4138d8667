//! Bytes as a file that a source reads to its end.

use std::io::Write;
use std::path::Path;

use mlops_core::Result;
use mlops_core::source::{DataSource, ScanRequest};

/// Reads `bytes` as a file with the ending `suffix`: rows or a typed error, never a panic. Rows that were read have the
/// schema that was told, twice the same ones.
pub fn read<S: DataSource>(bytes: &[u8], suffix: &str, open: impl Fn(&Path) -> Result<S>) {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for a small file");
    let count = || -> Result<usize> {
        let source = open(file.path())?;
        let schema = source.schema()?;
        let mut rows = 0;
        for batch in source.scan(&ScanRequest::all().batch_rows(64).limit(10_000))? {
            let batch = batch?;
            assert_eq!(batch.schema_ref(), schema.arrow(), "batches have the schema that was told");
            rows += batch.num_rows();
        }
        Ok(rows)
    };
    if let Ok(rows) = count() {
        assert_eq!(count().ok(), Some(rows), "a second scan gives the same rows");
    }
}

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema as ArrowSchema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use super::messages::{Facts, Kind};
use super::*;
use crate::Dataset;
use crate::source::{Comparison, DataSink, Predicate};

const LAYOUTS: [IpcLayout; 2] = [IpcLayout::File, IpcLayout::Stream];

fn rows() -> Dataset {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let kinds: DictionaryArray<Int32Type> = [Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("yy")]));
    let columns = [("id", ids, false), ("kind", Arc::new(kinds) as ArrayRef, true), ("text", texts, true)];
    Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns).unwrap()]).unwrap()
}

fn read(path: &Path) -> Result<Dataset> {
    Dataset::collect(IpcSource::open(path)?.scan(&ScanRequest::all())?)
}

/// The bytes that arrow's own writer makes, dictionaries kept as such.
fn foreign(layout: IpcLayout, packed: Option<CompressionType>) -> Vec<u8> {
    let (batch, options) =
        (rows().to_batch().unwrap(), IpcWriteOptions::default().try_with_compression(packed).unwrap());
    match layout {
        IpcLayout::File => {
            let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
            writer.write(&batch).unwrap();
            writer.write(&batch.slice(0, 1)).unwrap();
            writer.into_inner().unwrap()
        }
        IpcLayout::Stream => {
            let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
            writer.write(&batch).unwrap();
            writer.write(&batch.slice(0, 1)).unwrap();
            writer.into_inner().unwrap()
        }
    }
}

#[test]
fn both_layouts_and_every_packing_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    for layout in LAYOUTS {
        for compression in [IpcCompression::None, IpcCompression::Lz4, IpcCompression::Zstd] {
            let sink = IpcSink::builder(&path).layout(layout).compression(compression).build().unwrap();
            let written = rows().write_to(&sink).unwrap();
            assert_eq!((written.rows, written.size_bytes), (4, fs::metadata(&path).unwrap().len()));
            let back = read(&path).unwrap();
            assert_eq!(back.digest().unwrap(), rows().digest().unwrap(), "{layout:?} {compression:?}");
        }
    }
}

#[test]
fn what_other_writers_make_is_read_with_its_dictionaries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.feather");
    for layout in LAYOUTS {
        for packed in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            fs::write(&path, foreign(layout, packed)).unwrap();
            let back = read(&path).unwrap();
            assert_eq!(back.num_rows().unwrap(), 5);
            assert!(matches!(back.schema().field("kind").unwrap().data_type(), DataType::Dictionary(..)));
            let kind = ScanRequest::all().columns(["kind"]).filter(Predicate::new("id", Comparison::Eq, 1));
            let kinds = Dataset::collect(IpcSource::open(&path).unwrap().scan(&kind).unwrap()).unwrap();
            assert_eq!(kinds.num_rows().unwrap(), 2);
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_an_error_and_a_stream_never_gives_half_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let file = foreign(IpcLayout::File, None);
    for length in 0..file.len() {
        fs::write(&path, &file[..length]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { what, .. } if what.ends_with("t.arrow")), "{length}: {error:?}");
    }
    let stream = foreign(IpcLayout::Stream, None);
    for length in 0..stream.len() {
        fs::write(&path, &stream[..length]).unwrap();
        match read(&path) {
            // Cut between two messages, as a writer leaves it that closes the stream without an end mark.
            Ok(data) => assert!(matches!(data.num_rows().unwrap(), 0 | 4 | 5), "{length}"),
            Err(error) => assert!(matches!(error, Error::InvalidData { .. }), "{length}: {error:?}"),
        }
    }
}

#[test]
fn lengths_that_the_file_cannot_hold_are_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let reason = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match read(&path).unwrap_err() {
            Error::InvalidData { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    let mut file = foreign(IpcLayout::File, None);
    let trailer = file.len() - 10;
    file[trailer..trailer + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(reason(&file).contains("footer of 4294967295 bytes"));

    let mut stream = foreign(IpcLayout::Stream, None);
    stream[4..8].copy_from_slice(&(i32::MAX as u32).to_le_bytes());
    assert!(reason(&stream).contains("neither"));
    let mut long = foreign(IpcLayout::Stream, None);
    let second = 8 + u32::from_le_bytes(long[4..8].try_into().unwrap()) as usize;
    long[second + 4..second + 8].copy_from_slice(&(60_u32 << 20).to_le_bytes());
    assert!(reason(&long).contains("would end behind the file"));
}

#[test]
fn what_packed_buffers_claim_is_bounded() {
    let facts = |lengths: &[i64]| {
        let body: Vec<u8> = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
        let packed = (0..lengths.len()).map(|index| (index * 8, 8)).collect();
        Facts { kind: Kind::Batch, rows: 1, packed }.check_packed(&body)
    };
    assert!(facts(&[-1, 0, 1 << 30]).is_ok());
    assert!(facts(&[1 << 30, 1 << 30, 1]).unwrap_err().contains("unpack"));
    assert!(facts(&[i64::MAX, i64::MAX]).is_err());
    let short = Facts { kind: Kind::Batch, rows: 1, packed: vec![(0, 3)] };
    assert!(short.check_packed(&[1, 2, 3]).is_err());
}

#[test]
fn a_dictionary_inside_of_a_map_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let words = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
    let entry = Field::new_struct(
        "entries",
        vec![Field::new("keys", DataType::Utf8, false), Field::new("values", words, true)],
        false,
    );
    let schema = Schema::new(ArrowSchema::new(vec![Field::new("tags", DataType::Map(entry.into(), false), true)]));
    let error = IpcSink::new(folder.path().join("t.arrow")).begin(&schema.unwrap()).err();
    assert!(matches!(&error, Some(Error::Schema { column, .. }) if column == "tags"), "{error:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn other_content_is_no_arrow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    for other in [&b""[..], b"id\n1\n", b"PAR1aaaaaaaaaaaaaaaaaaPAR1", b"ARROW1", b"ARROW1\0\0ARROW1", b"FEA1xxxx"] {
        fs::write(&path, other).unwrap();
        assert!(matches!(read(&path), Err(Error::InvalidData { .. })), "{other:?}");
    }
}

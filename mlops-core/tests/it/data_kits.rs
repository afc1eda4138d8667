//! The kits of sources, sinks and catalogs name what does not keep its contract.

use std::sync::{Arc, Mutex};

use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use mlops_core::catalog::{Catalog, Entry, MemoryCatalog, Revision};
use mlops_core::source::{BatchStream, DataSink, DataSource, MemorySink, ScanRequest, SinkWriter, SourceInfo, Written};
use mlops_core::{Dataset, Digest, Error, Name, Result, Schema, testkit};

use crate::kits::refused;

fn rows() -> Dataset {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(1), Some(2), Some(2)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("c"), Some("a"), None, Some("b"), Some("")]));
    Dataset::from_batches([
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("text", texts, true)]).unwrap()
    ])
    .unwrap()
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Wrong {
    Nothing,
    Limit,
    Predicates,
    Order,
    BatchRows,
    ForgetsRows,
    GoesOn,
    TakesUnknown,
}

#[derive(Debug)]
struct Source {
    wrong: Wrong,
    rows: Dataset,
    scans: Mutex<u64>,
}

impl Source {
    fn new(wrong: Wrong) -> Self {
        Self { wrong, rows: rows(), scans: Mutex::new(0) }
    }
}

impl DataSource for Source {
    fn info(&self) -> Result<SourceInfo> {
        Ok(SourceInfo::new("test", "here"))
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.rows.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let mut scans = self.scans.lock().unwrap();
        *scans += 1;
        let columns = request.projection().map(<[String]>::to_vec);
        let project = |request: ScanRequest| match &columns {
            Some(columns) => request.columns(columns.clone()),
            None => request,
        };
        let filtered =
            |request: ScanRequest| request.predicates().iter().fold(ScanRequest::all(), |r, p| r.filter(p.clone()));
        let request = match self.wrong {
            Wrong::Limit => project(filtered(request.clone()).batch_rows(request.rows_per_batch())),
            Wrong::Predicates if !request.predicates().is_empty() => {
                let bare = project(ScanRequest::all().batch_rows(request.rows_per_batch()));
                request.limit_rows().map_or(bare.clone(), |limit| bare.limit(limit))
            }
            Wrong::BatchRows => request.clone().batch_rows(1 << 20),
            Wrong::TakesUnknown => {
                request.columns_to_read(self.rows.schema()).map_or_else(|_| ScanRequest::all(), |_| request.clone())
            }
            _ => request.clone(),
        };
        let stream = self.rows.scan(&request)?;
        let schema = stream.schema().clone();
        let wrong = self.wrong;
        let number = *scans;
        let batches = stream.enumerate().filter_map(move |(index, batch)| match wrong {
            Wrong::ForgetsRows if index == 1 => None,
            Wrong::GoesOn if index == 1 => Some(Err(Error::invalid_data("here, row 2", "unreadable"))),
            Wrong::Order if number.is_multiple_of(2) => Some(batch.map(|b| {
                let turned = mlops_core::arrow::array::UInt32Array::from_iter_values((0..b.num_rows() as u32).rev());
                mlops_core::arrow::compute::take_record_batch(&b, &turned).unwrap()
            })),
            _ => Some(batch),
        });
        Ok(BatchStream::new(schema, batches))
    }
}

#[test]
fn the_kit_of_sources_tells_what_is_broken() {
    let kit = |wrong| move || testkit::data_source(&Source::new(wrong), &rows());
    kit(Wrong::Nothing)();
    refused(kit(Wrong::Limit), "a scan honours the whole request");
    refused(kit(Wrong::Predicates), "a scan honours the whole request");
    refused(kit(Wrong::Order), "two scans give the same rows in the same order");
    refused(kit(Wrong::BatchRows), "no batch is above `batch_rows`");
    refused(kit(Wrong::ForgetsRows), "a scan honours the whole request");
    refused(kit(Wrong::TakesUnknown), "a column that is not there is `NotFound`");
    refused(kit(Wrong::GoesOn), "good rows are read");
    testkit::unreadable_source(&Source::new(Wrong::GoesOn));
    refused(|| testkit::unreadable_source(&Source::new(Wrong::ForgetsRows)), "never dropped in silence");
    refused(|| testkit::missing_source(&Source::new(Wrong::Nothing)), "`info` is `NotFound`");
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Leak {
    Nothing,
    OnWrite,
    OnDrop,
    AfterFailure,
    Appends,
    TakesAnything,
}

#[derive(Debug)]
struct Sink {
    leak: Leak,
    place: MemorySink,
}

struct Writer {
    leak: Leak,
    place: MemorySink,
    schema: Schema,
    batches: Vec<RecordBatch>,
    failed: bool,
    done: bool,
}

impl Sink {
    fn new(leak: Leak) -> Self {
        Self { leak, place: MemorySink::new("place") }
    }
}

impl DataSink for Sink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        let (leak, place, schema) = (self.leak, self.place.clone(), schema.clone());
        Ok(Box::new(Writer { leak, place, schema, batches: Vec::new(), failed: false, done: false }))
    }
}

impl Writer {
    fn show(&mut self) -> Result<Written> {
        let mut batches = self.batches.clone();
        if self.leak == Leak::Appends
            && let Ok(before) = self.place.dataset()
        {
            batches.insert(0, before.to_batch()?);
        }
        Dataset::held(self.schema.clone(), batches)?.write_to(&self.place)
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self.schema.attach(batch) {
            Ok(batch) => self.batches.push(batch),
            Err(_) if self.leak == Leak::TakesAnything => {}
            Err(error) => {
                self.failed = true;
                return Err(error);
            }
        }
        if self.leak == Leak::OnWrite {
            self.show()?;
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Written> {
        self.done = true;
        if self.failed && self.leak != Leak::AfterFailure {
            return Err(Error::invalid("writer", "failed", "whole"));
        }
        self.show()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.leak == Leak::OnDrop && !self.done {
            let _ = self.show();
        }
    }
}

#[test]
fn the_kit_of_sinks_tells_what_is_broken() {
    let kit = |leak| {
        move || {
            let sink = Sink::new(leak);
            testkit::data_sink(&sink, || sink.place.dataset(), &rows());
        }
    };
    kit(Leak::Nothing)();
    refused(kit(Leak::OnWrite), "nothing of a write can be seen before its commit");
    refused(kit(Leak::OnDrop), "a writer that is dropped leaves no trace");
    refused(kit(Leak::AfterFailure), "after a write that failed nothing is committed");
    refused(kit(Leak::Appends), "how rows are cut into batches does not matter");
    refused(kit(Leak::TakesAnything), "a batch of another schema is `Schema`");
    let sink = Sink::new(Leak::Nothing);
    let unfit = || testkit::refusing_sink(&sink, || sink.place.dataset(), rows().schema());
    refused(unfit, "a type that the format cannot hold is `Schema`");
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Flaw {
    Nothing,
    LastWins,
    ForgetsTheFirst,
    LosesTags,
    LosesDigests,
    Unsorted,
    NotDurable,
    TwoWinners,
}

#[derive(Clone, Debug)]
struct Broken(Flaw, MemoryCatalog);

impl Catalog for Broken {
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision> {
        match self.0 {
            Flaw::LastWins => {
                let now = self.1.get(&entry.name).map_or(Revision(0), |(_, revision)| revision);
                self.1.put(entry, now)
            }
            Flaw::LosesTags => self.1.put(&Entry { tags: Vec::new(), ..entry.clone() }, expected),
            Flaw::TwoWinners => match self.1.put(entry, expected) {
                Err(Error::Conflict { found, .. }) if expected.next().to_string() == found => Ok(expected.next()),
                outcome => outcome,
            },
            _ => self.1.put(entry, expected),
        }
    }

    fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
        self.1.get(name)
    }

    fn history(&self, name: &Name) -> Result<Vec<Entry>> {
        let history = self.1.history(name)?;
        let first = usize::from(self.0 == Flaw::ForgetsTheFirst && history.len() > 2);
        Ok(history[first..].to_vec())
    }

    fn list(&self) -> Result<Vec<Name>> {
        let mut names = self.1.list()?;
        if self.0 == Flaw::Unsorted {
            names.reverse();
        }
        Ok(names)
    }

    fn by_digest(&self, digest: &Digest) -> Result<Entry> {
        let entry = self.1.by_digest(digest)?;
        let present = self.1.get(&entry.name)?.0.digest == *digest;
        if present || self.0 != Flaw::LosesDigests {
            Ok(entry)
        } else {
            Err(Error::not_found("data set", digest.to_string()))
        }
    }
}

#[test]
fn the_kit_of_catalogs_tells_what_is_broken() {
    let kit = |flaw| {
        move || {
            let again =
                |it: &Broken| if flaw == Flaw::NotDurable { Broken(flaw, MemoryCatalog::new()) } else { it.clone() };
            testkit::catalog(|| Broken(flaw, MemoryCatalog::new()), again);
        }
    };
    kit(Flaw::Nothing)();
    refused(kit(Flaw::LastWins), "a put over a revision that never was is `Conflict`");
    refused(kit(Flaw::ForgetsTheFirst), "a history is everything that was put, oldest first");
    refused(kit(Flaw::LosesTags), "an entry is exactly as it was put");
    refused(kit(Flaw::LosesDigests), "every digest that was ever put stays resolvable");
    refused(kit(Flaw::Unsorted), "all names are listed once, sorted");
    refused(kit(Flaw::NotDurable), "an entry that was put is there");
    refused(kit(Flaw::TwoWinners), "`Conflict`");
}

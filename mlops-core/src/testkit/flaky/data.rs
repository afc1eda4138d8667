//! Sources and sinks that fail and dawdle on purpose.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;

use super::fault::Fault;
use crate::source::{BatchStream, DataSink, DataSource, ScanRequest, SinkWriter, SourceInfo, Written};
use crate::{Result, Schema};

/// A source around another: calls and batches fail with [`Error::External`](crate::Error::External), and take longer.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::source::{DataSource, ScanRequest};
/// use mlops_core::testkit::FlakySource;
/// use mlops_core::Dataset;
///
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
/// let rows = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
/// let source = FlakySource::new(rows).fail_batch_every(2);
/// let mut stream = source.scan(&ScanRequest::all().batch_rows(1))?;
/// assert!(stream.next().unwrap().is_ok());
/// assert!(stream.next().unwrap().is_err() && stream.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FlakySource<S> {
    inner: S,
    calls: Fault,
    batches: Arc<Fault>,
    delay: Duration,
}

impl<S> FlakySource<S> {
    /// `inner` as it is.
    pub fn new(inner: S) -> Self {
        let (calls, batches) = (Fault::none("flaky source"), Arc::new(Fault::none("flaky stream")));
        Self { inner, calls, batches, delay: Duration::ZERO }
    }

    /// Fails call number `n`, `2n`, `3n` … of `info`, `schema` and `scan` together; 1 fails all, 0 none.
    pub fn fail_every(mut self, n: u64) -> Self {
        self.calls.every = n;
        self
    }

    /// Puts an error in the place of batch number `n`, `2n`, `3n` … of all streams together.
    pub fn fail_batch_every(mut self, n: u64) -> Self {
        self.batches = Arc::new(Fault::every("flaky stream", n));
        self
    }

    /// Sleeps for `delay` before each call and each batch.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.calls()
    }

    fn trouble(&self) -> Result<()> {
        std::thread::sleep(self.delay);
        self.calls.strike()
    }
}

impl<S: DataSource> DataSource for FlakySource<S> {
    fn info(&self) -> Result<SourceInfo> {
        self.trouble()?;
        self.inner.info()
    }

    fn schema(&self) -> Result<Schema> {
        self.trouble()?;
        self.inner.schema()
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        self.trouble()?;
        let inner = self.inner.scan(request)?;
        let (delay, fault) = (self.delay, self.batches.clone());
        let schema = inner.schema().clone();
        let batches = inner.map(move |batch| {
            std::thread::sleep(delay);
            fault.strike().and(batch)
        });
        Ok(BatchStream::new(schema, batches))
    }
}

/// A sink around another: begins, writes and commits fail with [`Error::External`](crate::Error::External), and take longer.
#[derive(Debug)]
pub struct FlakySink<S> {
    inner: S,
    begins: Fault,
    faults: Arc<WriteFaults>,
    delay: Duration,
}

#[derive(Debug)]
struct WriteFaults {
    writes: Fault,
    commits: Fault,
    answers: Fault,
}

impl WriteFaults {
    fn new(write_every: u64, commit_every: u64, answer_every: u64) -> Arc<Self> {
        Arc::new(Self {
            writes: Fault::every("flaky write", write_every),
            commits: Fault::every("flaky commit", commit_every),
            answers: Fault::every("flaky answer", answer_every),
        })
    }
}

impl<S> FlakySink<S> {
    /// `inner` as it is.
    pub fn new(inner: S) -> Self {
        Self { inner, begins: Fault::none("flaky sink"), faults: WriteFaults::new(0, 0, 0), delay: Duration::ZERO }
    }

    /// Fails `begin` number `n`, `2n`, `3n` …; 1 fails all, 0 none.
    pub fn fail_every(mut self, n: u64) -> Self {
        self.begins.every = n;
        self
    }

    /// Fails `write` number `n`, `2n`, `3n` … of all writers together, before it does anything.
    pub fn fail_write_every(mut self, n: u64) -> Self {
        self.faults = WriteFaults::new(n, self.faults.commits.every, self.faults.answers.every);
        self
    }

    /// Fails `commit` number `n`, `2n`, `3n` … of all writers together: nothing can be seen then.
    pub fn fail_commit_every(mut self, n: u64) -> Self {
        self.faults = WriteFaults::new(self.faults.writes.every, n, self.faults.answers.every);
        self
    }

    /// Fails `commit` number `n`, `2n`, `3n` … after it did its work: the answer is lost, not the deed.
    pub fn lose_commit_every(mut self, n: u64) -> Self {
        self.faults = WriteFaults::new(self.faults.writes.every, self.faults.commits.every, n);
        self
    }

    /// Sleeps for `delay` before each begin, write and commit.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Begins so far.
    pub fn calls(&self) -> u64 {
        self.begins.calls()
    }
}

impl<S: DataSink> DataSink for FlakySink<S> {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        std::thread::sleep(self.delay);
        self.begins.strike()?;
        let inner = self.inner.begin(schema)?;
        Ok(Box::new(FlakyWriter { inner, faults: self.faults.clone(), delay: self.delay, failed: Ok(()) }))
    }
}

struct FlakyWriter {
    inner: Box<dyn SinkWriter>,
    faults: Arc<WriteFaults>,
    delay: Duration,
    /// What a write failed with that the writer inside has not seen.
    failed: Result<()>,
}

impl SinkWriter for FlakyWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        std::thread::sleep(self.delay);
        if let Err(error) = self.faults.writes.strike() {
            self.failed = Err(crate::Error::external("flaky write", "an earlier write failed"));
            return Err(error);
        }
        self.inner.write(batch)
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        std::thread::sleep(self.delay);
        self.failed?;
        self.faults.commits.strike()?;
        let written = self.inner.commit()?;
        self.faults.answers.strike()?;
        Ok(written)
    }
}

//! The contract of [`DataSink`].

use arrow::array::{ArrayRef, NullArray, RecordBatch};

use super::cuts::whole;
use super::source::same_rows;
use crate::source::{DataSink, SinkWriter, Written};
use crate::{Dataset, Error, Result, Schema};

/// Checks the contract of [`DataSink`] on `sink`, a place where there is nothing yet.
///
/// `read` opens the place anew and gives what can be seen there, [`Error::NotFound`] where that is nothing; `rows` is a
/// small table of at least two rows that the sink can hold, with annotations as `read` gives them. That a commit survives
/// a crash can only be seen from outside: kill a process after its commit returned. [`refusing_sink`] checks the rest.
///
/// # Panics
/// With the sentence that does not hold.
pub fn data_sink(sink: &dyn DataSink, read: impl Fn() -> Result<Dataset>, rows: &Dataset) {
    let place = Place { sink, read: &read, whole: whole(rows), schema: rows.schema() };
    assert!(place.whole.num_rows() >= 2, "the kit needs two rows");
    place.nothing("the place must be empty when the kit begins");
    place.nothing_is_seen_before_the_commit();
    place.everything_is_seen_after_the_commit();
    place.abandoned_and_failed_writes_leave_what_was_there();
    place.writes_at_once_do_not_mix();
    place.no_rows_are_a_content_too();
}

/// Checks that `sink` takes no rows of `schema`, which its format cannot hold, and that trying leaves no trace.
///
/// # Panics
/// With the sentence that does not hold.
pub fn refusing_sink(sink: &dyn DataSink, read: impl Fn() -> Result<Dataset>, schema: &Schema) {
    let refused = sink.begin(schema).err();
    assert!(
        matches!(refused, Some(Error::Schema { .. })),
        "a type that the format cannot hold is `Schema`: {refused:?}"
    );
    assert!(matches!(read(), Err(Error::NotFound { .. })), "a write that was refused leaves no trace");
}

struct Place<'a> {
    sink: &'a dyn DataSink,
    read: &'a dyn Fn() -> Result<Dataset>,
    whole: RecordBatch,
    schema: &'a Schema,
}

impl Place<'_> {
    fn begin(&self) -> Box<dyn SinkWriter> {
        self.sink.begin(self.schema).expect("a write of rows that the format holds begins")
    }

    /// A writer that has been given the first `rows` rows, in two pieces.
    fn given(&self, rows: usize) -> Box<dyn SinkWriter> {
        let mut writer = self.begin();
        let cut = rows / 2;
        for piece in [self.whole.slice(0, cut), self.whole.slice(0, 0), self.whole.slice(cut, rows - cut)] {
            writer.write(&piece).expect("rows of the schema are taken");
        }
        writer
    }

    fn commit(&self, rows: usize) -> Written {
        let written = self.given(rows).commit().expect("a write of good rows is committed");
        assert_eq!(written.rows, rows as u64, "a commit tells how many rows were written");
        assert!(written.size_bytes > 0 || rows == 0, "a commit tells how much room the rows take");
        written
    }

    fn nothing(&self, law: &str) {
        assert!(matches!((self.read)(), Err(Error::NotFound { .. })), "{law}");
    }

    fn holds(&self, rows: usize, law: &str) {
        let found =
            (self.read)().unwrap_or_else(|e| panic!("{law}: {e}")).hold().unwrap_or_else(|e| panic!("{law}: {e}"));
        let expected = Dataset::held(self.schema.clone(), [self.whole.slice(0, rows)]).expect("rows of the schema");
        same_rows(&found, &expected, law);
    }

    fn nothing_is_seen_before_the_commit(&self) {
        let writer = self.begin();
        self.nothing("nothing can be seen of a write that began");
        drop(writer);
        self.nothing("a writer that is dropped leaves no trace");
        let writer = self.given(self.whole.num_rows());
        self.nothing("nothing of a write can be seen before its commit");
        drop(writer);
        self.nothing("a writer that is dropped leaves no trace");
    }

    fn everything_is_seen_after_the_commit(&self) {
        let rows = self.whole.num_rows();
        self.commit(rows);
        self.holds(rows, "all of a write can be seen after its commit");
        let mut writer = self.begin();
        for row in 0..rows {
            writer.write(&self.whole.slice(row, 1)).expect("rows of the schema are taken");
        }
        writer.commit().expect("a write of good rows is committed");
        self.holds(rows, "how rows are cut into batches does not matter");
    }

    fn abandoned_and_failed_writes_leave_what_was_there(&self) {
        let rows = self.whole.num_rows();
        let writer = self.given(1);
        self.holds(rows, "nothing of a write can be seen before its commit");
        drop(writer);
        self.holds(rows, "a writer that is dropped leaves no trace");
        for foreign in self.foreign() {
            let mut writer = self.given(1);
            let refused = writer.write(&foreign).err();
            assert!(
                matches!(refused, Some(Error::Schema { .. })),
                "a batch of another schema is `Schema`: {refused:?}"
            );
            assert!(writer.commit().is_err(), "after a write that failed nothing is committed");
            self.holds(rows, "a write that failed leaves what was there");
        }
    }

    /// Batches that are not of the schema: a column too many, one too few, another type.
    fn foreign(&self) -> Vec<RecordBatch> {
        let names = || self.schema.names().map(str::to_owned);
        let columns = || names().zip(self.whole.columns().iter().cloned());
        let nulls = || std::sync::Arc::new(NullArray::new(self.whole.num_rows())) as ArrayRef;
        let batch = |columns: Vec<(String, ArrayRef)>| {
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
                .expect("columns of one length make a batch")
        };
        let mut foreign = vec![batch(columns().chain([("testkit_extra".to_owned(), nulls())]).collect())];
        foreign.push(batch(columns().map(|(name, _)| (name, nulls())).collect()));
        if self.schema.len() > 1 {
            foreign.push(batch(columns().skip(1).collect()));
        }
        foreign
    }

    fn writes_at_once_do_not_mix(&self) {
        let rows = self.whole.num_rows();
        let (abandoned, committed) = (self.given(rows), self.given(1));
        committed.commit().expect("a write of good rows is committed");
        drop(abandoned);
        self.holds(1, "a writer that is dropped takes nothing from another");
        let (one, other) = (self.given(rows), self.given(1));
        one.commit().expect("a write of good rows is committed");
        self.holds(rows, "writes that are open at once do not mix");
        other.commit().expect("a write of good rows is committed");
        self.holds(1, "the last commit is what can be seen");
    }

    fn no_rows_are_a_content_too(&self) {
        self.commit(0);
        self.holds(0, "a write without rows is committed like any other");
        assert_eq!(self.begin().commit().expect("nothing was given").rows, 0, "a write without batches is too");
        self.holds(0, "a write without batches is committed like any other");
    }
}

//! How well rows hide among each other: k-anonymity, l-diversity, t-closeness.
//!
//! Rows with the same values in the columns by which somebody could be recognised (quasi-identifiers) form a class. Values are
//! held as 128-bit digests only, so that neither the measure nor its report can show one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use arrow::array::{Array, RecordBatch};
use arrow::row::{RowConverter, SortField};
use serde::Serialize;

use crate::{Error, Result};

/// Classes, and pairs of class and sensitive value, that are held unless more is allowed.
const CLASSES_MAX_DEFAULT: usize = 1_000_000;
/// Sizes of the smallest classes that a report names.
const SMALLEST_SHOWN: usize = 10;

/// First 128 bits of BLAKE3 over a row of values.
type Digest = [u8; 16];

/// Settings of an [`Anonymity`].
#[derive(Clone, Debug)]
pub struct AnonymityBuilder {
    quasi_identifiers: Vec<String>,
    sensitive: Option<String>,
    classes_max: usize,
}

impl AnonymityBuilder {
    /// Adds columns by which somebody could be recognised, such as age band, sex and province.
    pub fn quasi_identifiers(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.quasi_identifiers.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Column of what must not be learnt about somebody, such as a diagnosis. Default: none; diversity is not measured then.
    pub fn sensitive(mut self, column: impl Into<String>) -> Self {
        self.sensitive = Some(column.into());
        self
    }

    /// Most classes, and most pairs of class and sensitive value, that are held: some 100 bytes each. Default 1 000 000.
    pub fn classes_max(mut self, classes: usize) -> Self {
        self.classes_max = classes;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no quasi-identifier, a column is named twice, or `classes_max` is 0.
    pub fn build(self) -> Result<Anonymity> {
        let mut seen: Vec<_> = self.quasi_identifiers.iter().chain(&self.sensitive).collect();
        seen.sort_unstable();
        if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("quasi_identifiers", pair[0], "a column that is named once"));
        }
        if self.quasi_identifiers.is_empty() {
            return Err(Error::invalid("quasi_identifiers", "[]", "at least one column"));
        }
        if self.classes_max == 0 {
            return Err(Error::invalid("classes_max", 0, "1 or more"));
        }
        Ok(Anonymity {
            settings: self,
            rows: 0,
            classes: HashMap::new(),
            sensitive: HashMap::new(),
            pairs: HashMap::new(),
        })
    }
}

/// Counts classes of rows in one pass over batches.
///
/// Null is a value like any other: a row without a province is one of those without. Memory is bounded by
/// [`classes_max`](AnonymityBuilder::classes_max).
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{ArrayRef, RecordBatch, StringArray};
/// use mlops_core::privacy::Anonymity;
///
/// let column = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
/// let rows = RecordBatch::try_from_iter([
///     ("age", column(vec!["20-29", "20-29", "30-39", "30-39", "30-39"])),
///     ("plan", column(vec!["a", "b", "a", "a", "a"])),
/// ])?;
/// let mut anonymity = Anonymity::builder().quasi_identifiers(["age"]).sensitive("plan").build()?;
/// anonymity.update(&rows)?;
/// let report = anonymity.finish();
/// assert_eq!((report.classes, report.k), (2, 2));
/// assert_eq!(report.l_distinct, Some(1)); // everybody of 30-39 has plan a
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Anonymity {
    settings: AnonymityBuilder,
    rows: u64,
    /// Number and rows of each class.
    classes: HashMap<Digest, (u32, u64)>,
    /// Number and rows of each sensitive value.
    sensitive: HashMap<Digest, (u32, u64)>,
    /// Rows by class and sensitive value.
    pairs: HashMap<(u32, u32), u64>,
}

/// Digests of values that are easily guessed say as much as the values: only numbers are shown.
impl fmt::Debug for Anonymity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, rows, classes, .. } = self;
        let mut shown = f.debug_struct("Anonymity");
        shown.field("settings", settings).field("rows", rows).field("classes", &classes.len()).finish_non_exhaustive()
    }
}

/// How well the rows hide. Sizes only, never values.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AnonymityReport {
    /// Rows read.
    pub rows: u64,
    /// Classes of rows that cannot be told apart.
    pub classes: u64,
    /// Rows of the smallest class; 0 without rows.
    pub k: u64,
    /// Sizes of the ten smallest classes, ascending.
    pub smallest: Vec<u64>,
    /// Rows by size of their class, for classes of one to ten rows.
    pub rows_by_class_size: BTreeMap<u64, u64>,
    /// Distinct sensitive values of the class that has fewest; none without a sensitive column or rows.
    pub l_distinct: Option<u64>,
    /// Entropy l-diversity: `exp(H)` of the class whose sensitive values have the least entropy `H` (in nats).
    pub l_entropy: Option<f64>,
    /// t-closeness with equal distances: greatest total variation between the sensitive values of a class and of all rows,
    /// in `0..=1`.
    pub t_closeness: Option<f64>,
}

impl Anonymity {
    /// Starts with the defaults.
    pub fn builder() -> AnonymityBuilder {
        AnonymityBuilder { quasi_identifiers: Vec::new(), sensitive: None, classes_max: CLASSES_MAX_DEFAULT }
    }

    /// Adds the rows of `batch`.
    ///
    /// # Errors
    /// * [`Error::NotFound`] when a column is not there, [`Error::Schema`] when its type has no order.
    /// * [`Error::InvalidData`] when there are more classes than are held: the quasi-identifiers recognise nearly everybody.
    ///   What was counted before stays, and the measure can only be dropped.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let classes = digests(batch, &self.settings.quasi_identifiers)?;
        let sensitive = match &self.settings.sensitive {
            Some(column) => Some(digests(batch, std::slice::from_ref(column))?),
            None => None,
        };
        let most = self.settings.classes_max;
        for (row, class) in classes.into_iter().enumerate() {
            let class = number(&mut self.classes, class, most)?;
            if let Some(values) = &sensitive {
                let value = number(&mut self.sensitive, values[row], most)?;
                if self.pairs.len() >= most && !self.pairs.contains_key(&(class, value)) {
                    return Err(too_many(most));
                }
                *self.pairs.entry((class, value)).or_default() += 1;
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// What was counted.
    ///
    /// # Source
    /// Sweeney, *k-anonymity: a model for protecting privacy*, 2002; Machanavajjhala et al., *l-diversity*, 2007;
    /// Li et al., *t-closeness*, 2007.
    pub fn finish(self) -> AnonymityReport {
        let mut sizes: Vec<u64> = self.classes.values().map(|class| class.1).collect();
        sizes.sort_unstable();
        let mut rows_by_class_size = BTreeMap::new();
        for size in sizes.iter().take_while(|size| **size <= SMALLEST_SHOWN as u64) {
            *rows_by_class_size.entry(*size).or_default() += size;
        }
        let diversity = self.diversity();
        AnonymityReport {
            rows: self.rows,
            classes: sizes.len() as u64,
            k: sizes.first().copied().unwrap_or(0),
            smallest: sizes.iter().take(SMALLEST_SHOWN).copied().collect(),
            rows_by_class_size,
            l_distinct: diversity.map(|d| d.distinct),
            l_entropy: diversity.map(|d| d.entropy.exp()),
            t_closeness: diversity.map(|d| d.distance),
        }
    }

    fn diversity(&self) -> Option<Diversity> {
        let mut overall = vec![0.0; self.sensitive.len()];
        for (value, rows) in self.sensitive.values() {
            overall[*value as usize] = *rows as f64 / self.rows as f64;
        }
        let mut sizes = vec![0_u64; self.classes.len()];
        for (class, rows) in self.classes.values() {
            sizes[*class as usize] = *rows;
        }
        let mut classes = vec![Diversity { distinct: 0, entropy: 0.0, distance: 1.0 }; self.classes.len()];
        for ((class, value), rows) in &self.pairs {
            let (share, of_all) = (*rows as f64 / sizes[*class as usize] as f64, overall[*value as usize]);
            let own = &mut classes[*class as usize];
            own.distinct += 1;
            own.entropy -= share * share.ln();
            // Total variation is one less what two distributions share.
            own.distance -= share.min(of_all);
        }
        let worst = |a: Diversity, b: Diversity| Diversity {
            distinct: a.distinct.min(b.distinct),
            entropy: a.entropy.min(b.entropy),
            distance: a.distance.max(b.distance),
        };
        let known = !self.pairs.is_empty();
        classes.into_iter().reduce(worst).filter(|_| known).map(|d| Diversity {
            entropy: d.entropy.max(0.0),
            distance: d.distance.clamp(0.0, 1.0),
            ..d
        })
    }
}

#[derive(Clone, Copy)]
struct Diversity {
    distinct: u64,
    entropy: f64,
    distance: f64,
}

fn too_many(most: usize) -> Error {
    Error::invalid_data("anonymity", format!("more than {most} classes, or pairs of class and sensitive value"))
}

/// Counts one more row of `digest`, and returns its number.
fn number(known: &mut HashMap<Digest, (u32, u64)>, digest: Digest, most: usize) -> Result<u32> {
    let next = known.len();
    if let Some((number, rows)) = known.get_mut(&digest) {
        *rows += 1;
        return Ok(*number);
    }
    if next >= most {
        return Err(too_many(most));
    }
    let next = u32::try_from(next).map_err(|_| too_many(most))?;
    known.insert(digest, (next, 1));
    Ok(next)
}

fn digests(batch: &RecordBatch, columns: &[String]) -> Result<Vec<Digest>> {
    let (mut fields, mut values) = (Vec::new(), Vec::new());
    for name in columns {
        let column = batch.column_by_name(name).ok_or_else(|| Error::not_found("column", name))?;
        let field = SortField::new(column.data_type().clone());
        if !RowConverter::supports_fields(std::slice::from_ref(&field)) {
            return Err(Error::schema(name, "values that can be compared", column.data_type()));
        }
        fields.push(field);
        values.push(column.clone());
    }
    let rows = RowConverter::new(fields)?.convert_columns(&values)?;
    Ok(rows.iter().map(|row| first_half(blake3::hash(row.data()).as_bytes())).collect())
}

fn first_half(hash: &[u8; 32]) -> Digest {
    std::array::from_fn(|i| hash[i])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn patients() -> RecordBatch {
        let text = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let age = Int64Array::from(vec![20, 20, 20, 30, 30, 30, 30, 40, 40]);
        let home = ["HN", "HN", "HN", "HN", "HN", "HN", "HN", "SG", "SG"];
        let illness = ["flu", "flu", "gout", "flu", "gout", "asthma", "flu", "gout", "gout"];
        RecordBatch::try_from_iter([
            ("age", Arc::new(age) as ArrayRef),
            ("home", text(home.iter().copied().map(Some).collect())),
            ("illness", text(illness.iter().copied().map(Some).collect())),
        ])
        .unwrap()
    }

    fn measure(batches: &[RecordBatch]) -> AnonymityReport {
        let builder = Anonymity::builder().quasi_identifiers(["age", "home"]).sensitive("illness");
        let mut anonymity = builder.build().unwrap();
        batches.iter().for_each(|batch| anonymity.update(batch).unwrap());
        anonymity.finish()
    }

    #[test]
    fn classes_are_counted_by_hand() {
        // Classes (20, HN): 3, (30, HN): 4, (40, SG): 2. The last one has gout only: one value, entropy 0, and as 4 of 9
        // rows have gout, distance ½(|1 − 4/9| + 4/9 + 1/9) = 5/9. pycanon 1.3.6 gives 2, 1, 1, 0.5555555555555556.
        let report = measure(&[patients()]);
        assert_eq!((report.rows, report.classes, report.k), (9, 3, 2));
        assert_eq!(report.smallest, [2, 3, 4]);
        assert_eq!(report.rows_by_class_size, [(2, 2), (3, 3), (4, 4)].into());
        assert_eq!((report.l_distinct, report.l_entropy), (Some(1), Some(1.0)));
        assert!((report.t_closeness.unwrap() - 5.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn entropy_diversity_is_that_of_the_least_diverse_class() {
        // (20, HN): shares 2/3, 1/3: exp(0.636514) = 1.889882; (30, HN): 1/2, 1/4, 1/4: exp(1.039721) = 2.828427.
        let report = measure(&[patients().slice(0, 7)]);
        assert_eq!((report.k, report.l_distinct), (3, Some(2)));
        assert!((report.l_entropy.unwrap() - 1.889_881_574_842_309_7).abs() < 1e-12);
    }

    #[test]
    fn nothing_gives_nothing_and_nulls_are_a_value() {
        let report = measure(&[patients().slice(0, 0)]);
        assert_eq!((report.rows, report.k, report.l_distinct, report.t_closeness), (0, 0, None, None));
        let home = Arc::new(StringArray::from(vec![None, None, Some("")])) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("home", home)]).unwrap();
        let mut anonymity = Anonymity::builder().quasi_identifiers(["home"]).build().unwrap();
        anonymity.update(&rows).unwrap();
        let report = anonymity.finish();
        assert_eq!((report.classes, report.smallest, report.l_distinct), (2, vec![1, 2], None));
    }

    #[test]
    fn what_cannot_be_measured_is_said() {
        let builder = || Anonymity::builder().quasi_identifiers(["age", "home"]);
        let mut few = builder().classes_max(2).build().unwrap();
        assert!(matches!(few.update(&patients()), Err(Error::InvalidData { .. })));
        let mut pairs = builder().sensitive("illness").classes_max(4).build().unwrap();
        assert!(matches!(pairs.update(&patients()), Err(Error::InvalidData { .. })));
        let mut missing = Anonymity::builder().quasi_identifiers(["agee"]).build().unwrap();
        assert!(matches!(missing.update(&patients()), Err(Error::NotFound { .. })));
        assert!(Anonymity::builder().build().is_err());
        assert!(builder().sensitive("age").build().is_err());
        assert!(builder().classes_max(0).build().is_err());
    }

    #[test]
    fn neither_the_measure_nor_its_report_shows_a_value() {
        let mut anonymity = Anonymity::builder().quasi_identifiers(["home"]).sensitive("illness").build().unwrap();
        anonymity.update(&patients()).unwrap();
        let shown = format!("{anonymity:?} {:?}", measure(&[patients()]));
        assert!(!shown.contains("flu") && !shown.contains("HN"), "{shown}");
    }

    proptest! {
        #[test]
        fn the_cut_into_batches_does_not_matter(cut in 0_usize..=9) {
            let (one, two) = (measure(&[patients()]), measure(&[patients().slice(0, cut), patients().slice(cut, 9 - cut)]));
            prop_assert_eq!((one.k, one.smallest, one.l_distinct), (two.k, two.smallest, two.l_distinct));
            prop_assert!((one.l_entropy.unwrap() - two.l_entropy.unwrap()).abs() < 1e-12);
        }
    }
}

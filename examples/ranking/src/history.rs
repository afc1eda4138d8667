//! What events tell of offers, customers, and customers with a kind of offer: rates that fade with time.
//!
//! One object learns from the days before the service and from the days after: [`History::learn`] takes what was seen,
//! [`History::flush`] gives the rows that became known. Sums fade by half-lives, so that a key is four numbers however long
//! the past is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mlops_core::EventTime;
use mlops_core::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_features::{Entity, FeatureView, KeyType, ValueType};

use crate::Result;

/// What can be shown, and the two kinds that each offer is of.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    kinds: Vec<String>,
    offers: BTreeMap<i64, (u32, u32)>,
}

impl Catalogue {
    /// Adds an offer.
    pub fn add(&mut self, offer_id: i64, category: &str, maker: &str) {
        let kinds = (self.kind(category), self.kind(maker));
        self.offers.insert(offer_id, kinds);
    }

    fn kind(&mut self, name: &str) -> u32 {
        let known = self.kinds.iter().position(|kind| kind == name);
        known.unwrap_or_else(|| {
            self.kinds.push(name.to_owned());
            self.kinds.len() - 1
        }) as u32
    }

    /// Category and maker of an offer.
    pub fn of(&self, offer_id: i64) -> Option<(&str, &str)> {
        let name = |kind: u32| self.kinds.get(kind as usize).map_or("", String::as_str);
        self.offers.get(&offer_id).map(|(category, maker)| (name(*category), name(*maker)))
    }

    /// All offers, by id.
    pub fn offers(&self) -> impl Iterator<Item = i64> {
        self.offers.keys().copied()
    }
}

/// How fast the past fades, and how much is needed to believe a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistorySettings {
    /// After this time a look counts half in the fast rates.
    pub fast: Duration,
    /// After this time a look counts half in the slow rates.
    pub slow: Duration,
    /// Looks with the rate of everything that are added to each offer.
    pub offer_prior: f64,
    /// The same for customers and their kinds.
    pub customer_prior: f64,
    /// How long after an event it counts as known.
    pub delay: Duration,
}

/// One look at one offer, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// When.
    pub at: EventTime,
    /// Who.
    pub customer_id: i64,
    /// What.
    pub offer_id: i64,
    /// How probable it is that it was looked at, 0 to 1.
    pub looks: f64,
    /// What came of it, 0 to 1.
    pub value: f64,
}

/// Sums that fade.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    at: i64,
    fast: [f64; 2],
    slow: [f64; 2],
}

impl Fading {
    fn add(&mut self, seen: &Seen, settings: &HistorySettings) {
        let lapse = (seen.at.as_micros() - self.at).max(0) as f64;
        let fade = |half_life: Duration| (-lapse / half_life.as_micros() as f64).exp2();
        for (sums, half_life) in [(&mut self.fast, settings.fast), (&mut self.slow, settings.slow)] {
            let fade = fade(half_life);
            sums[0] = sums[0] * fade + seen.value;
            sums[1] = sums[1] * fade + seen.looks;
        }
        self.at = self.at.max(seen.at.as_micros());
    }
}

/// `(value + prior · rate) / (looks + prior)`.
fn rate([value, looks]: [f64; 2], prior: f64, of_all: f64) -> f64 {
    (value + prior * of_all) / (looks + prior)
}

/// Rates of offers, customers, and customers with a category or a maker.
#[derive(Clone, Debug)]
pub struct History {
    settings: HistorySettings,
    catalogue: Catalogue,
    waiting: Vec<Seen>,
    everything: Fading,
    offers: BTreeMap<i64, Fading>,
    customers: BTreeMap<i64, Fading>,
    kinds: BTreeMap<(i64, u32), Fading>,
}

/// The views of a history, in the order of [`History::flush`]'s rows.
///
/// # Errors
/// None in practice: definitions are fixed.
pub fn views() -> Result<[FeatureView; 4]> {
    let offer = Entity::builder("offer").key("offer_id", KeyType::Int64).build()?;
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
    let pair =
        |name, kind: &str| Entity::builder(name).key("customer_id", KeyType::Int64).key(kind, KeyType::Utf8).build();
    let view = |name: &str, entity: Entity, features: &[&str]| {
        let view = FeatureView::builder(name, entity).event_time("event_time").created("created").owner("ranking");
        features.iter().fold(view, |view, feature| view.feature(*feature, ValueType::Float64)).build()
    };
    Ok([
        view("offer_history", offer, &["offer_rate_fast", "offer_rate", "offer_share", "offer_share_fast"])?,
        view("customer_history", customer, &["customer_rate_fast", "customer_rate", "customer_looks"])?,
        view(
            "category_history",
            pair("customer_category", "category")?,
            &["category_rate_fast", "category_rate", "category_looks"],
        )?,
        view("maker_history", pair("customer_maker", "maker")?, &["maker_rate_fast", "maker_rate", "maker_looks"])?,
    ])
}

impl History {
    /// Nothing seen as yet.
    pub fn new(settings: HistorySettings, catalogue: Catalogue) -> Self {
        Self {
            settings,
            catalogue,
            waiting: Vec::new(),
            everything: Fading::default(),
            offers: BTreeMap::new(),
            customers: BTreeMap::new(),
            kinds: BTreeMap::new(),
        }
    }

    /// What can be shown.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Takes note of looks; they count from [`HistorySettings::delay`] after them.
    pub fn learn(&mut self, seen: impl IntoIterator<Item = Seen>) {
        self.waiting.extend(seen);
    }

    /// Looks at an offer, faded slowly, and what came of them; both 0 for an offer that nobody looked at.
    pub fn offer(&self, offer_id: i64) -> [f64; 2] {
        self.offers.get(&offer_id).map_or([0.0; 2], |fading| fading.slow)
    }

    /// The rate of an offer as it stands, between those of its looks and of everything.
    pub fn offer_rate(&self, offer_id: i64) -> f64 {
        rate(self.offer(offer_id), self.settings.offer_prior, self.rate_of_all())
    }

    /// The rate of a customer as it stands.
    pub fn customer_rate(&self, customer_id: i64) -> f64 {
        let sums = self.customers.get(&customer_id).map_or([0.0; 2], |fading| fading.slow);
        rate(sums, self.settings.customer_prior, self.rate_of_all())
    }

    fn rate_of_all(&self) -> f64 {
        let [value, looks] = self.everything.slow;
        if looks > 0.0 { value / looks } else { 0.0 }
    }

    /// Rows of all keys that something became known of until `at`, which is their event time; one batch per view.
    ///
    /// # Errors
    /// None in practice: the columns are those of the views.
    pub fn flush(&mut self, at: EventTime) -> Result<[RecordBatch; 4]> {
        let mut known: Vec<Seen> = Vec::new();
        let delay = self.settings.delay;
        self.waiting.retain(|seen| {
            let ready = seen.at.plus(delay) <= at;
            if ready {
                known.push(*seen);
            }
            !ready
        });
        // A stable sort: whatever order answers came in, sums are added in the order of time, then as they were told.
        known.sort_by_key(|seen| (seen.at, seen.customer_id));
        let (mut offers, mut customers) = (BTreeSet::new(), BTreeSet::new());
        let (mut categories, mut makers) = (BTreeSet::new(), BTreeSet::new());
        for seen in &known {
            let Some((category, maker)) = self.catalogue.offers.get(&seen.offer_id).copied() else { continue };
            self.everything.add(seen, &self.settings);
            self.offers.entry(seen.offer_id).or_default().add(seen, &self.settings);
            self.customers.entry(seen.customer_id).or_default().add(seen, &self.settings);
            let pairs = BTreeSet::from([(seen.customer_id, category), (seen.customer_id, maker)]);
            pairs.into_iter().for_each(|pair| self.kinds.entry(pair).or_default().add(seen, &self.settings));
            offers.insert(seen.offer_id);
            customers.insert(seen.customer_id);
            categories.insert((seen.customer_id, category));
            makers.insert((seen.customer_id, maker));
        }
        let prior = self.settings.customer_prior;
        Ok([
            self.rows(at, self.settings.offer_prior, &[("offer_id", ids(offers.iter()))], "offer", |s| {
                offers.iter().map(|id| s.offers[id]).collect()
            })?,
            self.rows(at, prior, &[("customer_id", ids(customers.iter()))], "customer", |s| {
                customers.iter().map(|id| s.customers[id]).collect()
            })?,
            self.pairs(at, "category", &categories)?,
            self.pairs(at, "maker", &makers)?,
        ])
    }

    fn pairs(&self, at: EventTime, kind: &str, pairs: &BTreeSet<(i64, u32)>) -> Result<RecordBatch> {
        let names: StringArray =
            pairs.iter().map(|(_, kind)| Some(self.catalogue.kinds[*kind as usize].as_str())).collect();
        let keys =
            [("customer_id", ids(pairs.iter().map(|(customer, _)| customer))), (kind, Arc::new(names) as ArrayRef)];
        self.rows(at, self.settings.customer_prior, &keys, kind, |s| pairs.iter().map(|pair| s.kinds[pair]).collect())
    }

    fn rows(
        &self,
        at: EventTime,
        prior: f64,
        keys: &[(&str, ArrayRef)],
        stem: &str,
        sums: impl Fn(&Self) -> Vec<Fading>,
    ) -> Result<RecordBatch> {
        let (sums, of_all) = (sums(self), self.rate_of_all());
        let column = |value: &dyn Fn(&Fading) -> f64| {
            Arc::new(sums.iter().map(value).map(Some).collect::<Float64Array>()) as ArrayRef
        };
        let times = TimestampMicrosecondArray::from(vec![at.as_micros(); sums.len()]).with_timezone("UTC");
        let times: ArrayRef = Arc::new(times);
        let mut columns: Vec<(String, ArrayRef)> =
            keys.iter().map(|(name, key)| ((*name).to_owned(), key.clone())).collect();
        columns.push(("event_time".to_owned(), times.clone()));
        columns.push(("created".to_owned(), times));
        columns.push((format!("{stem}_rate_fast"), column(&|f| rate(f.fast, prior, of_all))));
        columns.push((format!("{stem}_rate"), column(&|f| rate(f.slow, prior, of_all))));
        if stem == "offer" {
            // How much an offer is looked at grows with everything that is: beside the mean offer it can be compared over time.
            let offers = self.offers.len().max(1) as f64;
            let (slow, fast) = (self.everything.slow[1] / offers, self.everything.fast[1] / offers);
            columns.push(("offer_share".to_owned(), column(&|f| f.slow[1] / slow)));
            columns.push(("offer_share_fast".to_owned(), column(&|f| f.fast[1] / fast)));
        } else {
            columns.push((format!("{stem}_looks"), column(&|f| f.slow[1])));
        }
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

fn ids<'a>(ids: impl Iterator<Item = &'a i64>) -> ArrayRef {
    Arc::new(ids.copied().collect::<Int64Array>())
}

#[cfg(test)]
mod tests {
    use mlops_core::arrow::array::AsArray;
    use mlops_core::arrow::datatypes::Float64Type;

    use super::*;

    fn history() -> History {
        let mut catalogue = Catalogue::default();
        catalogue.add(1, "data", "own");
        catalogue.add(2, "voice", "own");
        let settings = HistorySettings {
            fast: Duration::from_secs(10),
            slow: Duration::from_secs(1_000_000),
            offer_prior: 2.0,
            customer_prior: 2.0,
            delay: Duration::from_secs(5),
        };
        History::new(settings, catalogue)
    }

    fn seen(at: i64, offer_id: i64, value: f64) -> Seen {
        Seen { at: EventTime::from_secs(at), customer_id: 7, offer_id, looks: 1.0, value }
    }

    fn value(batch: &RecordBatch, column: &str) -> f64 {
        batch.column_by_name(column).unwrap().as_primitive::<Float64Type>().value(0)
    }

    #[test]
    fn an_event_counts_from_its_delay_on_and_a_key_without_news_has_no_row() {
        let mut history = history();
        history.learn([seen(0, 1, 1.0), seen(1, 2, 0.0)]);
        let rows = history.flush(EventTime::from_secs(4)).unwrap();
        assert!(rows.iter().all(|batch| batch.num_rows() == 0));
        let [offers, customers, categories, makers] = history.flush(EventTime::from_secs(5)).unwrap();
        assert_eq!([offers.num_rows(), customers.num_rows(), categories.num_rows(), makers.num_rows()], [1, 1, 1, 1]);
        // One look with value 1, so everything has rate 1: (1 + 2·1) / (1 + 2).
        assert_eq!((value(&offers, "offer_rate"), value(&offers, "offer_share")), (1.0, 1.0));
        let [offers, _, _, makers] = history.flush(EventTime::from_secs(6)).unwrap();
        // Two looks of everything with value 1 in all: rate 1/2 (the first faded by a millionth). Offer 2: (0 + 2·½) / 3.
        assert!((value(&offers, "offer_rate") - 1.0 / 3.0).abs() < 1e-5);
        assert!((value(&makers, "maker_rate") - 0.5).abs() < 1e-5, "both offers are of one maker");
        assert_eq!(history.flush(EventTime::from_secs(9)).unwrap()[0].num_rows(), 0);
    }

    #[test]
    fn a_half_life_halves() {
        let mut history = history();
        history.learn([seen(0, 1, 1.0), seen(10, 1, 0.0)]);
        let offers = &history.flush(EventTime::from_secs(100)).unwrap()[0];
        // Fast: value 1/2, looks 3/2; everything's slow rate is 1/2: (0.5 + 2·0.5) / 3.5.
        assert!((value(offers, "offer_rate_fast") - 1.5 / 3.5).abs() < 1e-5);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter_and_rows_fit_their_views() {
        let (mut forward, mut backward) = (history(), history());
        let all: Vec<Seen> = (0..50).map(|i| seen(i, 1 + i % 2, f64::from(u8::from(i % 3 == 0)))).collect();
        forward.learn(all.iter().copied());
        backward.learn(all.iter().rev().copied());
        let at = EventTime::from_secs(100);
        let (forward, backward) = (forward.flush(at).unwrap(), backward.flush(at).unwrap());
        assert_eq!(forward, backward);
        for (view, rows) in views().unwrap().iter().zip(&forward) {
            assert_eq!(view.conform(rows).unwrap().num_rows(), rows.num_rows());
        }
    }
}

//! Offers: what can be shown, at which price, from when on.
//!
//! `ln price ~ N(mean of the category, spread)`, rounded to 1 000 VND; margin a share of the price by category;
//! latent appeal and annoyance `~ N(0, 1)`. At the shift the prices of some categories are multiplied by `1 + rise·s`.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use mlops_core::Result;
use rand::Rng;

use crate::customer::hundredths;
use crate::random::{Stream, chance, normal, normals, pick, rng};
use crate::{Settings, World, schema};

/// What an offer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Mobile data.
    Data,
    /// Minutes and messages.
    Voice,
    /// Data and minutes together.
    Combo,
    /// Phones and accessories by instalments.
    Device,
    /// Use abroad.
    Roaming,
    /// Films, music, games.
    Entertainment,
    /// Vouchers of other companies.
    Partner,
}

impl Category {
    /// Number of categories.
    pub const COUNT: usize = 7;

    /// All of them, in the order of [`Category::index`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::Data, Self::Voice, Self::Combo, Self::Device, Self::Roaming, Self::Entertainment, Self::Partner];

    /// As written in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Voice => "voice",
            Self::Combo => "combo",
            Self::Device => "device",
            Self::Roaming => "roaming",
            Self::Entertainment => "entertainment",
            Self::Partner => "partner",
        }
    }

    /// Place in [`Category::ALL`], and in vectors of tastes.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// How the offers of a category are drawn.
struct Line {
    share: f64,
    price: f64,
    spread: f64,
    margin: f64,
    rise: f64,
    gigabytes: bool,
    validity_days: &'static [i64],
    providers: &'static [&'static str],
}

const LINES: [Line; Category::COUNT] = [
    Line {
        share: 0.25,
        price: 90_000.0,
        spread: 0.6,
        margin: 0.55,
        rise: 0.6,
        gigabytes: true,
        validity_days: &[1, 3, 7, 30, 30, 90],
        providers: &["own network"],
    },
    Line {
        share: 0.12,
        price: 60_000.0,
        spread: 0.5,
        margin: 0.6,
        rise: -0.2,
        gigabytes: false,
        validity_days: &[1, 7, 30, 30],
        providers: &["own network"],
    },
    Line {
        share: 0.2,
        price: 140_000.0,
        spread: 0.5,
        margin: 0.45,
        rise: 0.0,
        gigabytes: true,
        validity_days: &[7, 30, 30, 90, 180],
        providers: &["own network"],
    },
    Line {
        share: 0.1,
        price: 300_000.0,
        spread: 0.4,
        margin: 0.15,
        rise: -0.3,
        gigabytes: false,
        validity_days: &[180, 365],
        providers: &["Sao Mai Mobile", "Đông Á Digital", "own store"],
    },
    Line {
        share: 0.08,
        price: 250_000.0,
        spread: 0.5,
        margin: 0.5,
        rise: 0.0,
        gigabytes: true,
        validity_days: &[3, 7, 15, 30],
        providers: &["own network", "partner network"],
    },
    Line {
        share: 0.15,
        price: 60_000.0,
        spread: 0.4,
        margin: 0.3,
        rise: -0.4,
        gigabytes: false,
        validity_days: &[7, 30, 30, 365],
        providers: &["Rạp Nhà", "Nhạc Xanh", "Chơi Vui"],
    },
    Line {
        share: 0.1,
        price: 100_000.0,
        spread: 0.5,
        margin: 0.2,
        rise: 0.3,
        gigabytes: false,
        validity_days: &[15, 30, 60],
        providers: &["Cà Phê Phố", "Xe Nhanh", "Chợ Việt", "Sách Hay"],
    },
];

/// Price and margin of an offer, before or after the shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Terms {
    pub(crate) price: i64,
    pub(crate) margin: i64,
    pub(crate) ln_price: f64,
}

impl Terms {
    fn new(price: f64, margin_share: f64) -> Self {
        let price = ((price / 1_000.0).round() as i64).max(5) * 1_000;
        Self {
            price,
            margin: (price as f64 * margin_share / 100.0).round() as i64 * 100,
            ln_price: (price as f64).ln(),
        }
    }
}

/// An offer with what nobody is told: appeal and annoyance.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) id: i64,
    pub(crate) category: Category,
    /// Before and after the shift.
    pub(crate) terms: [Terms; 2],
    pub(crate) validity_days: i64,
    pub(crate) data_gb: Option<f64>,
    /// Logarithm of the GB in 30 days.
    pub(crate) ln_rate: Option<f64>,
    pub(crate) provider: &'static str,
    pub(crate) appeal: f64,
    pub(crate) annoyance: f64,
}

impl Offer {
    fn at(settings: &Settings, index: u64) -> Self {
        let rng = &mut rng(settings.seed(), Stream::Catalogue, index);
        let drawn = pick(rng, LINES.iter().map(|line| line.share));
        // The first offers cover every category, so that no world lacks one.
        let category = Category::ALL[if index < Category::COUNT as u64 { index as usize } else { drawn }];
        let line = &LINES[category.index()];
        let (z_price, z_margin) = normals(rng);
        let (appeal, annoyance) = normals(rng);
        let price = line.price * (line.spread * z_price).exp();
        let margin = (line.margin * (0.2 * z_margin).exp()).min(0.9);
        let validity_days = line.validity_days[rng.gen_range(0..line.validity_days.len())];
        let rate = (9_f64.ln() + 0.5 * z_price + 0.6 * normal(rng)).exp();
        let data_gb = line.gigabytes.then(|| hundredths(rate * validity_days as f64 / 30.0).max(0.1));
        let moved = 1.0 + line.rise * settings.shift_strength();
        Self {
            id: index as i64 + 1,
            category,
            terms: [Terms::new(price, margin), Terms::new(price * moved, margin)],
            validity_days,
            data_gb,
            ln_rate: data_gb.map(|gb| (gb * 30.0 / validity_days as f64).ln()),
            provider: line.providers[rng.gen_range(0..line.providers.len())],
            appeal,
            // A rich margin is often bought with small print.
            annoyance: annoyance + if chance(rng, margin) { 0.5 } else { -0.5 },
        }
    }

    /// Price and margin now: `shifted` once the shift has come.
    pub(crate) fn terms(&self, shifted: bool) -> Terms {
        self.terms[usize::from(shifted)]
    }
}

/// All offers of the world, ids rising.
pub(crate) fn catalogue(settings: &Settings) -> Vec<Offer> {
    (0..u64::from(settings.offers())).map(|index| Offer::at(settings, index)).collect()
}

/// The offers table as it stands on one day: see [`schema::offers`].
#[derive(Debug, Clone)]
pub struct Offers {
    world: Arc<World>,
    shifted: bool,
    next: usize,
}

impl Offers {
    pub(crate) fn new(world: Arc<World>, day: u32) -> Self {
        let shifted = world.shifted(day);
        Self { world, shifted, next: 0 }
    }
}

impl Iterator for Offers {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let world = Arc::clone(&self.world);
        let rest = world.catalogue.get(self.next..).unwrap_or_default();
        let rows = &rest[..rest.len().min(world.settings.batch_rows())];
        self.next += rows.len();
        let since = world.settings.shift_day().filter(|_| self.shifted).unwrap_or(0);
        let time = world.settings.day_start(since).as_micros();
        (!rows.is_empty()).then(|| batch(rows, self.shifted, time))
    }
}

fn batch(rows: &[Offer], shifted: bool, time: i64) -> Result<RecordBatch> {
    let ints = |value: fn(&Offer, bool) -> i64| {
        Arc::new(rows.iter().map(|offer| value(offer, shifted)).collect::<Int64Array>())
    };
    let texts = |value: fn(&Offer) -> &'static str| Arc::new(StringArray::from_iter_values(rows.iter().map(value)));
    Ok(RecordBatch::try_new(
        schema::offers(),
        vec![
            ints(|offer, _| offer.id),
            texts(|offer| offer.category.as_str()),
            ints(|offer, shifted| offer.terms(shifted).price),
            ints(|offer, shifted| offer.terms(shifted).margin),
            ints(|offer, _| offer.validity_days),
            Arc::new(rows.iter().map(|offer| offer.data_gb).collect::<Float64Array>()),
            texts(|offer| offer.provider),
            Arc::new(TimestampMicrosecondArray::from_value(time, rows.len()).with_timezone("UTC")),
        ],
    )?)
}

//! What customers like, and what they do about it.
//!
//! Taste of customer c for category k: `t = 0.9·W x + 0.9·h`, where `x` holds seven things that the shop can see
//! (youth, contract, business, spend, data, 5G, simple phone) and `h ~ N(0, 1)` is hidden: only the customer's
//! own clicks tell of it. From the shift on, with `θ = strength·π/2`, `t'[k] = cos θ·t[k] + sin θ·t[k + 3 mod 7]`.
//!
//! Utility of offer o: `u = base[k] + t[k] + 0.7·appeal − 0.45·|ln price − ln budget| − 0.3·|ln rate − ln data|`, where the
//! budget is two thirds of the monthly spend and the last term is there for offers with data only.
//!
//! * click, once seen: `σ(u − 2.6)`
//! * purchase, once clicked: `σ(0.6·u − 0.3·(ln price − ln budget) − 2.3)`
//! * complaint, once purchased: `σ(0.7·annoyance − 0.5·u − 1.4)`

use crate::customer::{Device, Person, Plan};
use crate::offer::{Category, Offer};
use crate::random::{Stream, normals, rng, sigmoid};

const FEATURES: usize = 7;

/// Mean liking of the categories.
const BASE: [f64; Category::COUNT] = [0.4, 0.0, 0.2, -0.1, -0.5, 0.3, 0.0];

/// How the visible features bend the tastes: a row a category, a column a feature.
const WEIGHTS: [[f64; FEATURES]; Category::COUNT] = [
    [0.5, -0.4, -0.4, -0.2, 0.8, 0.4, -1.0],
    [-0.8, 0.2, 0.3, 0.0, -0.6, -0.4, 1.2],
    [-0.2, 1.5, 0.4, 0.3, 0.2, 0.0, 0.0],
    [0.3, 0.3, 0.0, 0.6, 0.0, -1.2, 0.6],
    [-0.3, 0.3, 2.2, 0.7, -0.1, 0.2, -0.3],
    [0.8, -0.2, -0.8, 0.0, 0.4, 0.6, -0.9],
    [-0.2, -0.4, -0.4, -0.7, -0.4, 0.2, 0.3],
];

const VISIBLE: f64 = 0.9;
const HIDDEN: f64 = 0.9;
const APPEAL: f64 = 0.7;
const PRICE: f64 = 0.45;
const NEED: f64 = 0.3;
const ROTATION: usize = 3;

/// Budget of a customer for one offer, as a logarithm: two thirds of the monthly spend.
const LN_BUDGET_SHARE: f64 = -0.405;

/// A customer's likings on one day, ready to be asked about offers.
#[derive(Debug, Clone)]
pub(crate) struct Tastes {
    pub(crate) category: [f64; Category::COUNT],
    ln_budget: f64,
    ln_data: f64,
    shifted: bool,
}

impl Tastes {
    /// Likings of customer number `index`; `shift` is how far the world has turned, `shifted` whether new prices hold.
    pub(crate) fn new(seed: u64, index: u64, person: &Person, shift: f64, shifted: bool) -> Self {
        let visible = features(person);
        let mut hidden = [0.0; Category::COUNT + 1];
        let rng = &mut rng(seed, Stream::Hidden, index);
        hidden.chunks_exact_mut(2).for_each(|pair| (pair[0], pair[1]) = normals(rng));
        let personal: [f64; Category::COUNT] = std::array::from_fn(|k| {
            let seen: f64 = WEIGHTS[k].iter().zip(visible).map(|(w, x)| w * x).sum();
            VISIBLE * seen + HIDDEN * hidden[k]
        });
        let (sin, cos) = (shift * std::f64::consts::FRAC_PI_2).sin_cos();
        let category =
            std::array::from_fn(|k| BASE[k] + cos * personal[k] + sin * personal[(k + ROTATION) % Category::COUNT]);
        Self { category, ln_budget: person.ln_spend + LN_BUDGET_SHARE, ln_data: person.ln_data, shifted }
    }

    /// Utility of `offer`.
    pub(crate) fn utility(&self, offer: &Offer) -> f64 {
        let price = (self.ln_price(offer) - self.ln_budget).abs();
        let need = offer.ln_rate.map_or(0.0, |rate| (rate - self.ln_data).abs());
        self.category[offer.category.index()] + APPEAL * offer.appeal - PRICE * price - NEED * need
    }

    /// Probability of a click once the offer is seen.
    pub(crate) fn click(utility: f64) -> f64 {
        sigmoid(utility - 2.6)
    }

    /// Probability of a purchase once clicked.
    pub(crate) fn purchase(&self, offer: &Offer, utility: f64) -> f64 {
        sigmoid(0.6 * utility - 0.3 * (self.ln_price(offer) - self.ln_budget) - 2.3)
    }

    /// Probability of a complaint once purchased.
    pub(crate) fn complaint(offer: &Offer, utility: f64) -> f64 {
        sigmoid(0.7 * offer.annoyance - 0.5 * utility - 1.4)
    }

    /// Price that the customer sees, in VND.
    pub(crate) fn price(&self, offer: &Offer) -> i64 {
        offer.terms(self.shifted).price
    }

    fn ln_price(&self, offer: &Offer) -> f64 {
        offer.terms(self.shifted).ln_price
    }
}

/// The visible features, each with mean about 0.
fn features(person: &Person) -> [f64; FEATURES] {
    let is = |holds: bool, share: f64| f64::from(u8::from(holds)) - share;
    [
        -person.age(),
        is(matches!(person.plan, Plan::Postpaid | Plan::Family), 0.31),
        is(person.plan == Plan::Business, 0.07),
        person.spend(),
        person.data(),
        is(person.device == Device::Smartphone5g, 0.37),
        is(person.device == Device::FeaturePhone, 0.08),
    ]
}

/// What the logging policy takes for popularity: the utility of `offer` for a customer without personal taste who
/// spends 120 000 VND and uses 8 GB a month.
pub(crate) fn popularity(offer: &Offer, shifted: bool) -> f64 {
    let category = BASE;
    let ln_budget = 120_000_f64.ln() + LN_BUDGET_SHARE;
    Tastes { category, ln_budget, ln_data: 8_f64.ln(), shifted }.utility(offer)
}

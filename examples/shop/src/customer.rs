//! Customers: what the shop can see of them, and the table with its flaws.
//!
//! A customer is a function of the seed and the number, so nothing is kept: age `16 + 60·u^1.6`, plan and device by
//! age, `ln spend ~ N(ln 120 000 + plan, 0.5)`, `ln data ~ N(ln 8 − 0.35·age + device, 0.5)`, exponential tenure since the
//! age of 14 at most.
//! Flaws (missing values, outliers, repeated rows) are in the table only; the model uses the clean values.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use mlops_core::Result;
use mlops_core::time::DAY_US;
use rand::Rng;

use crate::random::{Stream, bits, chance, normals, pick, rng, sigmoid, stream_key, unit};
use crate::settings::START;
use crate::vietnam::{
    GIVEN, MAIL_DOMAINS, MIDDLE, PROVINCES, Province, SERIALS, SURNAMES, citizen_number, mobile_number,
};
use crate::{World, schema};

/// Year of day 0, in which ages are counted.
const YEAR: i64 = 2025;
/// Share of customers whose row is followed by a copy of an earlier one.
const COPIES: f64 = 0.003;
/// A copy stands at most this many rows below its original.
const COPY_DISTANCE: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Prepaid,
    Postpaid,
    Family,
    Business,
}

impl Plan {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Prepaid => "prepaid",
            Self::Postpaid => "postpaid",
            Self::Family => "family",
            Self::Business => "business",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Smartphone5g,
    Smartphone4g,
    FeaturePhone,
    Tablet,
    Router,
}

impl Device {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Smartphone5g => "smartphone_5g",
            Self::Smartphone4g => "smartphone_4g",
            Self::FeaturePhone => "feature_phone",
            Self::Tablet => "tablet",
            Self::Router => "router",
        }
    }
}

/// What the shop can know of a customer and what tastes depend on, as it truly was on day 0.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) female: bool,
    pub(crate) birth_year: i64,
    pub(crate) plan: Plan,
    pub(crate) device: Device,
    pub(crate) tenure_days: i64,
    pub(crate) ln_spend: f64,
    pub(crate) ln_data: f64,
}

impl Person {
    /// Customer number `index`, from 0.
    pub(crate) fn at(seed: u64, index: u64) -> Self {
        let rng = &mut rng(seed, Stream::Person, index);
        let age = 16.0 + 60.0 * unit(rng.r#gen()).powf(1.6);
        let birth_year = YEAR - age as i64;
        let old = age_score(birth_year);
        let plan = match unit(rng.r#gen()) {
            u if u < 0.62 => Plan::Prepaid,
            u if u < 0.85 => Plan::Postpaid,
            u if u < 0.93 => Plan::Family,
            _ => Plan::Business,
        };
        let device = Self::device(rng.r#gen(), old);
        let lift = match plan {
            Plan::Prepaid => 0.0,
            Plan::Postpaid => 0.45,
            Plan::Family => 0.6,
            Plan::Business => 0.9,
        };
        let reach = match device {
            Device::Smartphone5g => 0.4,
            Device::FeaturePhone => -1.2,
            Device::Router => 1.0,
            Device::Smartphone4g | Device::Tablet => 0.0,
        };
        let (spend, data) = normals(rng);
        Self {
            female: chance(rng, 0.5),
            birth_year,
            plan,
            device,
            tenure_days: (1.0 - 900.0 * unit(rng.r#gen()).ln()).min(6_000.0).min(365.0 * (age - 14.0)) as i64,
            ln_spend: 120_000_f64.ln() + lift + 0.5 * spend,
            ln_data: 8_f64.ln() - 0.35 * old + reach + 0.5 * data,
        }
    }

    fn device(word: u64, old: f64) -> Device {
        let share = unit(word);
        let feature_phone = sigmoid(-3.0 + 1.3 * old);
        let fast = 0.9 * sigmoid(-0.4 - 0.9 * old) * (1.0 - feature_phone);
        match share {
            u if u < feature_phone => Device::FeaturePhone,
            u if u < feature_phone + fast => Device::Smartphone5g,
            u if u > 0.98 => Device::Router,
            u if u > 0.94 => Device::Tablet,
            _ => Device::Smartphone4g,
        }
    }

    /// Standardised age: 0 at 38, 1 at 55.
    pub(crate) fn age(&self) -> f64 {
        age_score(self.birth_year)
    }

    /// Standardised logarithm of the monthly spend.
    pub(crate) fn spend(&self) -> f64 {
        (self.ln_spend - 11.96) / 0.59
    }

    /// Standardised logarithm of the data used.
    pub(crate) fn data(&self) -> f64 {
        (self.ln_data - 2.1) / 0.77
    }
}

fn age_score(birth_year: i64) -> f64 {
    ((YEAR - birth_year) as f64 - 38.0) / 17.0
}

/// The customers table, batch by batch: see [`schema::customers`].
///
/// Rows come in the order of the ids, but for about 0.3 % of repeated rows, each at most 64 rows below its original.
#[derive(Debug, Clone)]
pub struct Customers {
    world: Arc<World>,
    next: u64,
    copy: Option<u64>,
}

impl Customers {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world, next: 0, copy: None }
    }

    fn next_row(&mut self) -> Option<u64> {
        if let Some(copy) = self.copy.take() {
            return Some(copy);
        }
        let settings = &self.world.settings;
        let index = (self.next < u64::from(settings.customers())).then_some(self.next)?;
        self.next += 1;
        let word = bits(stream_key(settings.seed(), Stream::Copies), index);
        if unit(word) < COPIES {
            self.copy = Some(index - (word % COPY_DISTANCE).min(index));
        }
        Some(index)
    }
}

impl Iterator for Customers {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.world.settings.batch_rows();
        let mut columns = Columns::default();
        while columns.rows < rows {
            match self.next_row() {
                Some(index) => columns.push(&self.world, index),
                None => break,
            }
        }
        (columns.rows > 0).then(|| columns.finish())
    }
}

#[derive(Default)]
struct Columns {
    rows: usize,
    id: Int64Builder,
    name: StringBuilder,
    cccd: StringBuilder,
    phone: StringBuilder,
    email: StringBuilder,
    birth_year: Int64Builder,
    province: StringBuilder,
    plan: StringBuilder,
    tenure: Int64Builder,
    spend: Float64Builder,
    data: Float64Builder,
    device: StringBuilder,
    signup: TimestampMicrosecondBuilder,
    text: String,
}

impl Columns {
    fn push(&mut self, world: &World, index: u64) {
        let seed = world.settings.seed();
        let person = Person::at(seed, index);
        let flaws = &mut rng(seed, Stream::Flaws, index);
        self.rows += 1;
        self.id.append_value(index as i64 + 1);
        self.identity(world, index, &person, [chance(flaws, 0.03), chance(flaws, 0.04), chance(flaws, 0.03)]);
        let year = if chance(flaws, 0.001) { 1900 } else { person.birth_year };
        self.birth_year.append_option((!chance(flaws, 0.03)).then_some(year));
        self.plan.append_value(person.plan.as_str());
        self.tenure.append_value(person.tenure_days);
        let wrong = if chance(flaws, 0.002) { 50.0 + 150.0 * unit(flaws.r#gen()) } else { 1.0 };
        let spend = (person.ln_spend.exp() * wrong).round();
        self.spend.append_option((!chance(flaws, 0.04)).then_some(spend));
        let data = if chance(flaws, 0.002) { -1.0 } else { hundredths(person.ln_data.exp()) };
        self.data.append_option((!chance(flaws, 0.05)).then_some(data));
        self.device.append_option((!chance(flaws, 0.04)).then_some(person.device.as_str()));
        let moment = (unit(flaws.r#gen()) * DAY_US as f64) as i64;
        self.signup.append_value(START.as_micros() - person.tenure_days * DAY_US - moment);
    }

    /// Name, citizen number, phone, e-mail and province; `missing`: citizen number, e-mail, province.
    fn identity(&mut self, world: &World, index: u64, person: &Person, missing: [bool; 3]) {
        let [no_cccd, no_email, no_province] = missing;
        let rng = &mut rng(world.settings.seed(), Stream::Identity, index);
        let home = province(rng);
        let birth = if chance(rng, 0.75) { home } else { province(rng) };
        let (surname, plain_surname, _) = SURNAMES[pick(rng, SURNAMES.iter().map(|s| f64::from(s.2)))];
        let sex = usize::from(person.female);
        let middle = MIDDLE[sex][rng.gen_range(0..MIDDLE[sex].len())];
        let (given, plain_given) = GIVEN[sex][rng.gen_range(0..GIVEN[sex].len())];
        self.text.clear();
        let _ = write!(self.text, "{surname} {middle} {given}");
        self.name.append_value(&self.text);

        citizen_number(&mut self.text, birth, person.female, person.birth_year, world.serials.at(index % SERIALS));
        self.cccd.append_option((!no_cccd).then_some(&self.text));
        let prefix = if chance(rng, 0.08) { "+84" } else { "0" };
        mobile_number(&mut self.text, prefix, world.phones.at(index));
        self.phone.append_value(&self.text);

        let domain = MAIL_DOMAINS[rng.gen_range(0..MAIL_DOMAINS.len())];
        self.text.clear();
        let _ = write!(self.text, "{plain_given}.{plain_surname}{}@{domain}", index + 1);
        self.email.append_option((!no_email).then_some(&self.text));
        self.province.append_option((!no_province).then_some(home.name));
    }

    fn finish(mut self) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(
            schema::customers(),
            vec![
                Arc::new(self.id.finish()),
                Arc::new(self.name.finish()),
                Arc::new(self.cccd.finish()),
                Arc::new(self.phone.finish()),
                Arc::new(self.email.finish()),
                Arc::new(self.birth_year.finish()),
                Arc::new(self.province.finish()),
                Arc::new(self.plan.finish()),
                Arc::new(self.tenure.finish()),
                Arc::new(self.spend.finish()),
                Arc::new(self.data.finish()),
                Arc::new(self.device.finish()),
                Arc::new(self.signup.finish().with_timezone("UTC")),
            ],
        )?)
    }
}

fn province(rng: &mut rand::rngs::SmallRng) -> &'static Province {
    &PROVINCES[pick(rng, PROVINCES.iter().map(|p| f64::from(p.weight)))]
}

/// Rounded to two decimals.
pub(crate) fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

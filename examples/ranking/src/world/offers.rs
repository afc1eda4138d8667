//! The generated shop of telecom offers: customers with personal data and flaws, prices that change, tastes that turn.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mlops_core::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::arrow::compute::cast;
use mlops_core::arrow::datatypes::{DataType, Int64Type};
use mlops_core::clean::{Action as Clean, Chain, Dedup, Fence, Impute, Outliers, Strategy};
use mlops_core::privacy::{Action, Kind, Policy};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::{
    Comparison, CsvSink, CsvSource, DataSink, JsonSink, JsonSource, ParquetSink, ParquetSource, Predicate, ScanRequest,
};
use mlops_core::validate::{NullRatio, OneOf, Range as Within, Severity, Suite, Unique};
use mlops_core::{Dataset, Error, EventTime, Schema};
use mlops_features::{Entity, FeatureView, KeyType, ValueType};
use shop::{Category, Settings, Shop, grade};

use super::{Ask, Plan, Reaction, Trusted, World};
use crate::Result;
use crate::bias::{PositionBias, Shown};
use crate::derive::{Derived, numbers};
use crate::features::{LABEL, texts};
use crate::history::{Catalogue, History, HistorySettings};
use crate::intake::Intake;

const PLANS: [&str; 4] = ["prepaid", "postpaid", "family", "business"];
const DEVICES: [&str; 5] = ["smartphone_5g", "smartphone_4g", "feature_phone", "tablet", "router"];
/// Clicks come within ten minutes of the page.
const CLICK_WINDOW: Duration = Duration::from_mins(30);

/// The shop, and what intake learned of it.
#[derive(Debug)]
pub struct OfferShop {
    shop: Shop,
    plan: Plan,
    customers: OnceLock<RecordBatch>,
    /// Usage of the days of history, which comes in at once.
    measured: OnceLock<Dataset>,
    bias: OnceLock<PositionBias>,
}

impl OfferShop {
    /// A shop of 2 000 customers and 300 offers, or a small one.
    ///
    /// # Errors
    /// None in practice: the sizes are those that a shop can have.
    pub fn new(small: bool, seed: u64) -> Result<Self> {
        let (history, before, after) = if small { (6, 2, 8) } else { (14, 2, 8) };
        let turn = history + before;
        let sizes = if small {
            Settings::builder().customers(300).offers(80).candidates(40).slots(8).requests_per_day(500)
        } else {
            Settings::builder().customers(2_000).offers(300).candidates(100).slots(10).requests_per_day(2_000)
        };
        let settings = sizes.seed(seed).days(turn + after).shift_day(Some(turn)).build()?;
        let plan = Plan {
            history: 0..history,
            live: history..turn + after,
            turn,
            window: Duration::from_hours(24),
            page: settings.slots() as usize,
            sells: true,
            click_window: CLICK_WINDOW,
            by_request: false,
            age_max: None,
            explore: 0.15,
        };
        Ok(Self {
            shop: Shop::new(settings),
            plan,
            customers: OnceLock::new(),
            measured: OnceLock::new(),
            bias: OnceLock::new(),
        })
    }

    /// How much less is seen further down the page, as intake estimated it.
    pub fn bias(&self) -> PositionBias {
        self.bias.get().copied().unwrap_or(PositionBias::NONE)
    }

    fn generate(&self, dir: &Path, intake: &Intake) -> Result<()> {
        intake.stage("raw files", 3);
        write(self.shop.customers(), &CsvSink::new(dir.join("customers.csv")), &shop::schema::customers())?;
        intake.step();
        write(self.shop.offers(), &JsonSink::new(dir.join("offers.jsonl")), &shop::schema::offers())?;
        intake.step();
        let impressions = self.shop.impressions(self.plan.history.clone());
        write(impressions, &ParquetSink::new(dir.join("impressions.parquet")), &shop::schema::impressions())?;
        intake.step();
        Ok(())
    }

    /// Usage that was measured in `days`, which comes in as a feed of its own.
    fn usage(&self, feed: &str, days: Range<u32>, intake: &Intake) -> Result<Dataset> {
        let schema = Schema::new(shop::schema::usage())?
            .with_role("customer_id", Role::Key)?
            .with_role("event_time", Role::EventTime)?
            .with_unit("monthly_spend", "VND")?;
        let batches = self.shop.usage(days).collect::<mlops_core::Result<Vec<_>>>()?;
        let named = |stage: &str| format!("usage_{stage}{feed}");
        let (raw, masked, clean, own) = (named("raw_"), named("masked_"), named("clean_"), named(""));
        let mut flow = intake.flow("usage");
        flow.raw(&(raw.clone(), Dataset::held(schema, batches)?), "raw")?;
        // Texts are typed by people, and measurements are not: what looks like a number of somebody is none.
        let measurements = ["customer_id", "tenure_days", "monthly_spend", "data_gb", "event_time"];
        let policy = measurements.into_iter().fold(Policy::builder(), |policy, name| policy.column(name, Action::Keep));
        flow.mask(&masked, &raw, policy.build()?)?;
        flow.clean(&clean, &masked, usage_cleaning()?)?;
        flow.check(&own, &clean, usage_suite()?)?;
        flow.run()?.remove(&own).map(|(_, data)| data).ok_or_else(|| "usage was not made".into())
    }

    /// Usage that was measured on `day`.
    fn usage_of(&self, day: u32, intake: &Intake) -> Result<Vec<RecordBatch>> {
        let feed = match self.measured.get().filter(|_| self.plan.history.contains(&day)) {
            Some(measured) => measured.clone(),
            None => self.usage(&day.to_string(), day..day + 1, intake)?,
        };
        let on_day = ScanRequest::all()
            .filter(Predicate::new("event_time", Comparison::GtEq, self.day_start(day)))
            .filter(Predicate::new("event_time", Comparison::Lt, self.day_start(day + 1)));
        Ok(feed.scan(&on_day)?.collect::<mlops_core::Result<_>>()?)
    }

    /// Age and nothing else: a model needs no more of who somebody is.
    fn customer_rows(&self) -> Result<RecordBatch> {
        let customers = self.customers.get().ok_or("customers are asked for before intake")?;
        let born = numbers(customers, "birth_year")?;
        let ages: Float64Array = born.iter().map(|year| year.map(|year| 2_025.0 - year)).collect();
        let id = customers.column_by_name("customer_id").ok_or_else(|| Error::not_found("column", "customer_id"))?;
        let times = instants(shop::START, customers.num_rows());
        Ok(RecordBatch::try_from_iter_with_nullable([
            ("customer_id", id.clone(), false),
            ("event_time", times.clone(), false),
            ("created", times, false),
            ("age", Arc::new(ages) as ArrayRef, true),
        ])?)
    }
}

fn write(
    batches: impl Iterator<Item = mlops_core::Result<RecordBatch>>,
    sink: &dyn DataSink,
    schema: &mlops_core::arrow::datatypes::SchemaRef,
) -> Result<()> {
    let mut writer = sink.begin(&Schema::new(schema.clone())?)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.commit()?;
    Ok(())
}

fn instants(at: EventTime, rows: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![at.as_micros(); rows]).with_timezone("UTC"))
}

/// 1 where a text is `wanted`, else 0.
fn flag(texts: &[String], wanted: &str) -> ArrayRef {
    Arc::new(texts.iter().map(|text| Some(f64::from(u8::from(text == wanted)))).collect::<Float64Array>())
}

/// Rows of the `usage` view from the nightly feed of measurements; known from `known` on.
fn usage_rows(batch: &RecordBatch, known: EventTime) -> Result<RecordBatch> {
    let (plans, devices) = (texts(batch, "plan")?, texts(batch, "device")?);
    let float = |name: &str| Ok::<_, Error>(Arc::new(numbers(batch, name)?) as ArrayRef);
    let own = |name: &str| batch.column_by_name(name).cloned().ok_or_else(|| Error::not_found("column", name));
    Ok(RecordBatch::try_from_iter([
        ("customer_id", own("customer_id")?),
        ("event_time", own("event_time")?),
        ("created", instants(known, batch.num_rows())),
        ("tenure_days", float("tenure_days")?),
        ("monthly_spend", float("monthly_spend")?),
        ("monthly_gb", float("data_gb")?),
        ("is_postpaid", flag(&plans, PLANS[1])),
        ("is_family", flag(&plans, PLANS[2])),
        ("is_business", flag(&plans, PLANS[3])),
        ("has_5g", flag(&devices, DEVICES[0])),
        ("has_feature_phone", flag(&devices, DEVICES[2])),
    ])?)
}

/// Rows of the `offer` view, known as soon as true.
fn offer_rows(batch: &RecordBatch) -> Result<RecordBatch> {
    let float = |name: &str| Ok::<_, Error>(Arc::new(numbers(batch, name)?) as ArrayRef);
    let own = |name: &str| batch.column_by_name(name).cloned().ok_or_else(|| Error::not_found("column", name));
    let (gb, days) = (numbers(batch, "data_gb")?, numbers(batch, "validity_days")?);
    let rate: Float64Array = gb.iter().zip(&days).map(|(gb, days)| Some(gb? * 30.0 / days?)).collect();
    let categories = texts(batch, "category")?;
    let mut columns = vec![
        ("offer_id".to_owned(), own("offer_id")?),
        ("event_time".to_owned(), own("event_time")?),
        ("created".to_owned(), own("event_time")?),
        ("price".to_owned(), float("price")?),
        ("margin".to_owned(), float("margin")?),
        ("validity_days".to_owned(), float("validity_days")?),
        ("offer_gb".to_owned(), Arc::new(rate) as ArrayRef),
    ];
    columns.extend(Category::ALL.map(|kind| (is_of(kind), flag(&categories, kind.as_str()))));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn is_of(kind: Category) -> String {
    format!("is_{}", kind.as_str())
}

impl World for OfferShop {
    fn title(&self) -> &'static str {
        "a generated shop of telecom offers"
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn day_start(&self, day: u32) -> EventTime {
        self.shop.settings().day_start(day)
    }

    fn intake(&self, intake: &Intake) -> Result<Trusted> {
        let dir = intake.folder("raw")?;
        self.generate(&dir, intake)?;
        let plain = |schema: mlops_core::arrow::datatypes::SchemaRef| Schema::new(schema);
        let customers = ["full_name", "cccd", "phone", "email", "birth_year"]
            .into_iter()
            .try_fold(plain(shop::schema::customers())?, |schema, name| {
                schema.with_sensitivity(name, Sensitivity::Personal)
            })?
            .with_role("customer_id", Role::Key)?
            .with_unit("monthly_spend", "VND")?;
        let customers = CsvSource::builder(dir.join("customers.csv")).schema(customers).build()?;
        let offers = plain(shop::schema::offers())?.with_role("offer_id", Role::Key)?.with_unit("price", "VND")?;
        let offers = JsonSource::builder(dir.join("offers.jsonl")).schema(offers).build()?;
        let impressions = plain(shop::schema::impressions())?
            .with_role("event_time", Role::EventTime)?
            .with_role("clicked", Role::Label)?;
        let impressions = ParquetSource::builder(dir.join("impressions.parquet")).schema(impressions).build()?;

        let raw = [
            ("customers_raw".to_owned(), Dataset::from_source(Arc::new(customers))?),
            ("offers_raw".to_owned(), Dataset::from_source(Arc::new(offers))?),
            ("impressions_raw".to_owned(), Dataset::from_source(Arc::new(impressions))?),
        ];
        let policy = Policy::builder()
            .column("full_name", Action::Drop)
            .kind(Kind::Cccd, Action::Token)
            .kind(Kind::Phone, Action::Token)
            .kind(Kind::Email, Action::Redact)
            .build()?;
        let mut flow = intake.flow("shop");
        flow.raw(&raw[0], "raw, with personal data")?;
        flow.raw(&raw[1], "raw")?;
        flow.raw(&raw[2], "raw")?;
        flow.mask("customers_masked", "customers_raw", policy)?;
        flow.clean("customers_clean", "customers_masked", customers_cleaning()?)?;
        flow.check("customers", "customers_clean", customers_suite()?)?;
        flow.check("offers", "offers_raw", offers_suite()?)?;
        flow.check("impressions_checked", "impressions_raw", impressions_suite(self.plan.page)?)?;
        flow.derive("impressions", "impressions_checked", &["offers"], "1", |with| {
            let catalogue = catalogue(&with[0])?;
            Ok(Arc::new(move |batch: &RecordBatch| spine(batch, &catalogue)))
        })?;
        let made = flow.run()?;
        let data = |name: &str| &made[name].1;

        let spine = data("impressions").clone();
        let _ = self.bias.set(PositionBias::estimate(shown(&spine)?)?);
        let _ = self.customers.set(data("customers").to_batch()?);
        let measured = self.plan.history.start..self.plan.history.end;
        let _ = self.measured.set(self.usage("history", measured, intake)?);
        Ok(Trusted { catalogue: catalogue(data("offers"))?, impressions: spine, raw: raw.to_vec() })
    }

    fn views(&self) -> Result<Vec<FeatureView>> {
        let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
        let offer = Entity::builder("offer").key("offer_id", KeyType::Int64).build()?;
        let view = |name: &str, entity: &Entity| {
            FeatureView::builder(name, entity.clone()).event_time("event_time").created("created").owner("shop")
        };
        let floats = |builder: mlops_features::FeatureViewBuilder, names: Vec<String>| {
            names.into_iter().fold(builder, |view, name| view.feature(name, ValueType::Float64))
        };
        let usage = [
            "tenure_days",
            "monthly_spend",
            "monthly_gb",
            "is_postpaid",
            "is_family",
            "is_business",
            "has_5g",
            "has_feature_phone",
        ];
        let mut terms: Vec<String> = ["price", "margin", "validity_days", "offer_gb"].map(str::to_owned).to_vec();
        terms.extend(Category::ALL.map(is_of));
        Ok(vec![
            view("customer", &customer).sensitive("age", ValueType::Float64, Sensitivity::Personal).build()?,
            floats(view("usage", &customer), usage.map(str::to_owned).to_vec())
                .ttl(Duration::from_hours(24 * 21))
                .build()?,
            floats(view("offer", &offer), terms).build()?,
        ])
    }

    fn facts(&self, day: u32, intake: &Intake) -> Result<Vec<Vec<RecordBatch>>> {
        let customers = if day == self.plan.history.start { vec![self.customer_rows()?] } else { Vec::new() };
        let usage = day.checked_sub(1).map_or_else(|| Ok(Vec::new()), |measured| self.usage_of(measured, intake))?;
        let usage = usage.iter().map(|batch| usage_rows(batch, self.day_start(day)));
        let offers = match day {
            0 => self.shop.offers().map(|batch| offer_rows(&batch?)).collect::<Result<Vec<_>>>()?,
            day if day == self.plan.turn => {
                self.shop.offers_on(day).map(|batch| offer_rows(&batch?)).collect::<Result<Vec<_>>>()?
            }
            _ => Vec::new(),
        };
        Ok(vec![customers, usage.collect::<Result<_>>()?, offers])
    }

    fn derived(&self) -> Vec<Derived> {
        vec![
            // The budget for one offer is about two thirds of the monthly spend.
            Derived {
                name: "ln_price_over_spend",
                inputs: &["price", "monthly_spend"],
                compute: |x| (x[0] / x[1]).ln(),
            },
            Derived { name: "ln_gb_over_use", inputs: &["offer_gb", "monthly_gb"], compute: |x| (x[0] / x[1]).ln() },
            Derived {
                name: "category_lift",
                inputs: &["category_rate", "customer_rate"],
                compute: |x| if x[1] > 0.0 { x[0] / x[1] } else { f64::NAN },
            },
            Derived {
                name: "category_lift_fast",
                inputs: &["category_rate_fast", "customer_rate_fast"],
                compute: |x| if x[1] > 0.0 { x[0] / x[1] } else { f64::NAN },
            },
        ]
    }

    fn history(&self) -> HistorySettings {
        HistorySettings {
            fast: Duration::from_hours(36),
            slow: Duration::from_hours(24 * 30),
            offer_prior: 20.0,
            customer_prior: 5.0,
            delay: CLICK_WINDOW + Duration::from_mins(5),
        }
    }

    fn watched(&self) -> Vec<&'static str> {
        vec![
            "tenure_days",
            "monthly_spend",
            "monthly_gb",
            "has_5g",
            "price",
            "margin",
            "ln_price_over_spend",
            "ln_gb_over_use",
        ]
    }

    fn popularity(&self, history: &History, offer_id: i64) -> f64 {
        history.offer_rate(offer_id)
    }

    fn asks(&self, day: u32) -> Result<Vec<Ask>> {
        let ask = |request: shop::Request| Ask {
            id: request.request_id as u64,
            customer_id: request.customer_id,
            at: request.event_time,
            candidates: request.candidates,
        };
        Ok(self.shop.requests(day..day + 1).map(ask).collect())
    }

    fn react(&self, ask: &Ask, page: &[i64]) -> Result<Vec<Reaction>> {
        let outcomes = self.shop.respond(&request(ask), page)?;
        let bias = self.bias();
        let reaction = |outcome: shop::Outcome| Reaction {
            offer_id: outcome.offer_id,
            position: Some(outcome.position),
            clicked_at: outcome.click_time,
            revenue: outcome.revenue as f64,
            looks: bias.looks(outcome.position),
            value: f64::from(u8::from(outcome.clicked())),
        };
        Ok(outcomes.into_iter().map(reaction).collect())
    }

    fn told(&self, _: u32) -> Result<Option<Dataset>> {
        Ok(None)
    }

    fn grades(&self, ask: &Ask) -> Result<Vec<u8>> {
        Ok(self.shop.relevances(&request(ask))?.into_iter().map(grade).collect())
    }

    fn looks(&self, position: u32) -> f64 {
        self.bias().looks(position)
    }
}

/// A request as the shop knows it.
fn request(ask: &Ask) -> shop::Request {
    let since = ask.at.since(shop::START).as_micros() as i64;
    shop::Request {
        request_id: ask.id as i64,
        customer_id: ask.customer_id,
        day: u32::try_from(since / mlops_core::time::DAY_US).unwrap_or(u32::MAX),
        event_time: ask.at,
        candidates: ask.candidates.clone(),
    }
}

/// What can be shown, from checked offers.
fn catalogue(offers: &Dataset) -> mlops_core::Result<Catalogue> {
    let mut catalogue = Catalogue::default();
    let table = offers.to_batch()?;
    let ids = table["offer_id"].as_primitive::<Int64Type>();
    for ((id, category), maker) in ids.values().iter().zip(texts(&table, "category")?).zip(texts(&table, "provider")?) {
        catalogue.add(*id, &category, &maker);
    }
    Ok(catalogue)
}

/// Impressions as rows of the spine: request ids as the service writes them, the kinds of the offer, places as numbers.
fn spine(batch: &RecordBatch, catalogue: &Catalogue) -> mlops_core::Result<RecordBatch> {
    let int = |name: &str| {
        let column = batch.column_by_name(name).ok_or_else(|| Error::not_found("column", name))?;
        column.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::schema(name, "64-bit integers", column.data_type()))
    };
    let requests: StringArray = int("request_id")?.values().iter().map(|id| Some(format!("{id:032x}"))).collect();
    let offers = int("offer_id")?;
    let kinds = |pick: fn((&str, &str)) -> String| -> StringArray {
        offers.values().iter().map(|offer| catalogue.of(*offer).map(pick)).collect()
    };
    let own = |name: &str| batch.column_by_name(name).cloned().ok_or_else(|| Error::not_found("column", name));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("request_id", Arc::new(requests) as ArrayRef, false),
        ("customer_id", own("customer_id")?, false),
        ("offer_id", own("offer_id")?, false),
        ("category", Arc::new(kinds(|(category, _)| category.to_owned())), true),
        ("maker", Arc::new(kinds(|(_, maker)| maker.to_owned())), true),
        ("position", own("position")?, false),
        ("event_time", own("event_time")?, false),
        (LABEL, cast(&own("clicked")?, &DataType::Float64)?, false),
    ])?)
}

fn shown(spine: &Dataset) -> Result<Vec<Shown>> {
    let mut rows = Vec::new();
    for batch in spine.batches()? {
        let batch = batch?;
        let (offers, places) = (numbers(&batch, "offer_id")?, numbers(&batch, "position")?);
        let suited = numbers(&batch, LABEL)?;
        rows.extend((0..batch.num_rows()).map(|row| Shown {
            offer_id: offers.value(row) as i64,
            position: places.value(row) as u32,
            clicked: suited.value(row) > 0.0,
        }));
    }
    Ok(rows)
}

/// Repeated rows go; what cannot be true is missing; what is missing is filled.
fn customers_cleaning() -> Result<Chain> {
    let bounds = |low, high| Fence::Bounds { low: Some(low), high: Some(high) };
    let outliers = Outliers::builder()
        .fence("data_gb", bounds(0.0, 1_000.0), Clean::Null)
        .fence("birth_year", bounds(1_920.0, 2_015.0), Clean::Null)
        .fence("monthly_spend", Fence::Quantiles { low: 0.0, high: 0.995 }, Clean::Clip)
        .build()?;
    let impute = Impute::builder()
        .fill("data_gb", Strategy::Median)
        .fill("monthly_spend", Strategy::Median)
        .fill("device", Strategy::MostFrequent)
        .fill("province", Strategy::constant("unknown"))
        .build()?;
    Ok(Chain::builder().then(Dedup::builder().keys("customer_id").build()?).then(outliers).then(impute).build()?)
}

/// What was measured twice counts once; what cannot be true is missing, and stays so.
fn usage_cleaning() -> Result<Chain> {
    let bounds = |high| Fence::Bounds { low: Some(0.0), high: Some(high) };
    let outliers = Outliers::builder()
        .fence("data_gb", bounds(10_000.0), Clean::Null)
        .fence("monthly_spend", bounds(1e9), Clean::Null)
        .build()?;
    Ok(Chain::builder().then(Dedup::builder().keys(["customer_id", "event_time"]).build()?).then(outliers).build()?)
}

fn usage_suite() -> Result<Suite> {
    Ok(Suite::new()
        .rule("customer_known", NullRatio::of("customer_id"))?
        .rule("measured_once", Unique::of(["customer_id", "event_time"]))?
        .rule("spend_known", NullRatio::of("monthly_spend"))?
        .rule("tenure_sane", Within::of("tenure_days").at_least(0))?
        .rule("plan_known", OneOf::of("plan", PLANS))?
        .rule_at(Severity::Warning, "device_known", OneOf::of("device", DEVICES))?)
}

fn customers_suite() -> Result<Suite> {
    Ok(Suite::new()
        .rule("customer_known", NullRatio::of("customer_id"))?
        .rule("customer_once", Unique::of(["customer_id"]))?
        .rule("birth_year_sane", Within::of("birth_year").at_least(1_920).at_most(2_015))?
        .rule("spend_sane", Within::of("monthly_spend").at_least(0).at_most(5e6))?
        .rule("data_sane", Within::of("data_gb").at_least(0).at_most(1_000))?
        .rule("plan_known", OneOf::of("plan", PLANS))?
        .rule_at(Severity::Warning, "device_known", OneOf::of("device", DEVICES))?)
}

fn offers_suite() -> Result<Suite> {
    Ok(Suite::new()
        .rule("offer_once", Unique::of(["offer_id"]))?
        .rule("price_sane", Within::of("price").above(0).at_most(1e8))?
        .rule("category_known", OneOf::of("category", Category::ALL.map(Category::as_str)))?)
}

fn impressions_suite(page: usize) -> Result<Suite> {
    Ok(Suite::new()
        .rule("shown_once", Unique::of(["request_id", "offer_id"]))?
        .rule("place_on_page", Within::of("position").at_least(0).at_most(page as i64 - 1))?
        .rule("propensity_is_one", Within::of("propensity").above(0).at_most(1))?
        .rule("revenue_sane", Within::of("revenue").at_least(0))?)
}

//! The tables: repeatable, well formed, and true to the model.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use mlops_core::time::DAY_US;
use mlops_core::{Error, Result};

use crate::impression::{CLICK_DELAY_MAX, COMPLAINT_DELAY_MAX, PURCHASE_DELAY_MAX};
use crate::vietnam::PROVINCES;
use crate::{Outcome, Settings, SettingsBuilder, Shop};

fn shop(builder: SettingsBuilder) -> Shop {
    Shop::new(builder.build().unwrap())
}

fn small() -> SettingsBuilder {
    Settings::small().to_builder()
}

fn all(batches: impl Iterator<Item = Result<RecordBatch>>) -> RecordBatch {
    let batches: Vec<RecordBatch> = batches.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn ints(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch[name].as_primitive::<Int64Type>().values().to_vec()
}

fn times(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch[name].as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// The tables of days 4 to 6.
fn tables(shop: &Shop) -> [RecordBatch; 7] {
    [
        all(shop.customers()),
        all(shop.offers()),
        all(shop.usage(4..7)),
        all(shop.impressions(4..7)),
        all(shop.clicks(4..7)),
        all(shop.purchases(4..7)),
        all(shop.complaints(4..7)),
    ]
}

#[test]
fn rows_do_not_depend_on_the_batch_size_but_on_the_seed() {
    let reference = tables(&shop(small()));
    for rows in [1, 7, 1_000_000] {
        assert_eq!(tables(&shop(small().batch_rows(rows))), reference, "batches of {rows}");
    }
    let other = tables(&shop(small().seed(8)));
    assert!(other.iter().zip(&reference).all(|(a, b)| a != b));
}

#[test]
fn batches_are_full_but_for_the_last_of_a_day() {
    let shop = shop(small().batch_rows(500)); // 150 requests of 8 offers: 1 200 rows a day
    let sizes: Vec<usize> = shop.impressions(0..2).map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(sizes, [500, 500, 200, 500, 500, 200]);
}

#[test]
fn a_day_can_be_generated_alone() {
    let shop = shop(small().batch_rows(100_000));
    let days: Vec<RecordBatch> = shop.impressions(0..4).map(Result::unwrap).collect();
    assert_eq!(days.len(), 4);
    assert_eq!(all(shop.impressions(2..3)), days[2]);
    #[expect(clippy::reversed_empty_ranges, reason = "a caller may do so")]
    let nothing = shop.impressions(3..1).count() + shop.requests(3..1).count() + shop.usage(3..1).count();
    assert_eq!(nothing + shop.clicks(3..3).count(), 0);
}

#[test]
fn sizes_are_as_announced_and_times_rise_within_their_day() {
    let shop = shop(small());
    let impressions = all(shop.impressions(shop.all_days()));
    assert_eq!(impressions.num_rows() as u64, shop.settings().expected_impressions());
    let (time, request) = (times(&impressions, "event_time"), ints(&impressions, "request_id"));
    assert!(time.is_sorted() && request.is_sorted());
    for (row, time) in time.iter().enumerate() {
        let day = shop.settings().day_start((row / 1_200) as u32).as_micros();
        assert!((day..day + DAY_US).contains(time));
    }
    assert_eq!(request.first().zip(request.last()), Some((&1, &(14 * 150))));
    assert_eq!(all(shop.offers()).num_rows(), 80);
}

#[test]
fn the_far_future_does_not_overflow() {
    let shop = shop(small());
    let request = shop.request(u32::MAX, 0).unwrap();
    assert!(shop.respond(&request, &request.candidates).is_ok());
    assert!(shop.request(0, 150).is_none());
}

#[test]
fn citizen_numbers_and_phones_are_valid_and_unique() {
    let customers = all(shop(small().customers(20_000)).customers());
    let (cccd, phone) = (customers["cccd"].as_string::<i32>(), customers["phone"].as_string::<i32>());
    let year = customers["birth_year"].as_primitive::<Int64Type>();
    let (mut numbers, mut phones, mut people) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for row in 0..customers.num_rows() {
        people.insert(ints(&customers.slice(row, 1), "customer_id")[0]);
        phones.insert(national(phone.value(row)));
        if cccd.is_null(row) {
            continue;
        }
        let text = cccd.value(row);
        assert!(text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()), "{text}");
        let code: u16 = text[..3].parse().unwrap();
        assert!(PROVINCES.iter().any(|province| province.code == code), "{text}");
        let century: i64 = text[3..4].parse().unwrap();
        let born = 1900 + 100 * (century / 2) + text[4..6].parse::<i64>().unwrap();
        assert!((1940..2025).contains(&born), "{text}");
        assert!(year.is_null(row) || year.value(row) == born || year.value(row) == 1900, "{text}");
        numbers.insert(text);
    }
    assert_eq!((people.len(), phones.len()), (20_000, 20_000));
    assert!((numbers.len() as f64 / 20_000.0 - 0.97).abs() < 0.005);
}

/// The nine national digits, checked against the mobile ranges in use (libphonenumber 9.0.43, region VN).
fn national(phone: &str) -> &str {
    let digits = phone.strip_prefix("+84").or_else(|| phone.strip_prefix('0')).unwrap();
    assert!(digits.len() == 9 && digits.bytes().all(|b| b.is_ascii_digit()), "{phone}");
    let start: u32 = digits[..2].parse().unwrap();
    assert!(matches!(start, 30..=39 | 70 | 76..=79 | 51 | 56 | 58 | 81..=88 | 90..=98), "{phone}");
    digits
}

#[test]
fn the_customers_table_has_a_few_flaws_of_every_kind() {
    let customers = all(shop(small().customers(20_000)).customers());
    let rows = customers.num_rows();
    for (name, share) in [
        ("cccd", 0.03),
        ("email", 0.04),
        ("birth_year", 0.03),
        ("province", 0.03),
        ("monthly_spend", 0.04),
        ("data_gb", 0.05),
        ("device", 0.04),
    ] {
        let found = customers[name].null_count() as f64 / rows as f64;
        assert!((found - share).abs() < 0.01, "{name}: {found}");
    }
    let spend = customers["monthly_spend"].as_primitive::<Float64Type>();
    let high = spend.iter().flatten().filter(|spend| *spend > 4e6).count();
    let data = customers["data_gb"].as_primitive::<Float64Type>();
    let negative = data.iter().flatten().filter(|gb| *gb < 0.0).count();
    assert!((10..100).contains(&high) && (10..100).contains(&negative), "{high} {negative}");
    check_copies(&customers, rows - 20_000);
}

fn check_copies(customers: &RecordBatch, expected: usize) {
    assert!((30..100).contains(&expected), "{expected}"); // 0.3 % of 20 000 is 60
    let mut first = BTreeMap::new();
    let mut copies = 0;
    for (row, id) in ints(customers, "customer_id").into_iter().enumerate() {
        if let Some(original) = first.get(&id) {
            copies += 1;
            assert!(row - original <= 66); // 64 customers, and a copy or two between them
            assert_eq!(customers.slice(row, 1), customers.slice(*original, 1));
        } else {
            first.insert(id, row);
        }
    }
    assert_eq!(copies, expected);
}

#[test]
fn signup_agrees_with_tenure() {
    let customers = all(shop(small()).customers());
    let start = crate::START.as_micros();
    for (time, tenure) in times(&customers, "signup_time").into_iter().zip(ints(&customers, "tenure_days")) {
        assert!((tenure..=tenure + 1).contains(&((start - time) / DAY_US)) && tenure >= 1);
    }
}

#[test]
fn usage_measures_every_customer_once_a_week() {
    let usage = all(shop(small()).usage(3..10));
    let mut ids = ints(&usage, "customer_id");
    ids.sort_unstable();
    assert_eq!(ids, (1..=500).collect::<Vec<i64>>());
    assert!(times(&usage, "event_time").is_sorted());
}

/// Clicks and rows by position.
fn clicks_by_position(shop: &Shop) -> Vec<[f64; 2]> {
    let impressions = all(shop.impressions(shop.all_days()));
    let position = impressions["position"].as_primitive::<Int32Type>();
    let clicked = impressions["clicked"].as_boolean();
    let mut sums = vec![[0.0; 2]; shop.settings().slots() as usize];
    for row in 0..impressions.num_rows() {
        let sum = &mut sums[position.value(row) as usize];
        sum[0] += f64::from(u8::from(clicked.value(row)));
        sum[1] += 1.0;
    }
    sums
}

#[test]
fn clicks_fall_with_the_position_as_the_bias_says() {
    // A nearly uniform policy, so that all positions hold the same offers on average.
    let settings = Settings::builder().policy_noise(100.0).requests_per_day(2_000).position_bias(1.0);
    let sums = clicks_by_position(&shop(settings));
    let rate = |position: usize| sums[position][0] / sums[position][1];
    for position in [1, 3, 9] {
        let (found, expected) = (rate(position) / rate(0), 1.0 / (1.0 + position as f64));
        let error = (1.0 / sums[position][0] + 1.0 / sums[0][0]).sqrt() * expected;
        assert!((found - expected).abs() < 4.0 * error, "position {position}: {found} for {expected}");
    }
}

#[test]
fn propensities_are_those_of_the_policy() {
    let uniform = all(shop(small().offers(10).candidates(10).policy_noise(100.0)).impressions(0..1));
    let position = uniform["position"].as_primitive::<Int32Type>();
    let propensity = uniform["propensity"].as_primitive::<Float64Type>();
    for row in 0..uniform.num_rows() {
        let expected = 1.0 / (10.0 - f64::from(position.value(row)));
        assert!((propensity.value(row) - expected).abs() < 0.1 * expected);
    }
    // With every offer a candidate, the share of an offer at the top is its propensity there.
    let shop = shop(small().offers(10).candidates(10).requests_per_day(3_000).slots(1));
    let top = all(shop.impressions(0..10));
    let propensity = top["propensity"].as_primitive::<Float64Type>();
    let mut counts = BTreeMap::new();
    for (row, offer) in ints(&top, "offer_id").into_iter().enumerate() {
        counts.entry(offer).or_insert((0.0, propensity.value(row))).0 += 1.0;
    }
    for (offer, (count, p)) in counts {
        let error = (p * (1.0 - p) / 30_000.0).sqrt();
        assert!((count / 30_000.0 - p).abs() < 4.0 * error, "offer {offer}: {count} for {p}");
    }
}

#[test]
fn events_come_late_and_agree_with_the_labels() {
    let shop = shop(Settings::builder());
    let impressions = all(shop.impressions(0..10));
    let mut before: BTreeMap<(i64, i64), i64> = keys(&impressions).zip(times(&impressions, "event_time")).collect();
    for (flag, events, most) in [
        ("clicked", all(shop.clicks(0..10)), CLICK_DELAY_MAX),
        ("purchased", all(shop.purchases(0..10)), PURCHASE_DELAY_MAX),
        ("complained", all(shop.complaints(0..10)), COMPLAINT_DELAY_MAX),
    ] {
        let flags = impressions[flag].as_boolean();
        let labelled: Vec<_> =
            keys(&impressions).enumerate().filter(|(row, _)| flags.value(*row)).map(|p| p.1).collect();
        assert_eq!(keys(&events).collect::<Vec<_>>(), labelled, "{flag}");
        let now: BTreeMap<(i64, i64), i64> = keys(&events).zip(times(&events, "event_time")).collect();
        for (key, time) in &now {
            let delay = time - before[key];
            assert!(delay > 0 && delay <= most.as_micros() as i64, "{flag}: {delay}");
        }
        before = now;
    }
    let next_days = before.iter().filter(|((request, _), time)| {
        **time >= shop.settings().day_start(((request - 1) / 700) as u32 + 1).as_micros()
    });
    assert!(next_days.count() * 4 > before.len(), "complaints of later days are common");
    let paid: i64 = ints(&all(shop.purchases(0..10)), "revenue").iter().sum();
    assert_eq!(paid, ints(&impressions, "revenue").iter().sum::<i64>());
}

fn keys(batch: &RecordBatch) -> impl Iterator<Item = (i64, i64)> {
    ints(batch, "request_id").into_iter().zip(ints(batch, "offer_id"))
}

#[test]
fn the_live_shop_and_the_tables_tell_the_same_story() {
    let shop = shop(small().shift_day(Some(2)));
    let impressions = all(shop.impressions(1..4));
    let (clicked, revenue) = (impressions["clicked"].as_boolean(), ints(&impressions, "revenue"));
    let live: Vec<_> = shop
        .requests(1..4)
        .flat_map(|request| {
            let outcomes = shop.respond(&request, &shop.logged_page(&request).unwrap()).unwrap();
            outcomes.into_iter().map(move |o| (request.customer_id, o.offer_id, o.clicked(), o.revenue))
        })
        .collect();
    let (customer, offer) = (ints(&impressions, "customer_id"), ints(&impressions, "offer_id"));
    let table: Vec<_> =
        (0..impressions.num_rows()).map(|row| (customer[row], offer[row], clicked.value(row), revenue[row])).collect();
    assert_eq!(live, table);
}

#[test]
fn candidates_are_different_and_every_offer_has_the_same_chance() {
    let shop = shop(Settings::builder().offers(70).candidates(30).requests_per_day(2_000));
    let mut counts = vec![0.0; 70];
    for request in shop.requests(0..2) {
        let different: BTreeSet<i64> = request.candidates.iter().copied().collect();
        assert_eq!(different.len(), 30);
        for offer in different {
            counts[(offer - 1) as usize] += 1.0;
        }
    }
    let share = 30.0 / 70.0;
    let error = (share * (1.0 - share) / 4_000.0_f64).sqrt();
    assert!(counts.iter().all(|count| (count / 4_000.0 - share).abs() < 4.5 * error), "{counts:?}");
}

#[test]
fn two_rankings_of_a_request_meet_the_same_luck() {
    let shop = shop(small());
    let (mut lost, mut clicks) = (0, 0);
    for request in shop.requests(0..4) {
        let swapped: Vec<i64> = [1, 0, 2, 3].iter().map(|&place| request.candidates[place]).collect();
        let original = shop.respond(&request, &request.candidates[..4]).unwrap();
        let changed = shop.respond(&request, &swapped).unwrap();
        assert_eq!(original[2..], changed[2..], "offers that stay where they are meet the same end");
        for (upper, lower) in [(original[0], changed[1]), (changed[0], original[1])] {
            assert!(upper.examined, "the first position is always seen");
            clicks += usize::from(upper.clicked());
            lost += usize::from(upper.clicked() && !lower.clicked());
            let unseen = Outcome { offer_id: upper.offer_id, position: 1, ..Outcome::default() };
            assert_eq!(lower, if lower.examined { Outcome { position: 1, ..upper } } else { unseen });
        }
    }
    assert!(lost > 0 && lost < clicks, "{lost} of {clicks} clicks were lost on the way down");
}

#[test]
fn rankings_that_cannot_be_shown_are_refused() {
    let shop = shop(small());
    let request = shop.request(0, 0).unwrap();
    let [first, second] = [request.candidates[0], request.candidates[1]];
    for bad in [0, -1, 81, i64::MIN, i64::MAX] {
        assert!(matches!(shop.respond(&request, &[bad]), Err(Error::NotFound { kind: "offer", .. })));
        assert!(shop.relevance(1, bad, 0).is_err());
    }
    assert!(matches!(shop.respond(&request, &[first, second, first]), Err(Error::Invalid { setting: "ranked", .. })));
    for bad in [0, -1, 501, i64::MIN, i64::MAX] {
        let stranger = crate::Request { customer_id: bad, ..request.clone() };
        assert!(matches!(shop.respond(&stranger, &[first]), Err(Error::NotFound { kind: "customer", .. })));
    }
    assert_eq!(shop.respond(&request, &[]).unwrap(), []);
    assert_eq!(shop.respond(&request, &request.candidates).unwrap().len(), 8);
}

/// Population stability index over the deciles of `before`.
fn psi(mut before: Vec<f64>, after: &[f64]) -> f64 {
    before.sort_by(f64::total_cmp);
    let edges: Vec<f64> = (1..10).map(|decile| before[before.len() * decile / 10]).collect();
    let shares = |values: &[f64]| {
        let mut counts = [0.5; 10];
        for value in values {
            counts[edges.partition_point(|edge| edge <= value)] += 1.0;
        }
        counts.map(|count| count / (values.len() as f64 + 5.0))
    };
    let (r, c) = (shares(&before), shares(after));
    r.iter().zip(c).map(|(r, c)| (c - r) * (c / r).ln()).sum()
}

#[test]
fn features_of_the_visitors_and_prices_move_with_the_shift_and_not_before() {
    let (still, turned) = (shop(Settings::builder()), shop(Settings::builder().shift_day(Some(10))));
    assert_eq!(all(still.impressions(0..10)), all(turned.impressions(0..10)));
    assert_eq!(all(still.usage(0..10)), all(turned.usage(0..10)));
    assert_eq!(all(still.offers()), all(turned.offers_on(9)));
    let ages = |shop: &Shop, days| {
        let age = |request: crate::Request| shop.world.person(request.customer_id).unwrap().1.age();
        shop.requests(days).map(age).collect::<Vec<f64>>()
    };
    let data = |shop: &Shop, days| {
        all(shop.usage(days))["data_gb"].as_primitive::<Float64Type>().iter().flatten().collect::<Vec<f64>>()
    };
    // 0.25 is the usual bound for a population that has moved, 0.1 for one that has not.
    assert!(psi(ages(&turned, 0..10), &ages(&turned, 10..20)) > 0.25);
    assert!(psi(ages(&still, 0..10), &ages(&still, 10..20)) < 0.02);
    assert!(psi(data(&turned, 3..10), &data(&turned, 10..17)) > 0.25);
    assert!(psi(data(&still, 3..10), &data(&still, 10..17)) < 0.02);
    let (old, new) = (all(turned.offers_on(9)), all(turned.offers_on(10)));
    let moved = ints(&old, "price").iter().zip(ints(&new, "price")).filter(|(a, b)| **a != *b).count();
    assert!((150..250).contains(&moved), "{moved} of 300 prices");
    assert_eq!(times(&new, "event_time")[0], turned.settings().day_start(10).as_micros());
}

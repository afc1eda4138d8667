//! Simple rankers in the live environment: a better one must be measurably better, and the shift must hurt.

use std::ops::Range;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};

use crate::random::{bits, unit};
use crate::{Category, Request, Settings, Shop, grade};

/// What logged pages tell: clicks and expected looks, by offer and by customer and category.
struct History {
    offers: Vec<[f64; 2]>,
    tastes: Vec<[[f64; 2]; Category::COUNT]>,
    categories: Vec<Category>,
}

impl History {
    fn learn(shop: &Shop, days: Range<u32>) -> Self {
        let categories: Vec<Category> = shop.world.catalogue.iter().map(|offer| offer.category).collect();
        let mut offers = vec![[0.0; 2]; categories.len()];
        let customers = shop.settings().customers() as usize;
        let mut tastes = vec![[[0.0; 2]; Category::COUNT]; customers];
        for batch in shop.impressions(days) {
            let batch = batch.unwrap();
            let int = |name: &str| batch[name].as_primitive::<Int64Type>().values().clone();
            let (customer, offer) = (int("customer_id"), int("offer_id"));
            let position = batch["position"].as_primitive::<Int32Type>();
            let clicked = batch["clicked"].as_boolean();
            for row in 0..batch.num_rows() {
                let looks = shop.settings().examination(position.value(row) as u32);
                let click = f64::from(u8::from(clicked.value(row)));
                let place = (offer[row] - 1) as usize;
                let taste = &mut tastes[(customer[row] - 1) as usize][categories[place].index()];
                for sums in [&mut offers[place], taste] {
                    sums[0] += click;
                    sums[1] += looks;
                }
            }
        }
        Self { offers, tastes, categories }
    }

    fn rate(&self, offer: i64) -> f64 {
        let [clicks, looks] = self.offers[(offer - 1) as usize];
        (clicks + 1.0) / (looks + 10.0)
    }

    fn affinity(&self, customer: i64, offer: i64) -> f64 {
        let category = self.categories[(offer - 1) as usize].index();
        let [clicks, looks] = self.tastes[(customer - 1) as usize][category];
        (clicks + 1.0) / (looks * 0.12 + 1.0)
    }
}

enum Ranker<'a> {
    Random,
    Popularity(&'a History),
    History(&'a History),
    Oracle,
}

impl Ranker<'_> {
    fn rank(&self, shop: &Shop, request: &Request) -> Vec<i64> {
        let truth = shop.truth(request.customer_id, request.day).unwrap();
        let score = |offer: i64| match self {
            Self::Random => unit(bits(request.request_id as u64, offer as u64)),
            Self::Popularity(history) => history.rate(offer),
            Self::History(history) => history.rate(offer) * history.affinity(request.customer_id, offer),
            Self::Oracle => truth.relevance(offer).unwrap(),
        };
        let mut scored: Vec<(f64, i64)> = request.candidates.iter().map(|&offer| (score(offer), offer)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().map(|(_, offer)| offer).collect()
    }
}

fn dcg(gains: impl Iterator<Item = f64>) -> f64 {
    gains.take(10).zip(2..).map(|(gain, rank)| gain / f64::from(rank).log2()).sum()
}

/// Mean true NDCG@10 and revenue per request, over the requests of `days`.
fn judge(shop: &Shop, ranker: &Ranker<'_>, days: Range<u32>) -> (f64, f64) {
    let (mut ndcg, mut revenue, mut requests) = (0.0, 0.0, 0.0);
    for request in shop.requests(days) {
        let ranked = ranker.rank(shop, &request);
        let truth = shop.truth(request.customer_id, request.day).unwrap();
        let gain = |&offer: &i64| f64::from(1u32 << grade(truth.relevance(offer).unwrap())) - 1.0;
        let mut best: Vec<f64> = ranked.iter().map(gain).collect();
        best.sort_by(|a, b| b.total_cmp(a));
        let ideal = dcg(best.into_iter());
        if ideal > 0.0 {
            ndcg += dcg(ranked.iter().map(gain)) / ideal;
            requests += 1.0;
        }
        revenue += shop.respond(&request, &ranked).unwrap().iter().map(|o| o.revenue as f64).sum::<f64>();
    }
    (ndcg / requests, revenue / requests)
}

fn world(shift_day: Option<u32>) -> Shop {
    let builder = Settings::builder().customers(400).offers(120).candidates(60).requests_per_day(300);
    Shop::new(builder.shift_day(shift_day).build().unwrap())
}

#[test]
fn explore() {
    let (still, turned) = (world(None), world(Some(20)));
    let before = History::learn(&still, 0..20);
    let after = History::learn(&turned, 20..40);
    for (name, shop, days, history) in [
        ("before", &still, 20..24, &before),
        ("shifted", &turned, 20..24, &before),
        ("retrained", &turned, 40..44, &after),
    ] {
        for (ranker, r) in [
            ("random", Ranker::Random),
            ("pop", Ranker::Popularity(history)),
            ("hist", Ranker::History(history)),
            ("oracle", Ranker::Oracle),
        ] {
            println!("{name} {ranker} {:?}", judge(shop, &r, days.clone()));
        }
    }
    let mut grades = [0; 5];
    let mut p = 0.0;
    for r in still.requests(0..3) {
        for x in still.relevances(&r).unwrap() {
            grades[grade(x) as usize] += 1;
            p += x;
        }
    }
    println!("{grades:?} {p}");
    let d = Shop::new(Settings::default());
    let (mut n, mut c, mut b, mut k, mut rev) = (0, 0, 0, 0, 0);
    for batch in d.impressions(d.all_days()) {
        let batch = batch.unwrap();
        n += batch.num_rows();
        c += batch["clicked"].as_boolean().true_count();
        b += batch["purchased"].as_boolean().true_count();
        k += batch["complained"].as_boolean().true_count();
        rev += batch["revenue"].as_primitive::<Int64Type>().values().iter().sum::<i64>();
    }
    println!("{n} clicks {c} buys {b} complaints {k} revenue {rev}");
    let h = History::learn(&d, 0..24);
    for (ranker, r) in [
        ("random", Ranker::Random),
        ("pop", Ranker::Popularity(&h)),
        ("hist", Ranker::History(&h)),
        ("oracle", Ranker::Oracle),
    ] {
        println!("default {ranker} {:?}", judge(&d, &r, 24..27));
    }
}

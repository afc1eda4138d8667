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
fn a_better_ranker_has_a_higher_ndcg_and_sells_more() {
    let shop = world(None);
    let history = History::learn(&shop, 0..20);
    let judged = [Ranker::Random, Ranker::Popularity(&history), Ranker::History(&history), Ranker::Oracle]
        .map(|ranker| judge(&shop, &ranker, 20..24));
    for (worse, better) in judged.iter().zip(&judged[1..]) {
        assert!(better.0 > worse.0 + 0.1, "{judged:?}");
        assert!(better.1 > worse.1 * 1.1, "{judged:?}");
    }
    assert!((judged[3].0 - 1.0).abs() < 1e-12);
}

#[test]
fn the_shift_costs_an_old_ranker_its_lead_and_new_data_bring_it_back() {
    let (still, turned) = (world(None), world(Some(20)));
    let (old, new) = (History::learn(&turned, 0..20), History::learn(&turned, 20..40));
    let lead = |shop: &Shop, history: &History, days: Range<u32>| {
        let taught = judge(shop, &Ranker::History(history), days.clone());
        let popular = judge(shop, &Ranker::Popularity(history), days);
        (taught.0 - popular.0, taught.1 - popular.1)
    };
    let before = lead(&still, &old, 20..24);
    let after = lead(&turned, &old, 20..24);
    assert!(after.0 < before.0 * 2.0 / 3.0, "NDCG: a lead of {} became {}", before.0, after.0);
    assert!(after.1 < before.1 * 2.0 / 3.0, "revenue: a lead of {} became {}", before.1, after.1);

    let [stale, fresh] = [&old, &new].map(|history| judge(&turned, &Ranker::History(history), 40..44));
    let once = judge(&still, &Ranker::History(&old), 20..24);
    assert!(fresh.0 > stale.0 + 0.2 && fresh.1 > stale.1 * 1.3, "{stale:?} {fresh:?}");
    assert!(fresh.0 > once.0 * 0.95, "{once:?} {fresh:?}");
}

#[test]
fn the_default_world_leaves_room_for_history_and_more_for_knowledge() {
    let shop = Shop::new(Settings::default());
    let history = History::learn(&shop, 0..24);
    let [popular, taught, oracle] = [Ranker::Popularity(&history), Ranker::History(&history), Ranker::Oracle]
        .map(|ranker| judge(&shop, &ranker, 24..26).0);
    assert!(taught > popular + 0.04 && oracle > taught + 0.2, "{popular} {taught} {oracle}");
}

#[test]
fn every_grade_is_met_and_high_ones_are_rare() {
    let shop = world(None);
    let mut counts = [0usize; 5];
    for request in shop.requests(0..3) {
        shop.relevances(&request).unwrap().into_iter().for_each(|p| counts[usize::from(grade(p))] += 1);
    }
    assert!(counts.windows(2).all(|pair| pair[0] > pair[1]) && counts[4] > 500, "{counts:?}");
    assert_eq!([0.0, 0.05, 0.119, 0.12, 0.25, 0.45, 1.0].map(grade), [0, 1, 1, 2, 3, 4, 4]);
}

//! The contract of [`VectorIndex`].

use std::sync::atomic::{AtomicBool, Ordering};

use crate::vector::{Among, Ask, Hit, Metric, VectorIndex};

/// Numbers in one vector of the kit.
const WIDTH: u16 = 12;
/// Vectors that most sentences are checked with.
const MANY: usize = 300;

/// Checks the contract of [`VectorIndex`] on fresh, empty indexes made by `make` for a metric and a number of dimensions.
///
/// `share` of the nearest that an index must find: 1 for an exact one, less for an approximate one.
///
/// # Panics
/// With the sentence of the contract that does not hold.
pub fn vector_index<I: VectorIndex>(share: f64, make: impl Fn(Metric, u16) -> I) {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let fresh = || make(metric, WIDTH);
        an_empty_index_answers_by_nothing(&fresh());
        the_nearest_are_found(&fresh(), share);
        distances_are_those_of_the_metric(&fresh());
        the_latest_vector_of_a_number_counts(&fresh());
        what_was_removed_is_not_found(&fresh(), share);
        only_what_counts_is_found(&fresh());
        equal_vectors_come_by_their_numbers(&fresh());
        what_cannot_be_compared_is_refused_whole(&fresh());
        searches_beside_writes_see_whole_vectors(&fresh());
    }
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        // The generator of Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn vectors(&mut self, count: usize) -> Vec<f32> {
        (0..count * usize::from(WIDTH)).map(|_| self.next()).collect()
    }
}

fn row(vectors: &[f32], at: usize) -> &[f32] {
    let width = usize::from(WIDTH);
    &vectors[at * width..(at + 1) * width]
}

fn nearest(index: &impl VectorIndex, query: &[f32], ask: &Ask<'_>) -> Vec<Hit> {
    let mut answers = index.nearest(query, ask).expect("a query of good vectors succeeds");
    assert_eq!(answers.len(), 1, "every query has one answer");
    let hits = answers.remove(0);
    assert!(hits.len() <= ask.k, "no more hits than were asked for");
    let ordered = hits.windows(2).all(|pair| (pair[0].distance, pair[0].id) < (pair[1].distance, pair[1].id));
    assert!(ordered, "hits come by distance, then number: {hits:?}");
    hits
}

/// What the definition of the metric says, of the vectors that count.
fn expected(metric: Metric, vectors: &[f32], query: &[f32], k: usize, counts: impl Fn(u32) -> bool) -> Vec<u32> {
    let rows = (0..vectors.len() / usize::from(WIDTH)).filter(|at| counts(*at as u32));
    let mut all: Vec<(f32, u32)> = rows.map(|at| (metric.distance(row(vectors, at), query), at as u32)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.into_iter().take(k).map(|(_, id)| id).collect()
}

/// How many of the nearest were found, over some queries.
fn found(index: &impl VectorIndex, vectors: &[f32], counts: impl Fn(u32) -> bool + Sync) -> f64 {
    let queries = Numbers(77).vectors(40);
    let (mut hit, mut all) = (0, 0);
    for at in 0..40 {
        let query = row(&queries, at);
        let told = nearest(index, query, &Ask::new(10).among(Among::Where(&counts)));
        assert!(told.iter().all(|hit| counts(hit.id)), "nothing is found that does not count");
        let expected = expected(index.metric(), vectors, query, 10, &counts);
        assert_eq!(told.len(), expected.len(), "there are as many hits as were asked for");
        hit += told.iter().filter(|hit| expected.contains(&hit.id)).count();
        all += expected.len();
    }
    hit as f64 / all as f64
}

fn filled(index: &impl VectorIndex, count: usize) -> Vec<f32> {
    let vectors = Numbers(1).vectors(count);
    let ids: Vec<u32> = (0..count as u32).collect();
    for (ids, vectors) in ids.chunks(100).zip(vectors.chunks(100 * usize::from(WIDTH))) {
        index.put(ids, vectors).expect("good vectors are taken");
    }
    assert_eq!(index.vectors(), count, "an index holds what was put");
    vectors
}

fn an_empty_index_answers_by_nothing(index: &impl VectorIndex) {
    assert_eq!(index.dimensions(), WIDTH, "an index has the dimensions that it was made for");
    assert_eq!(nearest(index, row(&Numbers(3).vectors(1), 0), &Ask::new(5)), []);
    assert_eq!(index.remove(&[1, 2]).expect("removing from nothing is no error"), 0);
    index.put(&[], &[]).expect("nothing can be put");
    let none = index.nearest(&[], &Ask::new(1)).expect("nothing can be asked");
    assert_eq!(none.len(), 0, "no queries have no answers");
}

fn the_nearest_are_found(index: &impl VectorIndex, share: f64) {
    let vectors = filled(index, MANY);
    let found = found(index, &vectors, |_| true);
    assert!(found >= share, "{found} of the nearest were found, not {share}");
    let queries = Numbers(5).vectors(3);
    let together = index.nearest(&queries, &Ask::new(4)).expect("several queries can be asked at once");
    let alone: Vec<_> = (0..3).map(|at| nearest(index, row(&queries, at), &Ask::new(4))).collect();
    assert_eq!(together, alone, "a query is answered as if it were alone");
    assert_eq!(nearest(index, row(&queries, 0), &Ask::new(9999)).len(), MANY, "who asks for more than all gets all");
}

fn distances_are_those_of_the_metric(index: &impl VectorIndex) {
    let vectors = filled(index, 50);
    let query = Numbers(9).vectors(1);
    for hit in nearest(index, &query, &Ask::new(50)) {
        let distance = index.metric().distance(row(&vectors, hit.id as usize), &query);
        assert_eq!(hit.distance.to_bits(), distance.to_bits(), "the distance of {} is that of the metric", hit.id);
    }
}

fn the_latest_vector_of_a_number_counts(index: &impl VectorIndex) {
    let mut vectors = filled(index, 60);
    let others = Numbers(2).vectors(60);
    index.put(&(0..60).collect::<Vec<_>>(), &others).expect("vectors can be exchanged");
    let last = Numbers(4).vectors(2);
    index.put(&[7, 7], &last).expect("one number may come twice");
    assert_eq!(index.vectors(), 60, "an exchanged vector is not one more");
    vectors.copy_from_slice(&others);
    vectors[7 * usize::from(WIDTH)..8 * usize::from(WIDTH)].copy_from_slice(row(&last, 1));
    let query = Numbers(9).vectors(1);
    let told: Vec<u32> = nearest(index, &query, &Ask::new(60)).iter().map(|hit| hit.id).collect();
    assert_eq!(told, expected(index.metric(), &vectors, &query, 60, |_| true), "the latest vectors count");
}

fn what_was_removed_is_not_found(index: &impl VectorIndex, share: f64) {
    let vectors = filled(index, MANY);
    let third: Vec<u32> = (0..MANY as u32).filter(|id| id % 3 == 0).collect();
    assert_eq!(index.remove(&third).expect("what is there can be removed"), MANY / 3);
    assert_eq!(index.remove(&third).expect("what is gone can be removed again"), 0);
    assert_eq!(index.vectors(), MANY - MANY / 3);
    let share_found = found(index, &vectors, |id| id % 3 != 0);
    assert!(share_found >= share, "{share_found} of the nearest were found after removals, not {share}");
    let query = row(&vectors, 0);
    let told = nearest(index, query, &Ask::new(MANY));
    assert!(told.iter().all(|hit| hit.id % 3 != 0), "what was removed is not found");
    let again: Vec<f32> = third.iter().flat_map(|id| row(&vectors, *id as usize)).copied().collect();
    index.put(&third, &again).expect("what was removed can be put anew");
    assert_eq!(index.vectors(), MANY);
    let share_found = found(index, &vectors, |_| true);
    assert!(share_found >= share, "{share_found} of the nearest were found after they came back, not {share}");
}

fn only_what_counts_is_found(index: &impl VectorIndex) {
    let vectors = filled(index, MANY);
    let query = Numbers(9).vectors(1);
    let ids = |hits: Vec<Hit>| hits.iter().map(|hit| hit.id).collect::<Vec<_>>();
    let these = [5, 299, 5, 17, 1_000_000, 40];
    let told = ids(nearest(index, &query, &Ask::new(10).among(Among::These(&these))));
    assert_eq!(told, expected(index.metric(), &vectors, &query, 10, |id| these.contains(&id)), "these are compared");
    assert_eq!(nearest(index, &query, &Ask::new(10).among(Among::These(&[]))), []);
    for every in [7, 101, 299] {
        let fits = |id: u32| id % every == every - 1;
        let told = nearest(index, &query, &Ask::new(3).among(Among::Where(&fits)));
        assert!(told.iter().all(|hit| fits(hit.id)), "nothing is found that does not fit");
        assert_eq!(told.len(), (MANY / every as usize).min(3), "what fits is found, however little it is");
    }
    assert_eq!(nearest(index, &query, &Ask::new(3).among(Among::Where(&|_| false))), []);
}

fn equal_vectors_come_by_their_numbers(index: &impl VectorIndex) {
    let one = Numbers(8).vectors(1);
    let same: Vec<f32> = (0..150).flat_map(|_| one.clone()).collect();
    index.put(&(0..150).rev().collect::<Vec<_>>(), &same).expect("equal vectors are taken");
    let told = nearest(index, &one, &Ask::new(150));
    assert!(told.iter().map(|hit| hit.id).eq(0..150), "equal vectors come by their numbers");
    assert_eq!(nearest(index, &one, &Ask::new(20)).len(), 20);
}

fn what_cannot_be_compared_is_refused_whole(index: &impl VectorIndex) {
    let vectors = filled(index, 20);
    let width = usize::from(WIDTH);
    let query = Numbers(9).vectors(1);
    let before = nearest(index, &query, &Ask::new(20));
    let mut bad = Numbers(6).vectors(2);
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        bad[width + 3] = number;
        assert!(index.put(&[1, 2], &bad).is_err(), "a vector with {number} is refused");
        assert!(index.nearest(&bad, &Ask::new(1)).is_err(), "a query with {number} is refused");
    }
    if index.metric() == Metric::Cosine {
        assert!(index.put(&[1], &vec![0.0; width]).is_err(), "a vector without direction is refused");
        assert!(index.nearest(&vec![0.0; width], &Ask::new(1)).is_err(), "a query without direction is refused");
    } else {
        assert_eq!(nearest(index, &vec![0.0; width], &Ask::new(20)).len(), 20, "zero is a vector like any other");
    }
    assert!(index.put(&[1, 2], &vectors[..width]).is_err(), "fewer vectors than numbers are refused");
    assert!(index.put(&[1], &vectors[..width - 1]).is_err(), "a vector that is too short is refused");
    assert!(index.put(&[u32::MAX], &vectors[..width]).is_err(), "the number that means none is refused");
    assert!(index.nearest(&query[1..], &Ask::new(1)).is_err(), "a query that is too short is refused");
    assert!(index.nearest(&query, &Ask::new(0)).is_err(), "nobody asks for no neighbours");
    assert_eq!(nearest(index, &query, &Ask::new(20)), before, "what was refused changes nothing");
}

/// Writers exchange vectors all of whose numbers are the same; no search may see a mixture.
fn searches_beside_writes_see_whole_vectors(index: &impl VectorIndex) {
    let width = usize::from(WIDTH);
    let all = |value: f32| vec![value; width];
    let of = |ids: &[u32], value: f32| ids.iter().flat_map(|_| all(value)).collect::<Vec<f32>>();
    let steady: Vec<u32> = (0..40).collect();
    let changing: Vec<u32> = (40..80).collect();
    index.put(&steady, &of(&steady, 1.0)).expect("good vectors are taken");
    let distances: Vec<u32> =
        (1..=4).map(|value| index.metric().distance(&all(value as f32), &all(1.0)).to_bits()).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..12 {
                let value = (turn % 4 + 1) as f32;
                index.put(&changing, &of(&changing, value)).expect("vectors can be exchanged beside searches");
                index.remove(&changing[..10]).expect("vectors can be removed beside searches");
            }
            done.store(true, Ordering::Release);
        });
        let mut searches = 0;
        while !done.load(Ordering::Acquire) || searches < 3 {
            let told = nearest(index, &all(1.0), &Ask::new(80));
            let kept = told.iter().filter(|hit| hit.id < 40).count();
            assert_eq!(kept, 40, "what nobody touches is found beside writes");
            assert!(told.iter().all(|hit| distances.contains(&hit.distance.to_bits())), "vectors are whole: {told:?}");
            searches += 1;
        }
    });
}

//! MovieLens: people rate films over twenty years. A request is a sitting of one person: what they went on to rate, among films that
//! they did not.
//!
//! The files are those of <https://grouplens.org/datasets/movielens/> (`ratings.csv`, `movies.csv`). Nothing is generated but the films
//! that fill up a request. Days are stretches of equally many requests, for sittings come in bursts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mlops_core::arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::source::CsvSource;
use mlops_core::validate::{NullRatio, Range, RowCount, Suite, Unique};
use mlops_core::{Dataset, EventTime};
use mlops_features::{Entity, FeatureView, KeyType, ValueType};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::{Ask, Plan, Reaction, Trusted, World};
use crate::Result;
use crate::derive::{Derived, numbers};
use crate::features::{LABEL, texts};
use crate::history::{Catalogue, History, HistorySettings};
use crate::intake::Intake;

/// Days that all requests are cut into: the last fifth of them is the last fifth of time.
const DAYS: u32 = 20;
/// Days that the first model learns from.
const HISTORY_DAYS: u32 = 12;
/// Day from which the last fifth of time begins.
const LAST_FIFTH: u32 = 16;
/// Films of one request that were rated.
const RATED_MAX: usize = 10;
/// Films of one request.
const CANDIDATES: usize = 100;
/// Films of one request that the first model learns from, beside the rated ones.
const UNRATED_LEARNT: usize = 25;
/// A longer break ends a sitting.
const SITTING: Duration = Duration::from_hours(1);
/// From this rating on a film was liked.
const LIKED: f64 = 4.0;

/// One rating.
#[derive(Clone, Copy, Debug)]
struct Rating {
    user: i64,
    movie: i64,
    stars: f64,
    at: EventTime,
}

/// One request: some ratings of one sitting, and films that this person never rated.
#[derive(Clone, Debug)]
struct Sitting {
    ask: Ask,
    rated: Vec<Rating>,
}

#[derive(Debug, Default)]
struct Archive {
    sittings: Vec<Sitting>,
    catalogue: Catalogue,
    /// Year of release and number of genres of each film.
    films: BTreeMap<i64, (f64, f64)>,
}

/// MovieLens' files as a world.
#[derive(Debug)]
pub struct Movies {
    dir: PathBuf,
    seed: u64,
    plan: Plan,
    /// Only people whose number is divisible by this.
    every: i64,
    archive: OnceLock<Archive>,
}

impl Movies {
    /// The files in the folder `dir`; with `small`, only the people whose number is divisible by three, and a model may be three times as old.
    ///
    /// # Errors
    /// When a file is missing.
    pub fn open(dir: &Path, small: bool, seed: u64) -> Result<Self> {
        for file in ["ratings.csv", "movies.csv"] {
            if !dir.join(file).is_file() {
                return Err(format!("{} has no {file}: name the folder of MovieLens' files", dir.display()).into());
            }
        }
        let plan = Plan {
            history: 0..HISTORY_DAYS,
            live: HISTORY_DAYS..DAYS,
            turn: LAST_FIFTH,
            window: Duration::from_hours(24 * 90),
            page: 10,
            sells: false,
            click_window: Duration::from_mins(10),
            by_request: true,
            age_max: Some(Duration::from_hours(24 * 365 * if small { 3 } else { 1 })),
            // What was rated is known, shown or not: there is nothing to explore.
            explore: 0.0,
        };
        Ok(Self { dir: dir.to_owned(), seed, plan, every: if small { 3 } else { 1 }, archive: OnceLock::new() })
    }

    fn archive(&self) -> Result<&Archive> {
        Ok(self.archive.get().ok_or("films are asked for before intake")?)
    }

    fn sitting(&self, ask: &Ask) -> Result<&Sitting> {
        let place = usize::try_from(ask.id).ok().and_then(|id| id.checked_sub(1));
        Ok(place.and_then(|place| self.archive().ok()?.sittings.get(place)).ok_or("no such request")?)
    }

    /// The requests of a day, as a range of places.
    fn places(&self, day: u32) -> Result<std::ops::Range<usize>> {
        let all = self.archive()?.sittings.len();
        let place = |day: u32| all * day.min(DAYS) as usize / DAYS as usize;
        Ok(place(day)..place(day + 1))
    }
}

/// Ratings in the order of time, from checked rows.
fn ratings(data: &Dataset) -> Result<Vec<Rating>> {
    let mut ratings = Vec::new();
    for batch in data.batches()? {
        let batch = batch?;
        let column = |name: &str| numbers(&batch, name);
        let (users, movies, values, times) =
            (column("userId")?, column("movieId")?, column("rating")?, column("timestamp")?);
        ratings.extend((0..batch.num_rows()).map(|row| Rating {
            user: users.value(row) as i64,
            movie: movies.value(row) as i64,
            stars: values.value(row),
            at: EventTime::from_secs(times.value(row) as i64),
        }));
    }
    ratings.sort_by_key(|rating| (rating.at, rating.user, rating.movie));
    Ok(ratings)
}

/// Cuts ratings into sittings of at most [`RATED_MAX`], in the order of time, and fills them up with films that were never rated by that person.
fn sittings(ratings: &[Rating], seed: u64) -> Vec<Sitting> {
    let mut own: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for rating in ratings {
        own.entry(rating.user).or_default().insert(rating.movie);
    }
    let all: Vec<i64> = ratings.iter().map(|rating| rating.movie).collect::<BTreeSet<_>>().into_iter().collect();
    let mut open: BTreeMap<i64, Vec<Rating>> = BTreeMap::new();
    let mut cut: Vec<Vec<Rating>> = Vec::new();
    for rating in ratings {
        let sitting = open.entry(rating.user).or_default();
        let over = sitting.last().is_some_and(|last| rating.at.since(last.at) > SITTING) || sitting.len() == RATED_MAX;
        if over {
            cut.push(std::mem::take(sitting));
        }
        sitting.push(*rating);
    }
    cut.extend(open.into_values().filter(|sitting| !sitting.is_empty()));
    cut.sort_by_key(|sitting| (sitting[0].at, sitting[0].user));
    let filled = cut.into_iter().zip(1_u64..).map(|(rated, id)| {
        let mut rng = SmallRng::seed_from_u64(seed ^ (id << 20));
        let known = &own[&rated[0].user];
        let mut candidates: Vec<i64> = rated.iter().map(|rating| rating.movie).collect();
        let mut chosen: BTreeSet<i64> = candidates.iter().copied().collect();
        // A person may have rated nearly everything: tries are bounded, and a request may be shorter.
        for _ in 0..20 * CANDIDATES {
            let movie = all[rng.gen_range(0..all.len())];
            if candidates.len() >= CANDIDATES {
                break;
            }
            if !known.contains(&movie) && chosen.insert(movie) {
                candidates.push(movie);
            }
        }
        candidates.shuffle(&mut rng);
        Sitting { ask: Ask { id, customer_id: rated[0].user, at: rated[0].at, candidates }, rated }
    });
    filled.collect()
}

/// The year at the end of a title, such as `Heat (1995)`.
fn year(title: &str) -> Option<f64> {
    let inner = title.trim_end().strip_suffix(')')?;
    inner.get(inner.len().checked_sub(4)?..)?.parse().ok()
}

impl Archive {
    fn new(sittings: Vec<Sitting>, movies: &RecordBatch) -> Result<Self> {
        let ids = numbers(movies, "movieId")?;
        let listed: Vec<Vec<String>> = texts(movies, "genres")?
            .iter()
            .map(|genres| genres.split('|').map(|genre| genre.trim().to_owned()).collect())
            .collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        listed.iter().flatten().for_each(|genre| *counts.entry(genre).or_default() += 1);
        let mut archive = Self { sittings, catalogue: Catalogue::default(), films: BTreeMap::new() };
        for ((id, own), title) in ids.values().iter().zip(&listed).zip(texts(movies, "title")?) {
            // The rarest genre says most; the second stands where offers have their maker.
            let mut by_rarity: Vec<&String> = own.iter().collect();
            by_rarity.sort_by_key(|genre| (counts[genre.as_str()], genre.as_str()));
            let second = by_rarity.get(1).map_or("no second genre", |genre| genre.as_str());
            archive.catalogue.add(*id as i64, by_rarity[0], second);
            archive.films.insert(*id as i64, (year(&title).unwrap_or(f64::NAN), own.len() as f64));
        }
        Ok(archive)
    }
}

impl World for Movies {
    fn title(&self) -> &'static str {
        "MovieLens"
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn day_start(&self, day: u32) -> EventTime {
        let sittings = self.archive.get().map_or(&[][..], |archive| &archive.sittings);
        let first = self.places(day).ok().and_then(|places| sittings.get(places.start));
        let end = || sittings.last().map_or(EventTime::EPOCH, |last| last.ask.at.plus(Duration::from_secs(1)));
        first.map_or_else(end, |sitting| sitting.ask.at)
    }

    fn intake(&self, intake: &Intake) -> Result<Trusted> {
        intake.stage("raw files", 4);
        let open = |file: &str| Dataset::from_source(Arc::new(CsvSource::open(self.dir.join(file))?));
        let ratings_raw = ("ratings_raw".to_owned(), open("ratings.csv")?);
        let movies_raw = ("movies_raw".to_owned(), open("movies.csv")?);
        let suite = Suite::new()
            .rule("not_empty", RowCount::at_least(1_000))?
            .rule("rating_known", NullRatio::of("rating"))?
            .rule("rating_in_scale", Range::of("rating").at_least(0.5).at_most(5))?
            .rule("rated_once", Unique::of(["userId", "movieId"]))?
            .rule("after_1995", Range::of("timestamp").at_least(789_652_009))?;
        let mut flow = intake.flow("archive");
        flow.raw(&ratings_raw, "raw")?;
        flow.raw(&movies_raw, "raw")?;
        flow.check("ratings", "ratings_raw", suite)?;
        let suite =
            Suite::new().rule("film_once", Unique::of(["movieId"]))?.rule("genres_known", NullRatio::of("genres"))?;
        flow.check("movies", "movies_raw", suite)?;
        let made = flow.run()?;
        let (checked, movies) = (&made["ratings"], &made["movies"]);

        let some: Vec<Rating> =
            ratings(&checked.1)?.into_iter().filter(|rating| rating.user % self.every == 0).collect();
        let sittings = sittings(&some, self.seed);
        let archive = Archive::new(sittings, &movies.1.to_batch()?)?;
        let catalogue = archive.catalogue.clone();
        self.archive.set(archive).map_err(|_| "films came in already")?;
        let rows = self.told(HISTORY_DAYS)?.ok_or("nothing was told")?;
        let settings =
            serde_json::json!({"every": self.every, "seed": self.seed, "unrated": UNRATED_LEARNT, "rated": RATED_MAX});
        let impressions = intake.keep("impressions", "sittings", settings, &[checked, movies], &rows)?;
        Ok(Trusted { catalogue, impressions: impressions.1, raw: vec![ratings_raw, movies_raw] })
    }

    fn views(&self) -> Result<Vec<FeatureView>> {
        let offer = Entity::builder("offer").key("offer_id", KeyType::Int64).build()?;
        let view = FeatureView::builder("film", offer).event_time("event_time").created("created").owner("archive");
        let names = ["released", "genres"].into_iter();
        Ok(vec![names.fold(view, |view, name| view.feature(name, ValueType::Float64)).build()?])
    }

    fn facts(&self, day: u32, _: &Intake) -> Result<Vec<Vec<RecordBatch>>> {
        if day > 0 {
            return Ok(vec![Vec::new()]);
        }
        let archive = self.archive()?;
        let ids: Int64Array = archive.films.keys().copied().map(Some).collect();
        let times = TimestampMicrosecondArray::from(vec![self.day_start(0).as_micros(); archive.films.len()]);
        let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
        let float = |value: &dyn Fn(&(f64, f64)) -> f64| {
            let known = archive.films.values().map(value).map(|value| (!value.is_nan()).then_some(value));
            Arc::new(known.collect::<Float64Array>()) as ArrayRef
        };
        let columns = vec![
            ("offer_id".to_owned(), Arc::new(ids) as ArrayRef),
            ("event_time".to_owned(), times.clone()),
            ("created".to_owned(), times),
            ("released".to_owned(), float(&|film| film.0)),
            ("genres".to_owned(), float(&|film| film.1)),
        ];
        Ok(vec![vec![RecordBatch::try_from_iter(columns)?]])
    }

    fn derived(&self) -> Vec<Derived> {
        vec![Derived {
            name: "category_lift",
            inputs: &["category_rate", "customer_rate"],
            compute: |x| if x[1] > 0.0 { x[0] / x[1] } else { f64::NAN },
        }]
    }

    fn history(&self) -> HistorySettings {
        HistorySettings {
            fast: Duration::from_hours(24 * 60),
            slow: Duration::from_hours(24 * 365 * 20),
            offer_prior: 5.0,
            customer_prior: 3.0,
            delay: Duration::ZERO,
        }
    }

    fn looks(&self, _: u32) -> f64 {
        1.0
    }

    fn popularity(&self, history: &History, offer_id: i64) -> f64 {
        history.offer(offer_id)[1]
    }

    fn watched(&self) -> Vec<&'static str> {
        vec!["released", "genres", "customer_rate", "customer_looks"]
    }

    fn asks(&self, day: u32) -> Result<Vec<Ask>> {
        Ok(self.archive()?.sittings[self.places(day)?].iter().map(|sitting| sitting.ask.clone()).collect())
    }

    /// Everything that was rated, shown or not, for that is what the files tell; then what was shown and not rated.
    fn react(&self, ask: &Ask, page: &[i64]) -> Result<Vec<Reaction>> {
        let sitting = self.sitting(ask)?;
        let place = |movie: i64| page.iter().position(|shown| *shown == movie).map(|place| place as u32);
        let rated = sitting.rated.iter().map(|rating| Reaction {
            offer_id: rating.movie,
            position: place(rating.movie),
            clicked_at: (rating.stars >= LIKED).then(|| ask.at.plus(Duration::from_secs(1))),
            revenue: 0.0,
            looks: 1.0,
            value: (rating.stars - 0.5) / 4.5,
        });
        let others = page.iter().filter(|shown| sitting.rated.iter().all(|rating| rating.movie != **shown));
        let others = others.map(|movie| Reaction {
            offer_id: *movie,
            position: place(*movie),
            clicked_at: None,
            revenue: 0.0,
            looks: 0.0,
            value: 0.0,
        });
        Ok(rated.chain(others).collect())
    }

    fn told(&self, day: u32) -> Result<Option<Dataset>> {
        let archive = self.archive()?;
        let sittings = archive.sittings[..self.places(day)?.start].iter();
        Ok(Some(Dataset::from_batches([spine(sittings, &archive.catalogue)?])?))
    }

    fn grades(&self, ask: &Ask) -> Result<Vec<u8>> {
        let sitting = self.sitting(ask)?;
        let of = |movie: &i64| sitting.rated.iter().find(|rating| rating.movie == *movie).map_or(0, grade);
        Ok(ask.candidates.iter().map(of).collect())
    }
}

/// 0 for less than two stars, then one grade a star; what was not rated has grade 0 too.
fn grade(rating: &Rating) -> u8 {
    (rating.stars - 1.0).max(0.0) as u8
}

/// Rows to learn from, with grades as labels: what was rated, and some of what was not.
fn spine<'a>(sittings: impl Iterator<Item = &'a Sitting>, catalogue: &Catalogue) -> Result<RecordBatch> {
    let mut rows: Vec<(&Sitting, i64, f64)> = Vec::new();
    for sitting in sittings {
        let rating = |movie: i64| sitting.rated.iter().find(|rating| rating.movie == movie);
        let unrated = sitting.ask.candidates.iter().filter(|movie| rating(**movie).is_none()).count();
        let mut passed = 0;
        for movie in &sitting.ask.candidates {
            let rating = rating(*movie);
            if rating.is_none() {
                // Evenly spread, so that where a row stands tells nothing of its label.
                let share = |count: usize| count * UNRATED_LEARNT / unrated.max(UNRATED_LEARNT);
                passed += 1;
                if share(passed) == share(passed - 1) {
                    continue;
                }
            }
            rows.push((sitting, *movie, f64::from(rating.map_or(0, grade))));
        }
    }
    let requests: StringArray = rows.iter().map(|(s, ..)| Some(format!("{:032x}", s.ask.id))).collect();
    let kinds = |pick: fn((&str, &str)) -> String| -> StringArray {
        rows.iter().map(|(_, movie, _)| catalogue.of(*movie).map(pick)).collect()
    };
    let times: TimestampMicrosecondArray = rows.iter().map(|(s, ..)| Some(s.ask.at.as_micros())).collect();
    let ints = |value: &dyn Fn(&(&Sitting, i64, f64)) -> i64| {
        Arc::new(rows.iter().map(|row| Some(value(row))).collect::<Int64Array>())
    };
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("request_id", Arc::new(requests) as ArrayRef, false),
        ("customer_id", ints(&|row| row.0.ask.customer_id), false),
        ("offer_id", ints(&|row| row.1), false),
        ("category", Arc::new(kinds(|(category, _)| category.to_owned())), true),
        ("maker", Arc::new(kinds(|(_, maker)| maker.to_owned())), true),
        ("position", Arc::new(Int32Array::from(vec![0; rows.len()])), false),
        ("event_time", Arc::new(times.with_timezone("UTC")), false),
        (LABEL, Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float64Array>()), false),
    ])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rating(user: i64, movie: i64, at: i64) -> Rating {
        Rating { user, movie, stars: 4.0, at: EventTime::from_secs(at) }
    }

    #[test]
    fn a_sitting_ends_with_a_break_or_when_it_is_full() {
        let mut ratings: Vec<Rating> = (0..12).map(|i| rating(1, i, i)).collect();
        ratings.push(rating(1, 50, 20_000));
        ratings.push(rating(2, 60, 5));
        ratings.sort_by_key(|rating| rating.at);
        let cut = sittings(&ratings, 7);
        let sizes: Vec<(i64, usize)> = cut.iter().map(|s| (s.ask.customer_id, s.rated.len())).collect();
        assert_eq!(sizes, [(1, 10), (2, 1), (1, 2), (1, 1)]);
        assert!(cut.windows(2).all(|pair| pair[0].ask.at <= pair[1].ask.at && pair[0].ask.id < pair[1].ask.id));
    }

    #[test]
    fn a_request_is_filled_with_films_that_this_person_never_rated() {
        let mut ratings: Vec<Rating> = (0..30).map(|i| rating(1, i, 100_000 * i)).collect();
        ratings.extend((0..200).map(|i| rating(2, i, 100_000 * 40 + i)));
        for sitting in sittings(&ratings, 7).iter().filter(|s| s.ask.customer_id == 1) {
            let unique: BTreeSet<i64> = sitting.ask.candidates.iter().copied().collect();
            assert_eq!((unique.len(), sitting.ask.candidates.len()), (CANDIDATES, CANDIDATES));
            assert_eq!(sitting.ask.candidates.iter().filter(|movie| **movie < 30).count(), 1, "the rated one only");
        }
    }

    #[test]
    fn years_are_read_from_titles() {
        assert_eq!(year("Heat (1995)"), Some(1995.0));
        assert_eq!(year("Babylon 5"), None);
        assert_eq!(year("(é)"), None);
        assert_eq!(year(""), None);
    }
}

//! The contract of [`DefinitionStore`].

use std::sync::Barrier;

use mlops_core::catalog::Revision;
use mlops_core::{Error as Core, Name};

use super::view;
use crate::definitions::{ApplyOptions, DefinitionStore, DefinitionStoreExt, Definitions, Deployment, ModelLink};
use crate::error::Error;
use crate::service::FeatureService;

/// Threads that write and read at once.
const THREADS: usize = 4;

/// Changes that each of them makes.
const ROUNDS: u64 = 8;

/// Checks the contract of [`DefinitionStore`] on fresh, empty stores made by `make`; `again` opens the storage of one anew, as
/// another process would.
///
/// That a put survives a crash can only be seen from outside: kill a process after its put returned.
///
/// # Panics
/// With the sentence that does not hold.
pub fn definition_store<S: DefinitionStore>(make: impl Fn() -> S, again: impl Fn(&S) -> S) {
    an_empty_store_holds_nothing(&make());
    deployments_come_back_as_they_were_put(&make(), &again);
    a_put_needs_the_revision_that_is_there(&make());
    one_of_many_writers_wins(&make(), &again);
    appliers_do_not_lose_what_others_applied(&make(), &again);
    a_reader_sees_whole_deployments(&make(), &again);
}

/// Views `view0` to `view<count - 1>`, and a service of all of them.
fn definitions(count: u64) -> Definitions {
    let names: Vec<String> = (0..count).map(|number| format!("view{number}")).collect();
    let mut builder = Definitions::builder();
    let mut service = FeatureService::builder("service").full_names(true);
    for name in &names {
        builder = builder.with(view(name));
        service = service.feature(format!("{name}:score"));
    }
    builder.with(service.build().expect("a valid service")).build().expect("valid definitions")
}

/// Definitions with a past, and with a model.
fn deployment(count: u64) -> Deployment {
    let wanted = definitions(count);
    let features = wanted.service_version("service").expect("it is there");
    let link = ModelLink { features, model: Name::new("model").expect("a good name"), version: count.to_string() };
    let old = Definitions::builder().with(view("old")).build().expect("valid definitions");
    Deployment::default().with(&old).with(&wanted).with_model(&link).expect("the service is there")
}

fn put(store: &dyn DefinitionStore, count: u64, expected: u64) -> Revision {
    let put = store.put(&deployment(count), Revision(expected));
    put.unwrap_or_else(|e| panic!("a put over the present revision succeeds: {e}"))
}

fn is_missing<T>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Core(Core::NotFound { .. })))
}

fn an_empty_store_holds_nothing(store: &dyn DefinitionStore) {
    let loaded = store.load().expect("an empty store is loaded");
    assert_eq!(loaded, (Deployment::default(), Revision(0)), "an empty store holds nothing, at revision 0");
    for unknown in [0, 1, u64::MAX] {
        assert!(is_missing(store.at(Revision(unknown))), "a revision that never was is `NotFound`");
    }
    let early = store.put(&deployment(1), Revision(1));
    assert!(matches!(early, Err(Error::Core(Core::Conflict { .. }))), "a put over what never was is `Conflict`");
    assert_eq!(store.load().expect("it is loaded").1, Revision(0), "a refused put leaves nothing");
}

fn deployments_come_back_as_they_were_put<S: DefinitionStore>(store: &S, again: &impl Fn(&S) -> S) {
    for number in 1..=3 {
        assert_eq!(put(store, number, number - 1), Revision(number), "a put gives the next revision");
        let reopened = again(store);
        for store in [store, &reopened] {
            let loaded = store.load().expect("what was put is loaded");
            assert_eq!(loaded, (deployment(number), Revision(number)), "a deployment is exactly as it was put");
            for old in 1..=number {
                let found = store.at(Revision(old)).expect("nothing is forgotten");
                assert_eq!(found, deployment(old), "a revision stays as it was put");
            }
            assert!(is_missing(store.at(Revision(number + 1))), "a revision that is not there yet is `NotFound`");
        }
    }
}

fn a_put_needs_the_revision_that_is_there(store: &dyn DefinitionStore) {
    put(store, 1, 0);
    put(store, 2, 1);
    for stale in [0, 1, 3] {
        match store.put(&deployment(3), Revision(stale)) {
            Err(Error::Core(Core::Conflict { expected, found, .. })) => {
                assert_eq!((expected, found), (stale.to_string(), "2".to_owned()), "a conflict tells both revisions");
            }
            other => panic!("a put over another revision than the present one is `Conflict`: {other:?}"),
        }
    }
    let loaded = store.load().expect("it is there");
    assert_eq!(loaded, (deployment(2), Revision(2)), "a refused put changes nothing");
}

fn one_of_many_writers_wins<S: DefinitionStore>(store: &S, again: &impl Fn(&S) -> S) {
    let handles: Vec<S> = (0..THREADS).map(|_| again(store)).collect();
    let barrier = Barrier::new(THREADS);
    for round in 0..ROUNDS {
        let attempt = |index: usize, handle: &S| {
            let count = index as u64 + 1;
            barrier.wait();
            (count, handle.put(&deployment(count), Revision(round)))
        };
        let attempt = &attempt;
        let outcomes = std::thread::scope(|scope| {
            let running = handles.iter().enumerate().map(|(index, handle)| scope.spawn(move || attempt(index, handle)));
            let running: Vec<_> = running.collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
        });
        let mut won = Vec::new();
        for (count, outcome) in outcomes {
            match outcome {
                Ok(revision) => won.push((deployment(count), revision)),
                Err(Error::Core(Core::Conflict { .. })) => {}
                Err(other) => panic!("whoever was not first gets `Conflict`: {other}"),
            }
        }
        assert_eq!(won.len(), 1, "of several writers with the same expectation one wins");
        assert_eq!(store.load().expect("it is there"), won[0], "what the winner put is there");
    }
}

fn appliers_do_not_lose_what_others_applied<S: DefinitionStore>(store: &S, again: &impl Fn(&S) -> S) {
    let handles: Vec<S> = (0..THREADS).map(|_| again(store)).collect();
    let add = |handle: &S, name: &str| loop {
        let present = handle.definitions().expect("it is loaded");
        let mut wanted = Definitions::builder().with(view(name));
        for other in present.stored_views() {
            wanted = wanted.with(other);
        }
        let wanted = wanted.build().expect("valid definitions");
        let plan = handle.plan(&wanted).expect("it is planned");
        match handle.apply(&wanted, plan.base, &ApplyOptions::new()) {
            Ok(_) => return,
            // Between the load and the plan others may have added views that are not wanted here.
            Err(Error::Core(Core::Conflict { .. } | Core::Rejected { .. })) => {}
            Err(other) => panic!("whoever was not first gets `Conflict`: {other}"),
        }
    };
    let add = &add;
    std::thread::scope(|scope| {
        for (index, handle) in handles.iter().enumerate() {
            scope.spawn(move || (0..ROUNDS).for_each(|round| add(handle, &format!("view{index}_{round}"))));
        }
    });
    let (loaded, revision) = store.load().expect("it is loaded");
    let expected = THREADS as u64 * ROUNDS;
    assert_eq!(loaded.definitions().stored_views().len() as u64, expected, "what was applied stays");
    assert_eq!(revision, Revision(expected), "each apply is one revision");
}

fn a_reader_sees_whole_deployments<S: DefinitionStore>(store: &S, again: &impl Fn(&S) -> S) {
    put(store, 1, 0);
    let handles: Vec<S> = (0..THREADS).map(|_| again(store)).collect();
    std::thread::scope(|scope| {
        for handle in &handles {
            scope.spawn(|| {
                let mut last = Revision(0);
                while last.0 < ROUNDS {
                    let (found, revision) = handle.load().expect("it is there all the time");
                    assert_eq!(found, deployment(revision.0), "a reader sees a whole deployment");
                    assert!(revision >= last, "a reader never goes back");
                    last = revision;
                }
            });
        }
        for number in 2..=ROUNDS {
            put(store, number, number - 1);
        }
    });
}

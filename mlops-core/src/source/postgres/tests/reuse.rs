use super::*;

/// The server's number of the connection that a scan ran on.
fn number(source: &PostgresSource) -> i32 {
    let batch = rows(source, &ScanRequest::all()).unwrap();
    batch.column_by_name("number").unwrap().as_primitive::<arrow::datatypes::Int32Type>().value(0)
}

const NUMBER: &str = "SELECT pg_catalog.pg_backend_pid() AS number";

#[test]
fn scans_one_after_the_other_share_a_connection() {
    let Some(place) = Place::new("mlops_test_shared") else { return };
    let source = place.query(NUMBER).build().unwrap();
    let first = number(&source);
    source.info().unwrap();
    assert_eq!((number(&source), number(&source.clone())), (first, first));
    let filtered = ScanRequest::all().filter(Predicate::new("number", Comparison::Gt, 0));
    assert_eq!(ids_of(&rows(&source, &filtered).unwrap()), [first]);
    let anew = place.query(NUMBER).keep_connection(false).build().unwrap();
    assert_ne!(number(&anew), number(&anew));
}

fn ids_of(batch: &RecordBatch) -> Vec<i32> {
    batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec()
}

#[test]
fn a_kept_connection_that_died_is_replaced() {
    let Some(mut place) = Place::new("mlops_test_died") else { return };
    let source = place.query(NUMBER).retries(0).build().unwrap();
    let before = number(&source);
    place.run(&format!("SELECT pg_terminate_backend({before}, 5000)"));
    assert_ne!(number(&source), before);
}

#[test]
fn scans_at_the_same_time_have_connections_of_their_own() {
    let Some(mut place) = Place::new("mlops_test_own") else { return };
    place.counted(50_000);
    let source = place.table("counted").build().unwrap();
    let request = ScanRequest::all().batch_rows(100);
    let mut streams: Vec<_> = (0..3).map(|_| source.scan(&request).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(ids(&stream.next().unwrap().unwrap())[99], 99);
    }
    assert!(streams.into_iter().all(|stream| stream.map(|batch| batch.unwrap().num_rows()).sum::<usize>() == 49_900));
}

#[test]
fn what_a_query_left_on_its_connection_is_gone_when_the_scan_is() {
    let Some(mut place) = Place::new("mlops_test_left") else { return };
    let select = "SELECT pg_catalog.current_setting('mlops.test', true) AS before, \
                  pg_catalog.set_config('mlops.test', 'left', false) AS after, \
                  pg_catalog.pg_try_advisory_lock(20260101) AS locked";
    let source = place.query(select).build().unwrap();
    for _ in 0..2 {
        let batch = rows(&source, &ScanRequest::all()).unwrap();
        assert_ne!(batch.column(0).as_string::<i32>().value(0), "left");
        assert!(batch.column(2).as_boolean().value(0));
        let free = place.client.query_one("SELECT pg_try_advisory_lock(20260101)", &[]).unwrap().get::<_, bool>(0);
        assert!(free, "the lock is free while the connection is kept");
        place.run("SELECT pg_advisory_unlock(20260101)");
    }
}

#[test]
fn a_connection_is_closed_with_the_last_clone_of_its_source() {
    let Some(mut place) = Place::new("mlops_test_closed") else { return };
    place.counted(10);
    let joint = if place.url.contains('?') { '&' } else { '?' };
    let named = format!("{}{joint}application_name=mlops-closed", place.url);
    let source = PostgresSource::table(named, "counted").in_schema("mlops_test_closed").build().unwrap();
    let mut open = || {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlops-closed'";
        place.client.query_one(count, &[]).unwrap().get::<_, i64>(0)
    };
    assert_eq!(rows(&source, &ScanRequest::all()).unwrap().num_rows(), 10);
    assert_eq!(open(), 1);
    // Within a runtime as well, where nothing may wait.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { drop(source) });
    let closed = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        open() == 0
    });
    assert!(closed);
}

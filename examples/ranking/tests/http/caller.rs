//! The client and the load meter.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_replaces_connections_that_were_closed() {
    let running = start(plain().header_timeout(Duration::from_millis(250))).await;
    let client = client(&running);
    for _ in 0..3 {
        client.rank(&request(7)).await.unwrap();
        while running.stats().open > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(running.stats().accepted, 3);
    drop(running);
    let gone = client.rank(&request(7)).await;
    assert!(matches!(gone, Err(ClientError::Connect { .. } | ClientError::Lost { .. })), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_does_not_wait_or_read_without_end() {
    let gate = Gate::new();
    let running = start(service(stages(gate).build().unwrap())).await;
    let hasty = Client::builder(running.addr()).answer_timeout(Duration::from_millis(20)).build().unwrap();
    assert!(matches!(hasty.rank(&request(7)).await, Err(ClientError::Timeout { what: "answer", .. })));
    let plain = start(plain()).await;
    let small = Client::builder(plain.addr()).answer_bytes_max(10).build().unwrap();
    assert!(matches!(small.rank(&request(7)).await, Err(ClientError::BadAnswer { status: 200, .. })));
    assert!(Client::builder(plain.addr()).answer_timeout(Duration::ZERO).build().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_meter_counts_what_it_asks() {
    let pipeline = Arc::new(stages(Margin::new()).build().unwrap());
    let running = start(Service::builder(pipeline.clone()).context(context())).await;
    let load = Load::builder().connections(4).warm_up(Duration::ZERO).requests(500);
    let report = load.build().unwrap().run(running.addr(), &[request(1), request(2)]).await.unwrap();
    assert_eq!((report.connections, report.requests, report.failed()), (4, 500, 0));
    assert_eq!(pipeline.counters()[0].calls, 500);
    let order = [report.p50_us, report.p90_us, report.p99_us, report.max_us];
    assert!(order.is_sorted() && order[0] > 0.0, "{order:?}");
    assert!(report.requests_per_s > 0.0);
    let bad = Load::builder().warm_up(Duration::ZERO).requests(5).build().unwrap();
    let bad = bad.run(running.addr(), &[RankRequest::new(0)]).await.unwrap();
    assert_eq!((bad.requests, bad.failures.clone()), (5, [("422".to_owned(), 5)].into()));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_is_for_loopback_only() {
    let load = Load::builder().requests(1).build().unwrap();
    let refused = load.run("192.0.2.1:80".parse().unwrap(), &[request(1)]).await;
    assert!(matches!(refused, Err(Error::Invalid { setting: "addr", .. })));
    let nothing = load.run("127.0.0.1:1".parse().unwrap(), &[]).await;
    assert!(matches!(nothing, Err(Error::Invalid { setting: "requests", .. })));
    // Port 1 of loopback: nobody listens there.
    let nobody = Load::builder().requests(2).warm_up(Duration::ZERO).build().unwrap();
    let nobody = nobody.run("127.0.0.1:1".parse().unwrap(), &[request(1)]).await.unwrap();
    assert_eq!(nobody.failures, [("connect".to_owned(), 2)].into());
    assert!(Load::builder().connections(0).build().is_err());
    assert!(Load::builder().duration(Duration::ZERO).build().is_err());
    assert!(Load::builder().warm_up(Duration::MAX).build().is_err());
}

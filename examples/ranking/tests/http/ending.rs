//! Many at a time: the limit of connections, a swap, the end.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_told_so() {
    let gate = Gate::new();
    let running = start(service(stages(gate.clone()).build().unwrap()).connections_max(2)).await;
    let addr = running.addr();
    let asked: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { Client::builder(addr).build().unwrap().rank(&request(7)).await }))
        .collect();
    gate.until_waiting(2).await;
    let full = raw(addr, &post(JSON, "{}")).await;
    problem(&full, ProblemCode::Overloaded, None);
    assert!(full.1.contains("retry-after: 1"), "{}", full.1);
    gate.open.add_permits(2);
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap().items.len(), 3);
    }
    while running.stats().open > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client(&running).rank(&request(7)).await.unwrap().items.len(), 3);
    let stats = running.stats();
    assert_eq!((stats.accepted, stats.turned_away), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_answers_what_was_begun() {
    let gate = Gate::new();
    let running = start(service(stages(gate.clone()).build().unwrap())).await;
    let addr = running.addr();
    let asked: Vec<_> = (0..40)
        .map(|_| tokio::spawn(async move { Client::builder(addr).build().unwrap().rank(&request(7)).await }))
        .collect();
    gate.until_waiting(40).await;
    let ended = tokio::spawn(running.shutdown());
    while TcpStream::connect(addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ended.is_finished(), "requests are under way");
    assert!(matches!(Client::builder(addr).build().unwrap().rank(&request(7)).await, Err(ClientError::Connect { .. })));
    gate.open.add_permits(40);
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap().items.len(), 3);
    }
    assert_eq!(ended.await.unwrap().cut_off, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_under_load_loses_no_answer() {
    let pipeline = Arc::new(stages(Margin::new()).build().unwrap());
    let running = start(Service::builder(pipeline.clone()).context(context())).await;
    let client = Arc::new(client(&running));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut answered = 0_u64;
                loop {
                    match client.rank(&request(7)).await {
                        Ok(_) => answered += 1,
                        Err(error) => return (answered, error),
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running.shutdown().await.cut_off, 0);
    let mut answered = 0;
    for caller in callers {
        let (count, error) = caller.await.unwrap();
        // Nobody listens, or the connection was closed while a starved caller had left it idle.
        assert!(matches!(error, ClientError::Connect { .. } | ClientError::Lost { .. }), "{error:?}");
        answered += count;
    }
    // Every request that reached the pipeline reached its caller.
    assert_eq!(pipeline.counters()[0].calls, answered);
    assert!(answered > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_does_not_wait_for_ever() {
    let gate = Gate::new();
    let running =
        start(service(stages(gate.clone()).build().unwrap()).shutdown_grace(Duration::from_millis(100))).await;
    let addr = running.addr();
    let stuck = tokio::spawn(async move { Client::builder(addr).build().unwrap().rank(&request(7)).await });
    gate.until_waiting(1).await;
    assert_eq!(running.shutdown().await.cut_off, 1);
    assert!(matches!(stuck.await.unwrap(), Err(ClientError::Lost { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_load_fails_nothing_and_each_answer_has_one_version() {
    let margin = Margin::new();
    let running = start(service(stages(margin.clone()).build().unwrap())).await;
    let client = Arc::new(client(&running));
    let asked = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, asked) = (client.clone(), asked.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while asked.fetch_add(1, Ordering::Relaxed) < 2_000 {
                    answers.push(client.rank(&request(7)).await);
                }
                answers
            })
        })
        .collect();
    for version in 2..=20_u32 {
        while asked.load(Ordering::Relaxed) < u64::from(version) * 95 {
            tokio::task::yield_now().await;
        }
        margin.swap(f64::from(version), &version.to_string());
    }
    let (mut count, mut versions) = (0, BTreeSet::new());
    for caller in callers {
        for answer in caller.await.unwrap() {
            let answer = answer.unwrap();
            let version: f64 = answer.versions["margin"].parse().unwrap();
            // The best margin is 19: scores and version are of one model.
            assert_eq!(answer.items[0].score, Some(19.0 * version));
            assert_eq!(answer.versions.len(), 2);
            versions.insert(answer.versions["margin"].clone());
            count += 1;
        }
    }
    assert_eq!(count, 2_000);
    assert!(versions.len() > 10, "{versions:?}");
    assert_eq!((running.stats().failed, running.stats().refused), (0, 0));
}

//! What is refused: bodies, heads, dawdlers, settings.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bodies_are_problems_that_name_the_thing() {
    use ProblemCode::{BadField, BadValue, BodyTooLong, MissingField, NotJson};
    let running = start(plain().body_bytes_max(16 * 1024)).await;
    let long = "x".repeat(10_000);
    let deep = format!("{{\"limit\":1,\"context\":{}{}}}", "{\"customer\":".repeat(800), "}".repeat(800));
    let cases: [(&str, ProblemCode, Option<&str>); 16] = [
        ("", NotJson, None),
        ("{\"limit\":3,\"context\":{\"customer\":", NotJson, None),
        ("{\"limit\":3,\"context\":{\"customer\":NaN}}", NotJson, None),
        ("{\"limit\":3,\"context\":{\"customer\":7}} {}", NotJson, None),
        ("[]", BadField, Some("body")),
        ("{\"limit\":\"3\",\"context\":{\"customer\":7}}", BadField, Some("limit")),
        ("{\"limit\":3,\"k\":3,\"context\":{\"customer\":7}}", BadField, Some("k")),
        ("{\"limit\":3,\"context\":{\"customer\":\"7\"}}", BadField, Some("context.customer")),
        ("{\"limit\":3,\"context\":{\"user\":7}}", BadField, Some("context.user")),
        ("{\"limit\":0,\"context\":{\"customer\":7}}", BadValue, Some("limit")),
        ("{\"limit\":1001,\"context\":{\"customer\":7}}", BadValue, Some("limit")),
        ("{\"limit\":3,\"context\":{}}", MissingField, Some("context.customer")),
        ("{\"context\":{\"customer\":7}}", MissingField, Some("limit")),
        ("{\"limit\":3,\"context\":{\"customer\":7,\"cell\":\"a\\u0000\"}}", BadValue, Some("context.cell")),
        (
            &format!("{{\"limit\":3,\"context\":{{\"customer\":7,\"cell\":\"{long}\"}}}}"),
            BadValue,
            Some("context.cell"),
        ),
        (&deep, BadField, Some("context.customer")),
    ];
    for (body, code, name) in cases {
        problem(&raw(running.addr(), &post(JSON, body)).await, code, name);
    }
    problem(&raw(running.addr(), &post(JSON, &"x".repeat(17 * 1024))).await, BodyTooLong, None);
    let chunk = format!("{:x}\r\n{}\r\n", 9 * 1024, " ".repeat(9 * 1024));
    let chunked = format!(
        "POST /rank HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    problem(&raw(running.addr(), chunked.as_bytes()).await, BodyTooLong, None);
    let stats = running.stats();
    assert_eq!((stats.answered, stats.refused, stats.failed), (0, 18, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_heads_are_problems_that_name_the_thing() {
    use ProblemCode::{BadField, ContentType, ForeignHost, ForeignOrigin, UnknownRoute, WrongMethod};
    let running = start(plain()).await;
    let addr = running.addr();
    let body = "{\"limit\":3,\"context\":{\"customer\":7}}";
    problem(&raw(addr, &post("", body)).await, ContentType, Some("content-type"));
    problem(&raw(addr, &post("content-type: text/plain\r\n", body)).await, ContentType, Some("content-type"));
    assert_eq!(raw(addr, &post("content-type: Application/JSON; charset=utf-8\r\n", body)).await.0, 200);
    let foreign = format!("{JSON}origin: https://evil.example\r\n");
    problem(&raw(addr, &post(&foreign, body)).await, ForeignOrigin, Some("origin"));
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{host}\r\n").into_bytes();
    problem(&raw(addr, &get("/nothing", "host: localhost\r\n")).await, UnknownRoute, Some("/nothing"));
    problem(&raw(addr, &get("/metrics", "host: localhost\r\n")).await, UnknownRoute, Some("/metrics"));
    problem(&raw(addr, &get("/rank", "host: localhost\r\n")).await, WrongMethod, Some("/rank"));
    problem(&raw(addr, &get("/healthz", "host: evil.example\r\n")).await, ForeignHost, Some("host"));
    problem(&raw(addr, &get("/healthz", "")).await, BadField, Some("host"));
    let healthy = raw(addr, &get("/healthz", "host: [::1]:9\r\n")).await;
    assert_eq!((healthy.0, healthy.2.as_str()), (200, "{\"status\":\"alive\"}"));
    assert!(healthy.1.contains("x-content-type-options: nosniff"), "{}", healthy.1);
    // Refused before there is a request.
    assert_eq!(raw(addr, b"\x16\x03\x01\x00\x05hello\r\n\r\n").await.0, 400);
    let big = format!("host: localhost\r\nx: {}\r\n", "y".repeat(20_000));
    assert_eq!(raw(addr, &get("/healthz", &big)).await.0, 431);
    let many = "x: 1\r\n".repeat(80);
    assert_eq!(raw(addr, &get("/healthz", &format!("host: localhost\r\n{many}"))).await.0, 431);
    assert_eq!(client(&running).rank(&request(7)).await.unwrap().items.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dawdlers_are_cut_off() {
    let running =
        start(plain().header_timeout(Duration::from_millis(250)).body_timeout(Duration::from_millis(250))).await;
    // Nothing at all, half a head, and half a head after a whole request: the connection is closed, nobody is answered.
    assert_eq!(raw(running.addr(), b"").await.0, 0);
    assert_eq!(raw(running.addr(), b"POST /rank HTTP/1.1\r\nhost: loc").await.0, 0);
    let mut drip = TcpStream::connect(running.addr()).await.unwrap();
    let mut sent = 0;
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ".to_owned() + &"y".repeat(10_000);
    for byte in head.as_bytes() {
        if drip.write_all(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(sent < head.len(), "the service read on for {sent} bytes");
    let short = raw(
        running.addr(),
        format!("POST /rank HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 9\r\n\r\n{{").as_bytes(),
    )
    .await;
    problem(&short, ProblemCode::BodyTimeout, None);
    assert_eq!(client(&running).rank(&request(7)).await.unwrap().items.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_does_not_read_is_given_up() {
    let running = start(plain().write_timeout(Duration::from_millis(50))).await;
    // A small window, so that little needs to be answered until it is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(running.addr()).await.unwrap();
    let body = RankRequest::new(20).context("customer", 7).to_json();
    let head = format!("POST /rank HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: {}\r\n\r\n", body.len());
    let one = [head.as_bytes(), &body].concat();
    let many = one.repeat(100);
    // Answers fill the sockets, then requests do; the service hangs up and writing fails.
    loop {
        let written = tokio::time::timeout(Duration::from_secs(30), stream.write_all(&many)).await;
        if written.expect("the service gives up").is_err() {
            break;
        }
    }
    while running.stats().open > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |builder: ServiceBuilder, setting: &str| match builder.build() {
        Err(Error::Invalid { setting: found, .. }) => assert_eq!(found, setting),
        other => panic!("{setting}: {other:?}"),
    };
    refused(plain().bind("0.0.0.0:0".parse().unwrap()), "bind");
    assert!(plain().bind("0.0.0.0:0".parse().unwrap()).allow_unauthenticated().build().is_ok());
    refused(plain().host("http://evil.example"), "host");
    refused(plain().connections_max(0), "connections_max");
    refused(plain().body_bytes_max(0), "body_bytes_max");
    refused(plain().limit_max(0), "limit_max");
    refused(plain().header_timeout(Duration::ZERO), "header_timeout");
    refused(plain().shutdown_grace(Duration::MAX), "shutdown_grace");
    let dates = plain().context([Field::new("born", DataType::Date32, true)]);
    assert!(matches!(dates.build(), Err(Error::Schema { column, .. }) if column == "born"));
}

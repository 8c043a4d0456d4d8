//! The HTTP client against servers that behave, and servers that do not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use showrunner_loadtest::http::{
    Access, BodyError, Connection, Deadlines, FetchFailure, HttpError, Request, Response, fetch,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use url::Url;

/// Answers each request on each connection with the next of `answers`; an empty answer closes the connection.
async fn server(answers: Vec<&'static [u8]>) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((mut socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            loop {
                match socket.read(&mut request).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
                let Some(answer) = answers.next() else { return };
                if answer.is_empty() {
                    break;
                }
                socket.write_all(answer).await.unwrap();
                if answer.starts_with(b"CLOSE") || answer.windows(5).any(|window| window == b"close") {
                    break;
                }
            }
        }
    });
    (url, connections)
}

/// What is waited for where nothing comes.
const SHORT: Duration = Duration::from_millis(300);

async fn get(slot: &mut Option<Connection>, url: &Url, capture: usize) -> Result<Response, FetchFailure> {
    get_within(Duration::from_secs(5), slot, url, capture).await
}

async fn get_within(
    limit: Duration,
    slot: &mut Option<Connection>,
    url: &Url,
    capture: usize,
) -> Result<Response, FetchFailure> {
    let mut request = Request::get(url.clone(), Instant::now());
    (request.capture, request.deadlines) = (capture, Deadlines::all(limit));
    fetch(slot, &mut request, &Access::unlimited()).await
}

#[tokio::test]
async fn one_connection_for_many_requests() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Cache: MISS\r\n\r\nhello";
    let (url, connections) = server(vec![answer; 5]).await;
    let mut slot = None;
    for turn in 0..5 {
        let response = get(&mut slot, &url, 100).await.unwrap();
        assert_eq!(
            (response.body.as_deref(), response.bytes, response.reused),
            (Some(&b"hello"[..]), 5, turn > 0)
        );
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn chunked_and_until_close() {
    let (url, _) = server(vec![
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhatever",
    ])
    .await;
    let mut slot = None;
    assert_eq!(get(&mut slot, &url, 100).await.unwrap().body.unwrap(), b"abcde");
    assert!(slot.is_some());
    assert_eq!(get(&mut slot, &url, 100).await.unwrap().body.unwrap(), b"whatever");
    assert!(slot.is_none(), "a closed connection is not kept");
}

#[tokio::test]
async fn a_keep_alive_connection_that_closed_is_replaced_once() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (url, connections) = server(vec![answer, b"", answer, b"", b"", answer]).await;
    let mut slot = None;
    get(&mut slot, &url, 0).await.unwrap();
    let second = get(&mut slot, &url, 0).await.unwrap();
    assert!(!second.reused);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    let third = get(&mut slot, &url, 0).await.unwrap_err();
    assert!(
        matches!(third.error, HttpError::Closed(_)),
        "a fresh connection that closes is an error: {:?}",
        third.error
    );
}

#[tokio::test]
async fn truncated_bodies_are_errors_with_the_bytes_that_came() {
    let (url, _) = server(vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX: close\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: close\r\n\r\n9\r\nshort",
    ])
    .await;
    for _ in 0..2 {
        let failure = get(&mut None, &url, 0).await.unwrap_err();
        assert!(
            matches!(failure.error, HttpError::Body(BodyError::Truncated)),
            "{:?}",
            failure.error
        );
        assert_eq!(failure.bytes, 5);
    }
}

#[tokio::test]
async fn silence_is_a_timeout_of_the_right_kind() {
    let (url, _) = server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"]).await;
    let failure = get_within(SHORT, &mut None, &url, 0).await.unwrap_err();
    assert!(
        matches!(failure.error, HttpError::Stalled | HttpError::TotalTimeout),
        "{:?}",
        failure.error
    );
    let first_byte = failure.network_first_byte.unwrap();
    assert!(
        first_byte < failure.network_total && failure.network_total >= Duration::from_millis(300),
        "the silence came after it: {failure:?}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let failure = get_within(SHORT, &mut None, &mute, 0).await.unwrap_err();
    assert!(failure.error.is_timeout(), "{:?}", failure.error);
    assert!(failure.elapsed >= Duration::from_millis(300), "{:?}", failure.elapsed);
    assert_eq!(failure.network_first_byte, None);

    drop(listener);
    let failure = get_within(SHORT, &mut None, &mute, 0).await.unwrap_err();
    assert!(matches!(failure.error, HttpError::Connect(_)), "{:?}", failure.error);
}

/// A slow machine makes no difference to what must time out.
#[tokio::test]
async fn connecting_is_part_of_the_wait_for_the_first_byte() {
    let ms = Duration::from_millis;
    let (url, _) = server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
    let mut request = Request::get(url, Instant::now());
    request.deadlines = Deadlines {
        first_byte: ms(350),
        ..Deadlines::all(ms(5000))
    };
    // 200 ms to connect, and as much until the request is there.
    let failure = fetch(&mut None, &mut request, &Access::new(None, ms(200)))
        .await
        .unwrap_err();
    assert!(
        matches!(failure.error, HttpError::FirstByteTimeout),
        "{:?}",
        failure.error
    );
}

#[tokio::test]
async fn malformed_and_oversized_answers() {
    let (url, _) = server(vec![b"CLOSE nonsense\r\n\r\n"]).await;
    assert!(matches!(
        get(&mut None, &url, 0).await.unwrap_err().error,
        HttpError::Head(_)
    ));
    let (url, _) = server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"]).await;
    assert!(matches!(
        get(&mut None, &url, 4).await.unwrap_err().error,
        HttpError::TooLarge(4)
    ));
}

#[tokio::test]
async fn redirects_are_followed_to_a_bound() {
    let (target, _) = server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"]).await;
    let location = format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let (url, _) = server(vec![Vec::leak(location)]).await;
    let response = get(&mut None, &url, 10).await.unwrap();
    assert_eq!(
        (response.body.unwrap(), Url::clone(&response.url)),
        (b"here".to_vec(), target)
    );

    let (endless, _) = server(vec![
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n";
        10
    ])
    .await;
    assert!(matches!(
        get(&mut None, &endless, 0).await.unwrap_err().error,
        HttpError::Redirects
    ));
}

#[tokio::test]
async fn only_http() {
    let url = Url::parse("https://127.0.0.1/").unwrap();
    assert!(matches!(
        get(&mut None, &url, 0).await.unwrap_err().error,
        HttpError::UnsupportedScheme(_)
    ));
}

#[tokio::test]
async fn latency_counts_from_due() {
    let (url, _) = server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
    let due = Instant::now().checked_sub(Duration::from_millis(500)).unwrap();
    let response = fetch(&mut None, &mut Request::get(url, due), &Access::unlimited())
        .await
        .unwrap();
    assert!(response.total >= Duration::from_millis(500));
    assert!(response.network_total < Duration::from_millis(400));
}

#[tokio::test]
async fn the_line_is_as_slow_as_asked() {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n".to_vec();
    answer.extend(vec![7; 200_000]);
    let (url, _) = server(vec![Vec::leak(answer)]).await;
    let access = Access::new(Some(4_000_000), Duration::from_millis(20));
    let response = fetch(&mut None, &mut Request::get(url, Instant::now()), &access)
        .await
        .unwrap();
    // 200 kB at 4 Mbit/s are 400 ms, less 50 ms of burst, plus two round trips.
    assert!(response.total >= Duration::from_millis(360), "{:?}", response.total);
    assert!(response.total <= Duration::from_millis(900), "{:?}", response.total);
    assert!(
        response.first_byte >= Duration::from_millis(40),
        "{:?}",
        response.first_byte
    );
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use axum::{body::Body, extract::Request};
use http::StatusCode;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

const CONFIG: &str = r#"{
  "publicUrl": "http://steer.test:8080",
  "channels": [{
    "name": "main",
    "ladder": [
      {"name": "360p", "width": 640, "height": 360, "bitrateKbps": 700},
      {"name": "720p", "width": 1280, "height": 720, "bitrateKbps": 3000}
    ],
    "audio": {"bitrateKbps": 48, "language": "en"},
    "frameRate": 25
  }],
  "pathways": [
    {"id": "north", "publicUrl": "http://north.test:8080", "probeUrl": "http://127.0.0.1:9/healthz", "weight": 2},
    {"id": "south", "publicUrl": "http://south.test:8080/", "probeUrl": "http://127.0.0.1:9/healthz", "weight": 1},
    {"id": "west", "publicUrl": "", "probeUrl": "", "weight": 1}
  ],
  "ttlSeconds": 5,
  "failover": true,
  "probe": {"intervalMs": 1000, "timeoutMs": 800, "failures": 2, "successes": 3}
}"#;

fn steering(change: impl Fn(&mut SteeringConfig)) -> Arc<Steering> {
    let mut config = settings::parse(Path::new("steering.json"), CONFIG.as_bytes()).unwrap();
    change(&mut config);
    Arc::new(Steering::new(config))
}

async fn get(steering: &Arc<Steering>, uri: &str) -> (StatusCode, String) {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = router(Arc::clone(steering)).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn priority(steering: &Arc<Steering>, uri: &str) -> Vec<String> {
    let (_, body) = get(steering, uri).await;
    let manifest: serde_json::Value = serde_json::from_str(&body).unwrap();
    serde_json::from_value(manifest["PATHWAY-PRIORITY"].clone()).unwrap()
}

fn take_down(steering: &Steering, pathway: &str) {
    steering.probed(pathway, true);
    steering.probed(pathway, false);
    steering.probed(pathway, false);
}

#[tokio::test]
async fn multivariant_playlist() {
    let (status, text) = get(
        &steering(|_| ()),
        "/play/main/multivariant.m3u8?region=south&session=abc",
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let loaded = text
        .split("&loaded=")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    insta::assert_snapshot!(text.replace(&loaded, "NOW"));
}

#[tokio::test]
async fn a_playlist_parser_reads_it() {
    let (_, text) = get(&steering(|_| ()), "/play/main/multivariant.m3u8?region=north").await;
    let playlist = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
    assert_eq!(playlist.variants.len(), 4);
    assert_eq!(playlist.alternatives.len(), 2);
    let first = &playlist.variants[0];
    assert_eq!(first.uri, "http://north.test:8080/live/main/360p/index.m3u8");
    assert_eq!(first.codecs.as_deref(), Some("avc1.42c01e,mp4a.40.2"));
    assert!(first.average_bandwidth.unwrap() < first.bandwidth);
    assert_eq!(first.audio.as_deref(), Some("audio-north"));
}

#[tokio::test]
async fn steering_manifest() {
    let (status, text) = get(
        &steering(|_| ()),
        "/steer/main?session=abc&region=south&_HLS_pathway=south&_HLS_throughput=5000000",
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_poll_does_not_keep_its_connection() {
    let steering = steering(|_| {});
    let request = Request::get("/steer/main").body(Body::empty()).unwrap();
    let response = router(Arc::clone(&steering)).oneshot(request).await.unwrap();
    assert_eq!(
        response.headers()["connection"],
        "close",
        "or it outlives the region of its server"
    );
}

#[tokio::test]
async fn an_unhealthy_region_goes_last_and_comes_back() {
    let steering = steering(|_| ());
    let uri = "/steer/main?session=abc&region=south";
    take_down(&steering, "south");
    assert_eq!(priority(&steering, uri).await, ["north", "south"]);
    steering.probed("south", true);
    steering.probed("south", true);
    assert_eq!(
        priority(&steering, uri).await,
        ["north", "south"],
        "two successes are not three"
    );
    steering.probed("south", true);
    assert_eq!(priority(&steering, uri).await, ["south", "north"]);
}

#[tokio::test]
async fn without_failover_there_is_one_pathway_whatever_happens() {
    let steering = steering(|config| config.failover = false);
    take_down(&steering, "south");
    assert_eq!(
        priority(&steering, "/steer/main?session=abc&region=south").await,
        ["south"]
    );
    let (_, text) = get(&steering, "/play/main/multivariant.m3u8?region=south").await;
    assert!(text.contains("south.test") && !text.contains("north.test"));
}

#[tokio::test]
async fn sightings_are_counted_once() {
    let steering = steering(|_| ());
    let (_, text) = get(&steering, "/play/main/multivariant.m3u8?region=north").await;
    let server_uri = text
        .split("SERVER-URI=\"http://steer.test:8080")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    get(&steering, &format!("{server_uri}&_HLS_pathway=north")).await;
    get(&steering, "/steer/main?session=x&_HLS_pathway=south").await;
    get(&steering, "/steer/main?session=x&_HLS_pathway=nowhere&region=south").await;
    let report = steering.audience().report(Duration::from_secs(10), 5);
    assert_eq!((report.pathways["north"], report.pathways["south"]), (0.5, 1.0));
    assert_eq!(report.pathways.len(), 2, "unknown names are not counted by name");
}

#[tokio::test]
async fn what_does_not_exist() {
    let steering = steering(|_| ());
    for uri in [
        "/play/other/multivariant.m3u8",
        "/steer/other",
        "/play/..%2fmain/multivariant.m3u8",
        "/play/main/index.m3u8",
    ] {
        assert_eq!(get(&steering, uri).await.0, StatusCode::NOT_FOUND, "{uri}");
    }
    let (_, text) = get(
        &steering,
        "/play/main/multivariant.m3u8?session=%22%0A%23EXT&region=%22",
    )
    .await;
    assert!(
        !text.contains("%22") && text.lines().all(|line| !line.starts_with("#EXT\"")),
        "{text}"
    );
}

#[tokio::test]
async fn ready_means_an_address() {
    assert_eq!(get(&steering(|_| ()), "/healthz").await.0, StatusCode::OK);
    let none = steering(|config| {
        config
            .pathways
            .iter_mut()
            .for_each(|pathway| pathway.public_url.clear());
    });
    assert_eq!(get(&none, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        get(&none, "/play/main/multivariant.m3u8").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[test]
fn broken_configurations_are_refused() {
    let refused = |from: &str, to: &str| {
        assert!(CONFIG.contains(from));
        settings::parse(Path::new("steering.json"), CONFIG.replace(from, to).as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert!(refused("\"ttlSeconds\": 5", "\"ttlSeconds\": 0").contains("ttlSeconds"));
    assert!(refused("\"id\": \"south\"", "\"id\": \"north\"").contains("twice"));
    assert!(refused("http://south.test:8080/", "http://south.test\\\"/").contains("playlist"));
    assert!(refused("\"http://127.0.0.1:9/healthz\"", "\"https://127.0.0.1:9/\"").contains("probeUrl"));
    assert!(refused("\"language\": \"en\"", "\"language\": \"\\\"\"").contains("BCP 47"));
    assert!(refused("\"failover\"", "\"failovr\"").contains("failovr"));
}

/// The whole server: real probes over real sockets, and a file that changes under it.
#[tokio::test]
async fn follows_its_probes_and_its_file() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let well = Arc::new(AtomicBool::new(true));
    let (stop, client) = (CancellationToken::new(), crate::client::Client::new());
    let edge = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probe_url = format!("http://{}/healthz", edge.local_addr().unwrap());
    let answer = {
        let well = Arc::clone(&well);
        async move || {
            if well.load(Ordering::Relaxed) {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    };
    let edges = axum::Router::new().route("/healthz", axum::routing::get(answer));
    tokio::spawn(server::serve(edge, edges, Limits::default(), stop.clone()));

    let mut config = settings::parse(Path::new("steering.json"), CONFIG.as_bytes()).unwrap();
    config.pathways[0].probe_url.clone_from(&probe_url);
    config.probe = showrunner_crds::platform::Probe {
        interval_ms: 50,
        timeout_ms: 500,
        failures: 2,
        successes: 3,
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("steering.json");
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let running = tokio::spawn(run(path.clone(), listener, Limits::default(), stop.clone()));

    let until = async |uri: &str, wanted: &str| {
        let url = format!("{base}{uri}");
        let asked = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let (_, body) = client
                    .send(
                        http::Method::GET,
                        &url,
                        &[],
                        bytes::Bytes::new(),
                        Duration::from_secs(5),
                    )
                    .await
                    .unwrap();
                if String::from_utf8_lossy(&body).contains(wanted) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked)
            .await
            .unwrap_or_else(|_| panic!("{uri} never said {wanted}"));
    };
    let uri = "/steer/main?session=abc&region=north";
    // South has nobody listening, so it is down from the first probe on.
    until("/metrics", "showrunner_steering_pathway_up{pathway=\"south\"} 0").await;
    until(uri, "[\"north\",\"south\"]").await;
    config.pathways[1].probe_url = probe_url;
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    until("/steer/main?session=abc&region=south", "[\"south\",\"north\"]").await;
    well.store(false, Ordering::Relaxed);
    until("/metrics", "showrunner_steering_pathway_up{pathway=\"north\"} 0").await;
    well.store(true, Ordering::Relaxed);
    until("/metrics", "showrunner_steering_pathway_up{pathway=\"north\"} 1").await;

    std::fs::write(&path, b"{ broken").unwrap();
    until("/metrics", "showrunner_steering_config_rejected_total 1").await;
    until(uri, "\"TTL\":5").await;
    config.ttl_seconds = 7;
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    until(uri, "\"TTL\":7").await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

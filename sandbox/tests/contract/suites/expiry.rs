//! Versions that the server has forgotten.

use serde_json::json;

use super::objects::schema;
use super::watch::Watch;
use crate::context::Context;

crate::registry::suite!("expiry": a_watch_from_a_forgotten_version_is_told_so,);

async fn a_watch_from_a_forgotten_version_is_told_so(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    (c.expire)();
    let mut watch = Watch::open(&c, format!("{gadgets}?watch=true&resourceVersion=1")).await;
    let event = watch.read().await.unwrap();
    assert_eq!(event["type"], "ERROR", "{event}");
    let status = &event["object"];
    assert_eq!(
        (status["kind"].as_str(), status["code"].as_u64()),
        (Some("Status"), Some(410))
    );
    assert_eq!(status["reason"], "Expired");
    assert_eq!(watch.read().await, None, "and that is the end of it");
}

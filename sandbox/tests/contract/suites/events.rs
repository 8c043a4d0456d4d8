//! Events, in the two groups that serve them.

use serde_json::{Value, json};

use super::objects::names;
use crate::context::{Context, MERGE_PATCH};

crate::registry::suite!("events":
    a_core_event_is_stored, one_event_in_two_groups, fields_select_events, the_new_kind_is_checked,
    events_need_their_namespace, a_series_is_patched, both_groups_list_the_same,
);

fn core(c: &Context, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": "Normal", "reason": "Tested",
        "message": "it happened", "count": 1, "source": {"component": "contract"},
        "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:05Z",
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": c.ns, "uid": "1"}})
}

fn new(c: &Context, name: &str) -> Value {
    json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name}, "type": "Warning",
        "reason": "Tested", "note": "it happened", "action": "Testing", "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "contract.example/test", "reportingInstance": "one",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": c.ns}})
}

async fn a_core_event_is_stored(c: Context) {
    let made = c.post(c.path("v1", "events"), &core(&c, "one")).await.code(201);
    assert_eq!(
        (made["reason"].as_str(), made["count"].as_i64()),
        (Some("Tested"), Some(1))
    );
    assert_eq!(made["eventTime"], Value::Null);
    assert_eq!(made["reportingComponent"], "");
}

async fn one_event_in_two_groups(c: Context) {
    c.post(c.path("events.k8s.io/v1", "events"), &new(&c, "one"))
        .await
        .code(201);
    let event = c.get(c.path("v1", "events") + "/one").await.code(200);
    assert_eq!(
        (event["kind"].as_str(), event["apiVersion"].as_str()),
        (Some("Event"), Some("v1"))
    );
    assert_eq!(event["message"], "it happened");
    assert_eq!(event["involvedObject"]["name"], "web");
    assert_eq!(event["reportingComponent"], "contract.example/test");
    c.post(c.path("v1", "events"), &core(&c, "two")).await.code(201);
    let event = c.get(c.path("events.k8s.io/v1", "events") + "/two").await.code(200);
    assert_eq!(event["note"], "it happened");
    assert_eq!(event["regarding"]["name"], "web");
    assert_eq!(event["deprecatedCount"], 1);
    assert_eq!(event["deprecatedSource"], json!({"component": "contract"}));
}

async fn fields_select_events(c: Context) {
    c.post(c.path("v1", "events"), &core(&c, "one")).await.code(201);
    let mut other = core(&c, "two");
    other["involvedObject"]["name"] = json!("db");
    other["type"] = json!("Warning");
    other["reason"] = json!("Other");
    c.post(c.path("v1", "events"), &other).await.code(201);
    for (selector, wanted) in [
        ("involvedObject.name=web", "one"),
        ("involvedObject.name=db,involvedObject.kind=Pod", "two"),
        ("type=Warning", "two"),
        ("type!=Warning", "one"),
        ("reason=Other", "two"),
    ] {
        let encoded = selector.replace('=', "%3D").replace('!', "%21").replace(',', "%2C");
        let list = c
            .get(format!("{}?fieldSelector={encoded}", c.path("v1", "events")))
            .await
            .ok();
        assert_eq!(names(&list), [wanted], "{selector}");
    }
}

async fn the_new_kind_is_checked(c: Context) {
    let path = c.path("events.k8s.io/v1", "events");
    for field in [
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ] {
        let mut body = new(&c, "one");
        body.as_object_mut().unwrap().remove(field);
        c.post(&path, &body).await.invalid(&[field]);
    }
    let mut body = new(&c, "one");
    body["type"] = json!("Strange");
    c.post(&path, &body).await.invalid(&["type"]);
    c.post(&path, &new(&c, "one")).await.code(201);
}

async fn events_need_their_namespace(c: Context) {
    let mut body = core(&c, "one");
    body["involvedObject"]["namespace"] = json!("elsewhere");
    c.post(c.path("v1", "events"), &body)
        .await
        .invalid(&["involvedObject.namespace"]);
}

async fn a_series_is_patched(c: Context) {
    let path = c.path("events.k8s.io/v1", "events");
    c.post(&path, &new(&c, "one")).await.code(201);
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}});
    let patched = c.patch(format!("{path}/one"), MERGE_PATCH, &series).await.code(200);
    assert_eq!(patched["series"]["count"], 2);
    c.patch(format!("{path}/one"), MERGE_PATCH, &json!({"note": "another"}))
        .await
        .refused(422, "Invalid");
}

async fn both_groups_list_the_same(c: Context) {
    c.post(c.path("v1", "events"), &core(&c, "one")).await.code(201);
    c.post(c.path("events.k8s.io/v1", "events"), &new(&c, "two"))
        .await
        .code(201);
    for version in ["v1", "events.k8s.io/v1"] {
        let list = c.get(c.path(version, "events")).await.ok();
        assert_eq!(list["kind"], "EventList");
        assert_eq!(names(&list), ["one", "two"]);
    }
}

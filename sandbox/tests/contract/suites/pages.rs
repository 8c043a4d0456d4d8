//! Lists: pages, selectors, versions.

use serde_json::json;

use super::objects::{config_map, labelled, names, version};
use crate::context::Context;

crate::registry::suite!("pages":
    pages_cover_the_list_once, a_page_tells_how_many_are_left, pages_are_one_snapshot, a_selector_hides_the_remainder,
    tokens_that_make_no_sense, a_token_excludes_a_version, label_selectors, label_selectors_that_make_no_sense,
    field_selectors, field_selectors_that_are_not_supported, a_version_that_is_not_a_number,
    version_matches, lists_are_sorted_by_name, namespaces_are_in_the_order_of_paths,
    items_do_not_repeat_their_kind, a_limit_larger_than_the_list,
);

async fn five(c: &Context) {
    for name in ["a", "b", "c", "d", "e"] {
        c.post(c.maps(), &config_map(name, json!({}))).await.code(201);
    }
}

fn token(list: &serde_json::Value) -> String {
    let token = list["metadata"]["continue"].as_str().unwrap_or_default();
    token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

async fn pages_cover_the_list_once(c: Context) {
    five(&c).await;
    let mut page = c.get(format!("{}?limit=2", c.maps())).await.ok();
    let mut seen = names(&page);
    let mut pages = 1;
    while !token(&page).is_empty() {
        page = c
            .get(format!("{}?limit=2&continue={}", c.maps(), token(&page)))
            .await
            .ok();
        seen.extend(names(&page));
        pages += 1;
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    assert_eq!(pages, 3);
}

async fn a_page_tells_how_many_are_left(c: Context) {
    five(&c).await;
    let page = c.get(format!("{}?limit=2", c.maps())).await.ok();
    assert_eq!(page["metadata"]["remainingItemCount"], 3);
    let page = c
        .get(format!("{}?limit=3&continue={}", c.maps(), token(&page)))
        .await
        .ok();
    assert!(page["metadata"].get("remainingItemCount").is_none());
    assert!(page["metadata"].get("continue").is_none());
}

async fn pages_are_one_snapshot(c: Context) {
    five(&c).await;
    let first = c.get(format!("{}?limit=2", c.maps())).await.ok();
    c.delete(format!("{}/d", c.maps())).await.ok();
    c.post(c.maps(), &config_map("cc", json!({}))).await.code(201);
    let second = c
        .get(format!("{}?limit=9&continue={}", c.maps(), token(&first)))
        .await
        .ok();
    assert_eq!(
        names(&second),
        ["c", "d", "e"],
        "as it was when the first page was read"
    );
    assert_eq!(version(&second), version(&first));
}

async fn a_selector_hides_the_remainder(c: Context) {
    for name in ["a", "b", "c"] {
        c.post(c.maps(), &labelled(name, json!({"app": "x"}))).await.code(201);
    }
    let page = c.get(format!("{}?limit=1&labelSelector=app%3Dx", c.maps())).await.ok();
    assert_eq!(names(&page), ["a"]);
    assert!(!token(&page).is_empty());
    assert!(page["metadata"].get("remainingItemCount").is_none());
    let rest = c
        .get(format!(
            "{}?limit=5&labelSelector=app%3Dx&continue={}",
            c.maps(),
            token(&page)
        ))
        .await
        .ok();
    assert_eq!(names(&rest), ["b", "c"]);
}

async fn tokens_that_make_no_sense(c: Context) {
    c.get(format!("{}?limit=2&continue=nonsense", c.maps()))
        .await
        .refused(400, "BadRequest");
}

async fn a_token_excludes_a_version(c: Context) {
    five(&c).await;
    let page = c.get(format!("{}?limit=2", c.maps())).await.ok();
    let path = format!(
        "{}?limit=2&resourceVersion={}&continue={}",
        c.maps(),
        version(&page),
        token(&page)
    );
    c.get(path).await.refused(400, "BadRequest");
}

async fn label_selectors(c: Context) {
    c.post(c.maps(), &labelled("a", json!({"app": "x", "tier": "front"})))
        .await
        .code(201);
    c.post(c.maps(), &labelled("b", json!({"app": "y"}))).await.code(201);
    c.post(c.maps(), &labelled("c", json!({}))).await.code(201);
    for (selector, wanted) in [
        ("app=x", &["a"][..]),
        ("app==x", &["a"]),
        ("app!=x", &["b", "c"]),
        ("app", &["a", "b"]),
        ("!app", &["c"]),
        ("app in (x,y)", &["a", "b"]),
        ("app notin (x)", &["b", "c"]),
        ("app in (x,y),!tier", &["b"]),
        ("tier=front,app=y", &[]),
        ("app=", &[]),
    ] {
        let encoded = selector.replace(' ', "%20").replace('=', "%3D").replace('!', "%21");
        let list = c.get(format!("{}?labelSelector={encoded}", c.maps())).await.ok();
        assert_eq!(names(&list), wanted, "{selector}");
    }
}

async fn label_selectors_that_make_no_sense(c: Context) {
    for selector in [
        "app%20in%20x",
        "%3D%3D",
        "app%3D%3D%3Dx",
        "app%20in%20(",
        "bad%20key%3Dx",
        "a%3Db,",
    ] {
        c.get(format!("{}?labelSelector={selector}", c.maps()))
            .await
            .refused(400, "BadRequest");
    }
}

async fn field_selectors(c: Context) {
    five(&c).await;
    let by = |selector: &str| {
        format!(
            "{}?fieldSelector={}",
            c.maps(),
            selector.replace('=', "%3D").replace('!', "%21")
        )
    };
    assert_eq!(names(&c.get(by("metadata.name=c")).await.ok()), ["c"]);
    assert_eq!(names(&c.get(by("metadata.name!=c")).await.ok()), ["a", "b", "d", "e"]);
    assert_eq!(
        names(&c.get(by(&format!("metadata.namespace={}", c.ns))).await.ok()).len(),
        5
    );
    c.post(c.path("v1", "pods"), &super::objects::pod("p")).await.code(201);
    let pods = c.path("v1", "pods");
    assert_eq!(
        names(&c.get(format!("{pods}?fieldSelector=status.phase%3DPending")).await.ok()),
        ["p"]
    );
    assert_eq!(
        names(&c.get(format!("{pods}?fieldSelector=status.phase%3DRunning")).await.ok()),
        [""; 0]
    );
    assert_eq!(
        names(&c.get(format!("{pods}?fieldSelector=spec.nodeName%3D")).await.ok()),
        ["p"]
    );
}

async fn field_selectors_that_are_not_supported(c: Context) {
    let status = c
        .get(format!("{}?fieldSelector=data.k%3Dv", c.maps()))
        .await
        .refused(400, "BadRequest");
    assert!(status["message"].as_str().unwrap().contains("\"data.k\""), "{status}");
    c.get(format!("{}?fieldSelector=metadata.name", c.maps()))
        .await
        .refused(400, "BadRequest");
}

async fn a_version_that_is_not_a_number(c: Context) {
    let answer = c.get(format!("{}?resourceVersion=soon", c.maps())).await;
    assert!((400..500).contains(&answer.code), "{} {}", answer.code, answer.body);
}

async fn version_matches(c: Context) {
    five(&c).await;
    let now = version(&c.get(c.maps()).await.ok());
    c.post(c.maps(), &config_map("f", json!({}))).await.code(201);
    let exact = c
        .get(format!("{}?resourceVersion={now}&resourceVersionMatch=Exact", c.maps()))
        .await
        .ok();
    assert_eq!(names(&exact), ["a", "b", "c", "d", "e"]);
    assert_eq!(version(&exact), now);
    let newer = c
        .get(format!(
            "{}?resourceVersion={now}&resourceVersionMatch=NotOlderThan",
            c.maps()
        ))
        .await
        .ok();
    assert!(version(&newer).parse::<u64>().unwrap() >= now.parse().unwrap());
    c.get(format!("{}?resourceVersionMatch=Exact", c.maps()))
        .await
        .refused(422, "Invalid");
    c.get(format!("{}?resourceVersion=0&resourceVersionMatch=Exact", c.maps()))
        .await
        .refused(422, "Invalid");
    c.get(format!("{}?resourceVersion=0&resourceVersionMatch=Sometimes", c.maps()))
        .await
        .refused(422, "Invalid");
}

async fn lists_are_sorted_by_name(c: Context) {
    for name in ["b", "a-b", "a", "a.b", "c"] {
        c.post(c.maps(), &config_map(name, json!({}))).await.code(201);
    }
    assert_eq!(names(&c.get(c.maps()).await.ok()), ["a", "a-b", "a.b", "b", "c"]);
}

async fn a_limit_larger_than_the_list(c: Context) {
    five(&c).await;
    let page = c.get(format!("{}?limit=500", c.maps())).await.ok();
    assert_eq!(names(&page).len(), 5);
    assert!(page["metadata"].get("continue").is_none());
}

async fn namespaces_are_in_the_order_of_paths(c: Context) {
    // `-` comes before `/`, so what is in `x-more` comes before what is in `x`.
    let other = format!("{}-more", c.ns);
    c.post("/api/v1/namespaces", &json!({"metadata": {"name": other}}))
        .await
        .code(201);
    let mut labelled = labelled("one", json!({"of": c.id}));
    c.post(c.maps(), &labelled).await.code(201);
    labelled["metadata"]["name"] = json!("two");
    c.post(format!("/api/v1/namespaces/{other}/configmaps"), &labelled)
        .await
        .code(201);
    let all = format!("/api/v1/configmaps?labelSelector=of%3D{}", c.id);
    assert_eq!(names(&c.get(&all).await.ok()), ["two", "one"]);
    let page = c.get(format!("{all}&limit=1")).await.ok();
    assert_eq!(names(&page), ["two"]);
    let rest = c.get(format!("{all}&limit=1&continue={}", token(&page))).await.ok();
    assert_eq!(names(&rest), ["one"]);
}

async fn items_do_not_repeat_their_kind(c: Context) {
    five(&c).await;
    let list = c.get(c.maps()).await.ok();
    assert_eq!(
        (&list["kind"], list["items"][0].get("kind")),
        (&json!("ConfigMapList"), None)
    );
}

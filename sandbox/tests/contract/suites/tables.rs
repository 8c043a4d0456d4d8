//! What kubectl prints.

use serde_json::{Value, json};

use super::objects::{config_map, deployment, pod, schema, service};
use crate::context::{Ask, Context, TABLE};

crate::registry::suite!("tables":
    config_maps, pods, deployments, services, one_object, rows_carry_their_metadata, rows_can_carry_the_object,
    rows_can_carry_nothing, columns_of_a_definition, a_definition_without_columns, an_empty_table, namespaces,
    a_watch_sends_tables, a_refusal_is_a_status, pages_of_a_table,
);

fn columns(table: &Value) -> Vec<&str> {
    table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect()
}

/// The cells of a row, without the age.
fn cells(table: &Value, row: usize) -> Vec<Value> {
    let age = columns(table).iter().position(|name| *name == "Age");
    let cells = table["rows"][row]["cells"].as_array().unwrap().iter().enumerate();
    cells
        .filter(|(index, _)| Some(*index) != age)
        .map(|(_, cell)| cell.clone())
        .collect()
}

/// Tables have ages in them: they are no part of the trace.
async fn table(c: &Context, path: String) -> Value {
    let ask = Ask {
        accept: TABLE,
        ..Ask::json("GET", path, None)
    };
    let table = c.quiet(ask).await.code(200);
    assert_eq!(
        (table["kind"].as_str(), table["apiVersion"].as_str()),
        (Some("Table"), Some("meta.k8s.io/v1"))
    );
    table
}

async fn config_maps(c: Context) {
    c.post(c.maps(), &config_map("one", json!({"a": "1", "b": "2"})))
        .await
        .code(201);
    let table = table(&c, c.maps()).await;
    assert_eq!(columns(&table), ["Name", "Data", "Age"]);
    assert_eq!(cells(&table, 0), [json!("one"), json!(2)]);
    let name = &table["columnDefinitions"][0];
    assert_eq!(
        (
            name["type"].as_str(),
            name["format"].as_str(),
            name["priority"].as_i64()
        ),
        (Some("string"), Some("name"), Some(0))
    );
}

async fn pods(c: Context) {
    c.post(c.path("v1", "pods"), &pod("one")).await.code(201);
    let table = table(&c, c.path("v1", "pods")).await;
    let wanted = [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
        "IP",
        "Node",
        "Nominated Node",
        "Readiness Gates",
    ];
    assert_eq!(columns(&table), wanted);
    let none = json!("<none>");
    let row = [
        json!("one"),
        json!("0/1"),
        json!("Pending"),
        json!("0"),
        none.clone(),
        none.clone(),
        none.clone(),
        none,
    ];
    assert_eq!(cells(&table, 0), row);
}

async fn deployments(c: Context) {
    c.post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let table = table(&c, c.path("apps/v1", "deployments")).await;
    assert_eq!(
        columns(&table),
        [
            "Name",
            "Ready",
            "Up-to-date",
            "Available",
            "Age",
            "Containers",
            "Images",
            "Selector"
        ]
    );
    let row = [
        json!("one"),
        json!("0/1"),
        json!(0),
        json!(0),
        json!("main"),
        json!("web:1"),
        json!("app=one"),
    ];
    assert_eq!(cells(&table, 0), row);
    let priorities: Vec<i64> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["priority"].as_i64().unwrap())
        .collect();
    assert_eq!(priorities, [0, 0, 0, 0, 0, 1, 1, 1]);
}

async fn services(c: Context) {
    let mut body = service("one");
    body["spec"]["clusterIP"] = json!("None");
    c.post(c.path("v1", "services"), &body).await.code(201);
    let table = table(&c, c.path("v1", "services")).await;
    assert_eq!(
        columns(&table),
        [
            "Name",
            "Type",
            "Cluster-IP",
            "External-IP",
            "Port(s)",
            "Age",
            "Selector"
        ]
    );
    let row = [
        json!("one"),
        json!("ClusterIP"),
        json!("None"),
        json!("<none>"),
        json!("80/TCP"),
        json!("app=one"),
    ];
    assert_eq!(cells(&table, 0), row);
}

async fn one_object(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    c.post(c.maps(), &config_map("two", json!({}))).await.code(201);
    let table = table(&c, format!("{}/two", c.maps())).await;
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    assert_eq!(cells(&table, 0)[0], "two");
}

async fn rows_carry_their_metadata(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let table = table(&c, c.maps()).await;
    let object = &table["rows"][0]["object"];
    assert_eq!(
        (object["kind"].as_str(), object["apiVersion"].as_str()),
        (Some("PartialObjectMetadata"), Some("meta.k8s.io/v1"))
    );
    assert_eq!(object["metadata"]["uid"], made["metadata"]["uid"]);
    assert!(object.get("data").is_none());
    assert!(table["metadata"]["resourceVersion"].is_string());
}

async fn rows_can_carry_the_object(c: Context) {
    c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let table = table(&c, format!("{}?includeObject=Object", c.maps())).await;
    assert_eq!(table["rows"][0]["object"]["data"], json!({"k": "v"}));
}

async fn rows_can_carry_nothing(c: Context) {
    c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let table = table(&c, format!("{}?includeObject=None", c.maps())).await;
    assert!(table["rows"][0]["object"].is_null(), "{}", table["rows"]);
}

async fn columns_of_a_definition(c: Context) {
    let properties = json!({"size": {"type": "integer"}, "color": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}});
    let gadgets = c
        .define_with("Gadget", schema(properties), |definition| {
            definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "how big"},
                {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
                {"name": "First", "type": "string", "jsonPath": ".spec.tags[0]"},
                {"name": "Born", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            ]);
        })
        .await;
    c.post(
        &gadgets,
        &c.custom("Gadget", "one", json!({"size": 3, "tags": ["x", "y"]})),
    )
    .await
    .code(201);
    let table = table(&c, gadgets).await;
    assert_eq!(columns(&table), ["Name", "Size", "Color", "First", "Born"]);
    let row = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(row[..4], [json!("one"), json!(3), Value::Null, json!("x")]);
    assert_eq!(table["columnDefinitions"][1]["description"], "how big");
    assert_eq!(table["columnDefinitions"][2]["priority"], 1);
}

async fn a_definition_without_columns(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({}))).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({}))).await.code(201);
    assert_eq!(columns(&table(&c, gadgets).await), ["Name", "Age"]);
}

async fn an_empty_table(c: Context) {
    let table = table(&c, c.maps()).await;
    assert_eq!(table["rows"], json!([]));
    assert_eq!(columns(&table), ["Name", "Data", "Age"]);
}

async fn namespaces(c: Context) {
    let table = table(&c, format!("/api/v1/namespaces/{}", c.ns)).await;
    assert_eq!(columns(&table), ["Name", "Status", "Age"]);
    assert_eq!(cells(&table, 0), [json!(c.ns), json!("Active")]);
}

async fn a_watch_sends_tables(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let path = format!("{}?watch=true&timeoutSeconds=2", c.maps());
    let request = http::Request::get(path)
        .header("accept", TABLE)
        .body(kube::client::Body::empty())
        .unwrap();
    let body = c.client.send(request).await.unwrap().into_body();
    let bytes = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
    let event: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(event["type"], "ADDED");
    assert_eq!(event["object"]["kind"], "Table", "{event}");
    assert_eq!(event["object"]["rows"][0]["cells"][0], "one");
}

async fn a_refusal_is_a_status(c: Context) {
    c.get_as(format!("{}/none", c.maps()), TABLE)
        .await
        .refused(404, "NotFound");
}

async fn pages_of_a_table(c: Context) {
    for name in ["a", "b", "c"] {
        c.post(c.maps(), &config_map(name, json!({}))).await.code(201);
    }
    let table = table(&c, format!("{}?limit=2", c.maps())).await;
    assert_eq!(table["rows"].as_array().unwrap().len(), 2);
    assert_eq!(table["metadata"]["remainingItemCount"], 1);
    assert!(table["metadata"]["continue"].is_string());
}

//! Names that the server makes up.

use serde_json::json;

use super::objects::config_map;
use crate::context::Context;

crate::registry::suite!("generate_name":
    five_characters_are_appended, a_long_prefix_is_cut, a_name_wins, one_of_both_is_required, two_are_different,
);

fn generated(prefix: &str) -> serde_json::Value {
    json!({"metadata": {"generateName": prefix}})
}

/// The end of the made-up name, which no trace can know.
fn ending(c: &Context, made: &serde_json::Value, prefix: &str) -> String {
    let name = made["metadata"]["name"].as_str().unwrap();
    c.trace.lock().unwrap().mask(name, &format!("{prefix}<generated>"));
    name.strip_prefix(prefix)
        .unwrap_or_else(|| panic!("{name} does not begin with {prefix}"))
        .to_owned()
}

async fn five_characters_are_appended(c: Context) {
    let made = c.post(c.maps(), &generated("job-")).await.code(201);
    let end = ending(&c, &made, "job-");
    assert_eq!(end.len(), 5);
    assert!(end.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)), "{end}");
    assert_eq!(made["metadata"]["generateName"], "job-");
}

async fn a_long_prefix_is_cut(c: Context) {
    let made = c.post(c.maps(), &generated(&"x".repeat(80))).await.code(201);
    assert_eq!(ending(&c, &made, &"x".repeat(58)).len(), 5);
}

async fn a_name_wins(c: Context) {
    let mut map = config_map("one", json!({}));
    map["metadata"]["generateName"] = json!("job-");
    let made = c.post(c.maps(), &map).await.code(201);
    assert_eq!(made["metadata"]["name"], "one");
}

async fn one_of_both_is_required(c: Context) {
    c.post(c.maps(), &json!({"metadata": {}}))
        .await
        .invalid(&["metadata.name"]);
}

async fn two_are_different(c: Context) {
    let one = c.post(c.maps(), &generated("job-")).await.code(201);
    let two = c.post(c.maps(), &generated("job-")).await.code(201);
    assert_ne!(ending(&c, &one, "job-"), ending(&c, &two, "job-"));
}

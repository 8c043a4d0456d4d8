//! What the schema of a CustomResourceDefinition makes of objects.

use serde_json::json;

use super::definitions::definitions;
use super::objects::schema;
use crate::context::{Context, MERGE_PATCH};

crate::registry::suite!("schemas":
    unknown_fields_are_pruned, fields_can_be_preserved, defaults_are_filled_in, defaults_apply_when_reading, values_are_checked, formats_are_checked, nullable_fields, integers_or_strings, lists_and_sets_are_checked, one_of_and_not, metadata_is_checked, an_embedded_resource, required_fields, the_whole_object_is_checked_on_update,
);

async fn unknown_fields_are_pruned(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    let mut object = c.custom("Gadget", "one", json!({"size": 1, "color": "red"}));
    object["extra"] = json!({"a": 1});
    let made = c.post(&gadgets, &object).await.code(201);
    assert_eq!(made["spec"], json!({"size": 1}));
    assert!(made.get("extra").is_none());
    let patched = c
        .patch(
            format!("{gadgets}/one"),
            MERGE_PATCH,
            &json!({"spec": {"color": "red"}}),
        )
        .await
        .code(200);
    assert_eq!(patched["spec"], json!({"size": 1}));
}

async fn fields_can_be_preserved(c: Context) {
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"known": {"type": "object", "properties": {"a": {"type": "integer"}}}}});
    let gadgets = c.define("Gadget", schema(json!({"free": free}))).await;
    let spec = json!({"free": {"x": {"y": [1, "2"]}, "known": {"a": 1, "b": 2}}});
    let made = c.post(&gadgets, &c.custom("Gadget", "one", spec)).await.code(201);
    let wanted = json!({"free": {"x": {"y": [1, "2"]}, "known": {"a": 1}}});
    assert_eq!(made["spec"], wanted, "fields with a schema are pruned even there");
}

async fn defaults_are_filled_in(c: Context) {
    let nested = json!({"type": "object", "default": {"b": 5}, "properties": {
        "a": {"type": "string", "default": "x"}, "b": {"type": "integer"}}});
    let items = json!({"type": "array", "items": {"type": "object", "properties": {
        "port": {"type": "integer", "default": 80}}}});
    let properties = json!({"size": {"type": "integer", "default": 3}, "nested": nested, "items": items});
    let gadgets = c.define("Gadget", schema(properties)).await;
    let made = c
        .post(
            &gadgets,
            &c.custom("Gadget", "one", json!({"items": [{}, {"port": 1}]})),
        )
        .await
        .code(201);
    let wanted = json!({"size": 3, "nested": {"a": "x", "b": 5}, "items": [{"port": 80}, {"port": 1}]});
    assert_eq!(made["spec"], wanted);
    let mut bare = c.custom("Gadget", "two", json!({}));
    bare.as_object_mut().unwrap().remove("spec");
    let made = c.post(&gadgets, &bare).await.code(201);
    assert!(made.get("spec").is_none(), "nothing is filled into what is not there");
    let made = c
        .post(&gadgets, &c.custom("Gadget", "three", json!({"size": null})))
        .await
        .code(201);
    assert_eq!(
        made["spec"]["size"], 3,
        "null in a field that must not be null counts as nothing"
    );
}

async fn defaults_apply_when_reading(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({}))).await.code(201);
    let patch = json!([{"op": "add", "value": "red",
    "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color",
    }]);
    let mut operation = patch;
    operation[0]["value"] = json!({"type": "string", "default": "red"});
    let path = format!("{}/gadgets.{}", definitions(), c.group());
    c.patch(path, crate::context::JSON_PATCH, &operation).await.code(200);
    let read = |answer: &crate::context::Answer| answer.body["spec"]["color"] == "red";
    c.until(format!("{gadgets}/one"), "the default is read", read).await;
}

async fn values_are_checked(c: Context) {
    let gadgets = c
        .define(
            "Gadget",
            schema(json!({
                "n": {"type": "integer", "minimum": 1, "maximum": 10, "multipleOf": 2},
                "s": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^a"},
                "e": {"type": "string", "enum": ["x", "y"]},
                "b": {"type": "boolean"},
                "f": {"type": "number", "exclusiveMinimum": true, "minimum": 0},
                "m": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2},
            })),
        )
        .await;
    for (field, value) in [
        ("n", json!(0)),
        ("n", json!(12)),
        ("n", json!(3)),
        ("n", json!("2")),
        ("n", json!(2.5)),
        ("s", json!("a")),
        ("s", json!("abcde")),
        ("s", json!("bc")),
        ("e", json!("z")),
        ("b", json!("true")),
        ("f", json!(0)),
    ] {
        let spec = json!({field: value});
        c.post(&gadgets, &c.custom("Gadget", "one", spec))
            .await
            .invalid(&[&format!("spec.{field}")]);
    }
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"m": {"a": "x"}})))
        .await
        .invalid(&["spec.m.a"]);
    c.post(
        &gadgets,
        &c.custom("Gadget", "one", json!({"m": {"a": 1, "b": 2, "c": 3}})),
    )
    .await
    .invalid(&["spec.m"]);
    let good = json!({"n": 2, "s": "abc", "e": "x", "b": true, "f": 0.5, "m": {"a": 1}});
    c.post(&gadgets, &c.custom("Gadget", "one", good)).await.code(201);
}

async fn formats_are_checked(c: Context) {
    let text = |format: &str| json!({"type": "string", "format": format});
    let properties = json!({"t": text("date-time"), "d": text("duration"), "i": text("ipv4"), "u": text("uuid")});
    let gadgets = c.define("Gadget", schema(properties)).await;
    for (field, value) in [("t", "noon"), ("i", "1.2.3"), ("u", "x"), ("d", "soon")] {
        let object = c.custom("Gadget", "one", json!({field: value}));
        c.post(&gadgets, &object).await.invalid(&[&format!("spec.{field}")]);
    }
    let good = json!({"t": "2026-01-02T03:04:05Z", "d": "1h5m", "i": "1.2.3.4",
        "u": "123e4567-e89b-42d3-a456-426614174000"});
    c.post(&gadgets, &c.custom("Gadget", "one", good)).await.code(201);
}

async fn nullable_fields(c: Context) {
    let properties = json!({"a": {"type": "string", "nullable": true}, "b": {"type": "string"}});
    let gadgets = c.define("Gadget", schema(properties)).await;
    let made = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"a": null, "b": null})))
        .await
        .code(201);
    assert_eq!(
        made["spec"],
        json!({"a": null}),
        "null in a field that must not be null counts as nothing"
    );
}

async fn integers_or_strings(c: Context) {
    let gadgets = c
        .define("Gadget", schema(json!({"v": {"x-kubernetes-int-or-string": true}})))
        .await;
    for (name, value) in [("one", json!(1)), ("two", json!("50%"))] {
        c.post(&gadgets, &c.custom("Gadget", name, json!({"v": value})))
            .await
            .code(201);
    }
    c.post(&gadgets, &c.custom("Gadget", "three", json!({"v": true})))
        .await
        .invalid(&["spec.v"]);
}

async fn lists_and_sets_are_checked(c: Context) {
    let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}});
    let gadgets = c
        .define(
            "Gadget",
            schema(json!({
                "few": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer"}},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item},
            })),
        )
        .await;
    for (spec, field) in [
        (json!({"few": []}), "spec.few"),
        (json!({"few": [1, 2, 3]}), "spec.few"),
        (json!({"few": ["x"]}), "spec.few[0]"),
        (json!({"set": ["a", "a"]}), "spec.set[1]"),
        (json!({"map": [{"name": "a"}, {"name": "a"}]}), "spec.map[1]"),
        (json!({"map": [{}]}), "spec.map[0].name"),
    ] {
        c.post(&gadgets, &c.custom("Gadget", "one", spec))
            .await
            .invalid(&[field]);
    }
}

async fn one_of_and_not(c: Context) {
    let spec = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}}});
    let gadgets = c.define("Gadget", spec).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"a": 1, "b": 2})))
        .await
        .refused(422, "Invalid");
    c.post(&gadgets, &c.custom("Gadget", "one", json!({})))
        .await
        .refused(422, "Invalid");
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"b": 2})))
        .await
        .code(201);
}

async fn metadata_is_checked(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({}))).await;
    c.post(&gadgets, &c.custom("Gadget", "Upper", json!({})))
        .await
        .invalid(&["metadata.name"]);
    let mut object = c.custom("Gadget", "one", json!({}));
    object["metadata"]["labels"] = json!({"bad key": "x"});
    c.post(&gadgets, &object).await.invalid(&["metadata.labels"]);
    let mut object = c.custom("Gadget", "one", json!({}));
    object["metadata"]["labels"] = json!({"a": 5});
    c.post(&gadgets, &object).await.refused(400, "BadRequest");
}

async fn an_embedded_resource(c: Context) {
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true});
    let gadgets = c.define("Gadget", schema(json!({"object": embedded}))).await;
    let inner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "b"}}, "data": {"k": "v"}});
    let made = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"object": inner.clone()})))
        .await
        .code(201);
    assert_eq!(made["spec"]["object"], inner);
    let answer = c
        .post(
            &gadgets,
            &c.custom("Gadget", "two", json!({"object": {"kind": "ConfigMap"}})),
        )
        .await;
    answer.refused(422, "Invalid");
}

async fn required_fields(c: Context) {
    let gadgets = c
        .define(
            "Gadget",
            json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object",
                "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "object", "required": ["c"],
                    "properties": {"c": {"type": "string"}}}}}}}),
        )
        .await;
    let status = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"b": {}})))
        .await
        .invalid(&["spec.a", "spec.b.c"]);
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueRequired");
    let mut bare = c.custom("Gadget", "one", json!({}));
    bare.as_object_mut().unwrap().remove("spec");
    c.post(&gadgets, &bare).await.invalid(&["spec"]);
}

async fn the_whole_object_is_checked_on_update(c: Context) {
    let gadgets = c
        .define("Gadget", schema(json!({"size": {"type": "integer", "maximum": 5}})))
        .await;
    let mut object = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    object["spec"]["size"] = json!(6);
    let status = c.put(format!("{gadgets}/one"), &object).await.invalid(&["spec.size"]);
    assert_eq!(
        status["message"],
        format!(
            "Gadget.{} \"one\" is invalid: spec.size: Invalid value: 6: spec.size in body should be less than or equal to 5",
            c.group()
        )
    );
}

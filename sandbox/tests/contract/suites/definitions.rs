//! CustomResourceDefinitions and what they make of objects.

use serde_json::{Value, json};

use super::objects::{names, schema};
use crate::context::{Context, MERGE_PATCH};

crate::registry::suite!("definitions":
    a_definition_is_established, unknown_fields_are_pruned, fields_can_be_preserved, defaults_are_filled_in,
    defaults_apply_when_reading, values_are_checked, formats_are_checked, nullable_fields, integers_or_strings,
    lists_and_sets_are_checked, one_of_and_not, names_must_agree, schemas_must_be_structural, the_scope_is_immutable,
    names_that_are_taken, several_versions, an_unserved_version, a_cluster_scoped_kind,
    selectable_fields, metadata_is_checked, an_embedded_resource, a_schema_can_change,
    stored_versions_stay, exactly_one_storage_version, a_definition_defaults_its_names, conversion_by_webhook_needs_a_client,
    required_fields, the_whole_object_is_checked_on_update,
);

fn definitions() -> &'static str {
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
}

async fn a_definition_is_established(c: Context) {
    c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    let definition = c.get(format!("{}/gadgets.{}", definitions(), c.group())).await.ok();
    let status = &definition["status"];
    assert_eq!(status["acceptedNames"]["kind"], "Gadget");
    assert_eq!(status["acceptedNames"]["plural"], "gadgets");
    assert_eq!(status["storedVersions"], json!(["v1"]));
    for kind in ["NamesAccepted", "Established"] {
        assert!(crate::context::condition(&definition, kind), "{kind}");
    }
    assert_eq!(definition["spec"]["conversion"], json!({"strategy": "None"}));
}

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

async fn names_must_agree(c: Context) {
    let mut definition = c.definition("Gadget", schema(json!({})));
    definition["metadata"]["name"] = json!(format!("widgets.{}", c.group()));
    c.post(definitions(), &definition).await.invalid(&["metadata.name"]);
    let mut definition = c.definition("Gadget", schema(json!({})));
    definition["spec"]["scope"] = json!("Everywhere");
    c.post(definitions(), &definition).await.invalid(&["spec.scope"]);
    let mut definition = c.definition("Gadget", schema(json!({})));
    definition["spec"]["versions"][0]
        .as_object_mut()
        .unwrap()
        .remove("schema");
    c.post(definitions(), &definition).await.refused(422, "Invalid");
}

async fn schemas_must_be_structural(c: Context) {
    for properties in [
        json!({"a": {"description": "no type"}}),
        json!({"a": {"type": "array"}}),
        json!({"a": {"type": "wrong"}}),
        json!({"a": {"type": "string", "default": 5}}),
        json!({"a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"}}),
    ] {
        let answer = c
            .post(definitions(), &c.definition("Gadget", schema(properties.clone())))
            .await;
        assert_eq!(answer.code, 422, "{properties}: {}", answer.body);
    }
}

async fn the_scope_is_immutable(c: Context) {
    c.define("Gadget", schema(json!({}))).await;
    let path = format!("{}/gadgets.{}", definitions(), c.group());
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"scope": "Cluster"}}))
        .await
        .invalid(&["spec.scope"]);
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"group": "other.example"}}))
        .await
        .refused(422, "Invalid");
}

async fn names_that_are_taken(c: Context) {
    c.define("Gadget", schema(json!({}))).await;
    let mut second = c.definition("Widget", schema(json!({})));
    second["spec"]["names"]["kind"] = json!("Gadget");
    c.post(definitions(), &second).await.code(201);
    let refused = |answer: &crate::context::Answer| {
        let conditions = answer.body["status"]["conditions"].as_array();
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == "NamesAccepted" && one["status"] == "False")
        })
    };
    let path = format!("{}/widgets.{}", definitions(), c.group());
    let definition = c.until(path, "the names are refused", refused).await;
    assert!(!crate::context::condition(&definition, "Established"));
}

fn two_versions(definition: &mut Value) {
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
}

async fn several_versions(c: Context) {
    let gadgets = c
        .define_with("Gadget", schema(json!({"size": {"type": "integer"}})), two_versions)
        .await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    let second = gadgets.replace("/v1/", "/v2/");
    let read = c
        .until(format!("{second}/one"), "the second version is served", |answer| {
            answer.code == 200
        })
        .await;
    assert_eq!(read["apiVersion"], format!("{}/v2", c.group()));
    assert_eq!(read["spec"], json!({"size": 1}));
    let group = c.get(format!("/apis/{}", c.group())).await.ok();
    assert_eq!(group["preferredVersion"]["version"], "v2", "the newest is preferred");
}

async fn an_unserved_version(c: Context) {
    let gadgets = c
        .define_with("Gadget", schema(json!({})), |definition| {
            two_versions(definition);
            definition["spec"]["versions"][1]["served"] = json!(false);
        })
        .await;
    c.get(&gadgets).await.code(200);
    assert_eq!(c.get(gadgets.replace("/v1/", "/v2/")).await.code, 404);
}

async fn a_cluster_scoped_kind(c: Context) {
    let gadgets = c
        .define_with("Gadget", schema(json!({"size": {"type": "integer"}})), |definition| {
            definition["spec"]["scope"] = json!("Cluster");
        })
        .await;
    let made = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    assert!(made["metadata"].get("namespace").is_none());
    assert_eq!(
        c.get(format!("/apis/{}/v1/namespaces/{}/gadgets", c.group(), c.ns))
            .await
            .code,
        404
    );
}

async fn selectable_fields(c: Context) {
    let gadgets = c
        .define_with("Gadget", schema(json!({"color": {"type": "string"}})), |definition| {
            definition["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
        })
        .await;
    for (name, color) in [("one", "red"), ("two", "blue")] {
        c.post(&gadgets, &c.custom("Gadget", name, json!({"color": color})))
            .await
            .code(201);
    }
    let list = c.get(format!("{gadgets}?fieldSelector=spec.color%3Dblue")).await.ok();
    assert_eq!(names(&list), ["two"]);
    c.get(format!("{gadgets}?fieldSelector=spec.size%3D1"))
        .await
        .refused(400, "BadRequest");
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

async fn a_schema_can_change(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 50})))
        .await
        .code(201);
    let path = format!("{}/gadgets.{}", definitions(), c.group());
    let add = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum",
        "value": 10}]);
    c.patch(path, crate::context::JSON_PATCH, &add).await.code(200);
    let object = c.custom("Gadget", "two", json!({"size": 11}));
    c.until_created(&gadgets, &object, "the new schema is used", |answer| answer.code == 422)
        .await;
    // What was stored before is still read, and a change elsewhere in it is let through.
    let kept = c
        .patch(
            format!("{gadgets}/one"),
            MERGE_PATCH,
            &json!({"metadata": {"labels": {"a": "b"}}}),
        )
        .await
        .code(200);
    assert_eq!(kept["spec"]["size"], 50);
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &json!({"spec": {"size": 60}}))
        .await
        .invalid(&["spec.size"]);
}

async fn stored_versions_stay(c: Context) {
    c.define("Gadget", schema(json!({}))).await;
    let path = format!("{}/gadgets.{}", definitions(), c.group());
    let mut definition = c.get(&path).await.ok();
    two_versions(&mut definition);
    definition["spec"]["versions"][0]["storage"] = json!(false);
    definition["spec"]["versions"][1]["storage"] = json!(true);
    let updated = c.put(&path, &definition).await.code(200);
    assert_eq!(updated["status"]["storedVersions"], json!(["v1", "v2"]));
    let mut without = updated;
    without["spec"]["versions"].as_array_mut().unwrap().remove(0);
    let status = c.put(&path, &without).await.refused(422, "Invalid");
    assert!(
        status["message"].as_str().unwrap().contains("status.storedVersions[0]"),
        "{status}"
    );
}

async fn exactly_one_storage_version(c: Context) {
    let mut definition = c.definition("Gadget", schema(json!({})));
    definition["spec"]["versions"][0]["storage"] = json!(false);
    c.post(definitions(), &definition).await.invalid(&["spec.versions"]);
    let mut definition = c.definition("Gadget", schema(json!({})));
    two_versions(&mut definition);
    definition["spec"]["versions"][1]["storage"] = json!(true);
    c.post(definitions(), &definition).await.invalid(&["spec.versions"]);
}

async fn a_definition_defaults_its_names(c: Context) {
    let mut definition = c.definition("Gadget", schema(json!({})));
    definition["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget"});
    let made = c.post(definitions(), &definition).await.code(201);
    let names = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"});
    assert_eq!(made["spec"]["names"], names);
}

async fn conversion_by_webhook_needs_a_client(c: Context) {
    let mut definition = c.definition("Gadget", schema(json!({})));
    definition["spec"]["conversion"] = json!({"strategy": "Webhook"});
    c.post(definitions(), &definition).await.refused(422, "Invalid");
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

//! CustomResourceDefinitions: how they come to be served, and how they may change.

use serde_json::{Value, json};

use super::objects::{names, schema};
use crate::context::{Context, MERGE_PATCH};

crate::registry::suite!("definitions":
    a_definition_is_established, names_must_agree, schemas_must_be_structural, the_scope_is_immutable, names_that_are_taken, several_versions, an_unserved_version, a_cluster_scoped_kind, selectable_fields, a_schema_can_change, stored_versions_stay, exactly_one_storage_version, a_definition_defaults_its_names, conversion_by_webhook_needs_a_client,
    a_definition_is_held_from_its_deletion_on, objects_must_be_of_their_kind,
);

pub(super) fn definitions() -> &'static str {
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

async fn a_definition_is_held_from_its_deletion_on(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({}))).await;
    let mut object = c.custom("Gadget", "one", json!({}));
    object["metadata"]["finalizers"] = json!(["contract.example/hold"]);
    c.post(&gadgets, &object).await.code(201);
    let path = format!("{}/gadgets.{}", definitions(), c.group());
    assert_eq!(c.get(&path).await.ok()["metadata"].get("finalizers"), None);
    let going = c.delete(&path).await.code(200);
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    assert!(going["metadata"].get("deletionGracePeriodSeconds").is_none());
    assert!(crate::context::condition(&going, "Terminating"), "{going}");
    c.until(format!("{gadgets}/one"), "the object goes, too", |answer| {
        answer.code == 200 && answer.body["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    c.patch(
        format!("{gadgets}/one"),
        MERGE_PATCH,
        &json!({"metadata": {"finalizers": null}}),
    )
    .await
    .code(200);
    c.gone(&path).await;
}

async fn objects_must_be_of_their_kind(c: Context) {
    let gadgets = c.define("Gadget", schema(json!({"size": {"type": "integer"}}))).await;
    let mut object = c.custom("Gadget", "one", json!({"size": 1}));
    object["kind"] = json!("Widget");
    let status = c.post(&gadgets, &object).await.invalid(&["kind"]);
    let message = format!(
        "Widget.{} \"one\" is invalid: kind: Invalid value: \"Widget\": must be Gadget",
        c.group()
    );
    assert_eq!(
        (&status["message"], &status["details"]["kind"]),
        (&json!(message), &json!("Widget"))
    );
    object["kind"] = Value::Null;
    c.post(&gadgets, &object).await.refused(400, "BadRequest");
    object["kind"] = json!("Gadget");
    c.post(&gadgets, &object).await.code(201);
    let path = format!("{gadgets}/one");
    c.patch(&path, MERGE_PATCH, &json!({"kind": "Widget"}))
        .await
        .invalid(&["kind"]);
    let version = json!({"apiVersion": format!("{}/v9", c.group())});
    c.patch(&path, MERGE_PATCH, &version).await.invalid(&["apiVersion"]);
    c.put(&path, &object).await.invalid(&["metadata.resourceVersion"]);
}

//! CEL rules of custom resources.

use serde_json::{Value, json};

use crate::context::{Context, MERGE_PATCH};

crate::registry::suite!("rules":
    a_rule_refuses_at_creation, a_rule_refuses_an_update, a_transition_is_checked_on_update_alone,
    a_field_can_be_immutable, a_rule_can_name_a_field_and_a_reason,
    rules_of_items, rules_of_maps, rules_of_the_whole_object, a_rule_that_does_not_compile, a_rule_of_the_wrong_type,
    optional_old_self, strings_and_lists, quantities_and_durations, immutability_of_list_map_items, several_rules_all_speak,
    an_unchanged_violation_is_tolerated, a_tolerated_value_does_not_silence_rules, a_rule_sees_defaults, removal_is_a_transition,
    a_rule_that_costs_too_much, a_message_that_costs_too_much,
);

/// Defines a kind whose spec has these properties and rules, and gives its path.
async fn define(c: &Context, properties: Value, rules: Value) -> String {
    let spec = json!({"type": "object", "properties": properties, "x-kubernetes-validations": rules});
    c.define("Gadget", json!({"type": "object", "properties": {"spec": spec}}))
        .await
}

fn ints() -> Value {
    json!({"low": {"type": "integer"}, "high": {"type": "integer"}})
}

async fn a_rule_refuses_at_creation(c: Context) {
    let rule = json!([{"rule": "self.low <= self.high", "message": "low must not exceed high"}]);
    let gadgets = define(&c, ints(), rule).await;
    let object = c.custom("Gadget", "one", json!({"low": 2, "high": 1}));
    let status = c.post(&gadgets, &object).await.invalid(&["spec"]);
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("spec: Invalid value: "), "{message}");
    assert!(message.ends_with(": low must not exceed high"), "{message}");
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueInvalid");
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"low": 1, "high": 1})))
        .await
        .code(201);
}

async fn a_rule_refuses_an_update(c: Context) {
    let gadgets = define(&c, ints(), json!([{"rule": "self.low <= self.high"}])).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"low": 1, "high": 2})))
        .await
        .code(201);
    let status = c
        .patch(format!("{gadgets}/one"), MERGE_PATCH, &json!({"spec": {"low": 3}}))
        .await
        .invalid(&["spec"]);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.ends_with("failed rule: self.low <= self.high"),
        "without a message the rule speaks: {message}"
    );
}

async fn a_transition_is_checked_on_update_alone(c: Context) {
    let size = json!({"size": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "must not shrink"}]}});
    let gadgets = define(&c, size, json!([])).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 3})))
        .await
        .code(201);
    let path = format!("{gadgets}/one");
    let status = c
        .patch(&path, MERGE_PATCH, &json!({"spec": {"size": 2}}))
        .await
        .invalid(&["spec.size"]);
    assert!(
        status["message"].as_str().unwrap().ends_with("must not shrink"),
        "{status}"
    );
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"size": 4}}))
        .await
        .code(200);
}

async fn a_field_can_be_immutable(c: Context) {
    let class = json!({"class": {"type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]}, "other": {"type": "string"}});
    let gadgets = define(&c, class, json!([])).await;
    let path = format!("{gadgets}/one");
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"class": "a"})))
        .await
        .code(201);
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"class": "b"}}))
        .await
        .invalid(&["spec.class"]);
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"other": "b"}}))
        .await
        .code(200);
    // Taken away and set again: the rule sees no old value.
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"class": null}}))
        .await
        .code(200);
    c.patch(&path, MERGE_PATCH, &json!({"spec": {"class": "b"}}))
        .await
        .code(200);
}

async fn a_rule_can_name_a_field_and_a_reason(c: Context) {
    let rule = json!([{"rule": "self.low <= self.high", "fieldPath": ".high", "reason": "FieldValueForbidden", "message": "too low"}]);
    let gadgets = define(&c, ints(), rule).await;
    let status = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"low": 2, "high": 1})))
        .await
        .invalid(&["spec.high"]);
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueForbidden");
}

async fn rules_of_items(c: Context) {
    let items = json!({"items": {"type": "array", "maxItems": 10, "items": {"type": "object",
        "properties": {"n": {"type": "integer"}}, "x-kubernetes-validations": [{"rule": "self.n > 0", "message": "positive"}]}}});
    let gadgets = define(&c, items, json!([])).await;
    let object = c.custom("Gadget", "one", json!({"items": [{"n": 1}, {"n": 0}]}));
    c.post(&gadgets, &object).await.invalid(&["spec.items[1]"]);
}

async fn rules_of_maps(c: Context) {
    let map = json!({"m": {"type": "object", "maxProperties": 10, "additionalProperties": {"type": "integer"}}});
    let gadgets = define(
        &c,
        map,
        json!([{"rule": "!has(self.m) || self.m.all(k, self.m[k] > 0)", "message": "positive"}]),
    )
    .await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"m": {"a": 0}})))
        .await
        .invalid(&["spec"]);
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"m": {"a": 1}})))
        .await
        .code(201);
}

async fn rules_of_the_whole_object(c: Context) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
        "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('good')", "message": "bad name"}]});
    let gadgets = c.define("Gadget", schema).await;
    let status = c
        .post(&gadgets, &c.custom("Gadget", "bad", json!({})))
        .await
        .refused(422, "Invalid");
    assert!(status["message"].as_str().unwrap().ends_with("bad name"), "{status}");
    c.post(&gadgets, &c.custom("Gadget", "good-one", json!({})))
        .await
        .code(201);
}

fn definition(c: &Context, rule: Value) -> Value {
    let spec = json!({"type": "object", "properties": ints(), "x-kubernetes-validations": [rule]});
    c.definition("Gadget", json!({"type": "object", "properties": {"spec": spec}}))
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

async fn a_rule_that_does_not_compile(c: Context) {
    for rule in ["self.low +", "self.low > )", "", "  "] {
        let status = c
            .post(DEFINITIONS, &definition(&c, json!({"rule": rule})))
            .await
            .refused(422, "Invalid");
        let fields = status["details"]["causes"].to_string();
        assert!(fields.contains("x-kubernetes-validations[0].rule"), "{rule}: {status}");
    }
}

async fn a_rule_of_the_wrong_type(c: Context) {
    for rule in ["self.low", "self.low == 'x'", "self.nothing > 1", "unknown(self.low)"] {
        c.post(DEFINITIONS, &definition(&c, json!({"rule": rule})))
            .await
            .refused(422, "Invalid");
    }
}

async fn optional_old_self(c: Context) {
    let size = json!({"size": {"type": "integer", "x-kubernetes-validations": [
        {"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": true, "message": "begins at 1"}]}});
    let gadgets = define(&c, size, json!([])).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 2})))
        .await
        .invalid(&["spec.size"]);
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"size": 1})))
        .await
        .code(201);
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &json!({"spec": {"size": 2}}))
        .await
        .code(200);
}

async fn strings_and_lists(c: Context) {
    let properties = json!({"name": {"type": "string", "maxLength": 20},
        "tags": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}}});
    let rules = json!([
        {"rule": "!has(self.name) || self.name.matches('^[a-z]+$')", "message": "letters"},
        {"rule": "!has(self.tags) || self.tags.exists_one(t, t == 'main')", "message": "one main"},
        {"rule": "!has(self.tags) || size(self.tags) == size(self.tags.filter(t, t != ''))", "message": "not empty"},
    ]);
    let gadgets = define(&c, properties, rules).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"name": "A1"})))
        .await
        .invalid(&["spec"]);
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"tags": ["main", "main"]})))
        .await
        .invalid(&["spec"]);
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"tags": ["main", ""]})))
        .await
        .invalid(&["spec"]);
    c.post(
        &gadgets,
        &c.custom("Gadget", "one", json!({"name": "abc", "tags": ["main", "x"]})),
    )
    .await
    .code(201);
}

async fn quantities_and_durations(c: Context) {
    let properties =
        json!({"memory": {"type": "string", "maxLength": 20}, "wait": {"type": "string", "maxLength": 20}});
    let rules = json!([
        {"rule": "!has(self.memory) || quantity(self.memory).isGreaterThan(quantity('1Gi'))", "message": "too small"},
        {"rule": "!has(self.wait) || duration(self.wait) <= duration('1m')", "message": "too long"},
    ]);
    let gadgets = define(&c, properties, rules).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"memory": "512Mi"})))
        .await
        .invalid(&["spec"]);
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"wait": "90s"})))
        .await
        .invalid(&["spec"]);
    c.post(
        &gadgets,
        &c.custom("Gadget", "one", json!({"memory": "2Gi", "wait": "30s"})),
    )
    .await
    .code(201);
}

async fn immutability_of_list_map_items(c: Context) {
    let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
        "value": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed"}]}}});
    let parts = json!({"parts": {"type": "array", "maxItems": 5, "items": item, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"]}});
    let gadgets = define(&c, parts, json!([])).await;
    let path = format!("{gadgets}/one");
    let both = json!([{"name": "a", "value": 1}, {"name": "b", "value": 2}]);
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"parts": both})))
        .await
        .code(201);
    let swapped = json!({"spec": {"parts": [{"name": "b", "value": 2}, {"name": "a", "value": 1}]}});
    c.patch(&path, MERGE_PATCH, &swapped).await.code(200);
    let changed = json!({"spec": {"parts": [{"name": "b", "value": 3}, {"name": "a", "value": 1}]}});
    c.patch(&path, MERGE_PATCH, &changed)
        .await
        .invalid(&["spec.parts[0].value"]);
}

async fn several_rules_all_speak(c: Context) {
    let rules = json!([{"rule": "self.low > 0", "message": "first"}, {"rule": "self.high > 0", "message": "second"}]);
    let gadgets = define(&c, ints(), rules).await;
    let status = c
        .post(&gadgets, &c.custom("Gadget", "one", json!({"low": 0, "high": 0})))
        .await
        .invalid(&["spec"]);
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 2, "{status}");
}

async fn an_unchanged_violation_is_tolerated(c: Context) {
    let gadgets = define(&c, ints(), json!([])).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"low": 2, "high": 1})))
        .await
        .code(201);
    let path = format!("{DEFINITIONS}/gadgets.{}", c.group());
    let rule = json!([{"op": "add", "value": [{"rule": "self.low <= self.high"}],
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"}]);
    c.patch(path, crate::context::JSON_PATCH, &rule).await.code(200);
    let object = c.custom("Gadget", "two", json!({"low": 2, "high": 1}));
    c.until_created(&gadgets, &object, "the new rule is used", |answer| answer.code == 422)
        .await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &label).await.code(200);
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &json!({"spec": {"low": 3}}))
        .await
        .invalid(&["spec"]);
}

async fn a_tolerated_value_does_not_silence_rules(c: Context) {
    let properties = json!({"color": {"type": "string"}, "low": {"type": "integer"}, "high": {"type": "integer"}});
    let gadgets = define(&c, properties, json!([])).await;
    c.post(
        &gadgets,
        &c.custom("Gadget", "one", json!({"color": "red", "low": 1, "high": 2})),
    )
    .await
    .code(201);
    let path = format!("{DEFINITIONS}/gadgets.{}", c.group());
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let stricter = json!([
        {"op": "add", "path": format!("{spec}/properties/color/enum"), "value": ["blue"]},
        {"op": "add", "path": format!("{spec}/x-kubernetes-validations"), "value": [{"rule": "self.low <= self.high"}]}]);
    c.patch(path, crate::context::JSON_PATCH, &stricter).await.code(200);
    let object = c.custom("Gadget", "two", json!({"color": "blue", "low": 2, "high": 1}));
    c.until_created(&gadgets, &object, "the new rule is used", |answer| answer.code == 422)
        .await;
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &json!({"spec": {"low": 2}}))
        .await
        .code(200);
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &json!({"spec": {"low": 3}}))
        .await
        .invalid(&["spec"]);
}

async fn a_rule_sees_defaults(c: Context) {
    let properties = json!({"low": {"type": "integer", "default": 5}, "high": {"type": "integer"}});
    let gadgets = define(&c, properties, json!([{"rule": "self.low <= self.high"}])).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"high": 4})))
        .await
        .invalid(&["spec"]);
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"high": 6})))
        .await
        .code(201);
}

async fn removal_is_a_transition(c: Context) {
    let rules = json!([{"rule": "!has(oldSelf.low) || has(self.low)", "message": "low stays"}]);
    let gadgets = define(&c, ints(), rules).await;
    c.post(&gadgets, &c.custom("Gadget", "one", json!({"low": 1})))
        .await
        .code(201);
    c.patch(format!("{gadgets}/one"), MERGE_PATCH, &json!({"spec": {"low": null}}))
        .await
        .invalid(&["spec"]);
}

/// A list without a bound: what goes over it twice may take for ever.
fn boundless() -> Value {
    json!({"words": {"type": "array", "items": {"type": "string"}}})
}

/// A definition with this rule is refused for what it may cost.
async fn too_costly(c: &Context, rule: Value) {
    let spec = json!({"type": "object", "properties": boundless(), "x-kubernetes-validations": [rule]});
    let definition = c.definition("Gadget", json!({"type": "object", "properties": {"spec": spec}}));
    let answer = c.post(super::definitions::definitions(), &definition).await;
    let status = answer.refused(422, "Invalid");
    let said = status["message"].as_str().unwrap();
    assert!(said.contains("cost exceeds budget"), "{status}");
}

async fn a_rule_that_costs_too_much(c: Context) {
    let rule = json!({"rule": "self.words.all(a, self.words.all(b, a == b || a != b))"});
    too_costly(&c, rule).await;
}

async fn a_message_that_costs_too_much(c: Context) {
    let words = "self.words.all(a, self.words.all(b, a == b)) ? 'same' : 'different'";
    too_costly(&c, json!({"rule": "self.words.size() < 9", "messageExpression": words})).await;
}

//! Objects and parts of them, drawn from few enough names and values that they meet.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use super::step::Resource;

type Drawn = BoxedStrategy<Value>;

/// The schema of the custom resource: every kind of list and map.
pub(crate) fn schema() -> Value {
    let part = json!({"type": "object", "required": ["name"],
        "properties": {"name": {"type": "string"}, "value": {"type": "integer"}, "on": {"type": "boolean", "default": true}}});
    let text = json!({"type": "string"});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "minimum": 0},
            "level": {"type": "integer", "default": 1},
            "maybe": {"type": "string", "nullable": true},
            "parts": {"type": "array", "items": part, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            "tags": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "plain": {"type": "array", "items": text},
            "whole": {"type": "object", "additionalProperties": text, "x-kubernetes-map-type": "atomic"},
            "map": {"type": "object", "additionalProperties": text},
            "nest": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "object",
                "properties": {"c": {"type": "string"}}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}, "count": {"type": "integer"}}}}})
}

/// An object of some of these fields.
fn some(fields: Vec<(&'static str, Drawn)>) -> Drawn {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let values: Vec<_> = values
        .into_iter()
        .map(|value| proptest::option::weighted(0.4, value))
        .collect();
    values
        .prop_map(move |values| {
            let fields = names.iter().zip(values);
            Value::Object(
                fields
                    .filter_map(|(name, value)| Some(((*name).to_owned(), value?)))
                    .collect(),
            )
        })
        .boxed()
}

/// An object of all of these fields.
fn all(fields: Vec<(&'static str, Drawn)>) -> Drawn {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    values
        .prop_map(move |values| {
            let fields = names.iter().zip(values);
            Value::Object(fields.map(|(name, value)| ((*name).to_owned(), value)).collect())
        })
        .boxed()
}

fn of(values: &[Value]) -> Drawn {
    select(values.to_vec()).boxed()
}

/// Now and then null.
fn or_null(value: Drawn) -> Drawn {
    prop_oneof![12 => value, 1 => Just(Value::Null)].boxed()
}

fn texts(keys: &'static [&'static str]) -> Drawn {
    let value = or_null(of(&[json!("1"), json!("2")]));
    let map = btree_map(select(keys), value, 0..3);
    map.prop_map(|map| {
        map.into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<Map<_, _>>()
            .into()
    })
    .boxed()
}

/// Some of these, in order.
fn several(values: &[Value]) -> Drawn {
    subsequence(values.to_vec(), 0..=values.len())
        .prop_map(Value::from)
        .boxed()
}

fn metadata() -> Drawn {
    some(vec![
        ("labels", or_null(texts(&["x", "y"]))),
        ("annotations", texts(&["n", "m"])),
        (
            "finalizers",
            prop_oneof![
                6 => several(&[json!("fuzz.example/a"), json!("fuzz.example/b")]),
                1 => Just(json!(["fuzz.example/a", "fuzz.example/b", "fuzz.example/a"])),
            ]
            .boxed(),
        ),
    ])
}

fn container(name: &'static str) -> Drawn {
    let env = [("A", "1"), ("B", ""), ("C", "2")].map(|(name, value)| json!({"name": name, "value": value}));
    // Ports of their own: Kubernetes warns of those that two containers share.
    let first = if name == "main" { 80 } else { 8080 };
    let ports = [
        json!({"containerPort": first}),
        json!({"containerPort": first, "protocol": "UDP"}),
        json!({"containerPort": first + 1, "name": name}),
    ];
    let fields = some(vec![
        ("args", several(&[json!("a"), json!("b")])),
        ("env", several(&env)),
        ("ports", several(&ports)),
        (
            "resources",
            of(&[
                json!({}),
                json!({"limits": {"cpu": "1"}}),
                json!({"requests": {"memory": "1Gi"}}),
            ]),
        ),
    ]);
    (fields, of(&[json!("web:1"), json!("web:2")]))
        .prop_map(move |(mut fields, image)| {
            fields["name"] = name.into();
            fields["image"] = image;
            fields
        })
        .boxed()
}

fn pod_spec() -> Drawn {
    let containers = prop_oneof![
        4 => container("main").prop_map(|main| json!([main])),
        2 => (container("main"), container("side")).prop_map(|(main, side)| json!([main, side])),
        1 => container("side").prop_map(|side| json!([side])),
    ];
    some(vec![
        ("containers", containers.boxed()),
        ("nodeSelector", texts(&["k", "l"])),
        ("tolerations", several(&[json!({"key": "k", "operator": "Exists"})])),
        (
            "volumes",
            several(&[
                json!({"name": "v", "emptyDir": {}}),
                json!({"name": "w", "configMap": {"name": "c"}}),
            ]),
        ),
        ("terminationGracePeriodSeconds", of(&[json!(1), json!(30)])),
    ])
}

/// Part of an object, without its name.
pub(crate) fn part(resource: Resource) -> Drawn {
    let spec = match resource {
        Resource::ConfigMap => {
            let data = or_null(texts(&["a", "b", "c"]));
            let fields = some(vec![
                ("metadata", metadata()),
                ("data", data.clone()),
                ("binaryData", of(&[json!({"k": "eA=="}), json!({})])),
            ]);
            return (fields, data)
                .prop_map(|(mut fields, data)| {
                    if fields.get("data").is_none() && data.is_object() {
                        fields["data"] = data;
                    }
                    fields
                })
                .boxed();
        }
        Resource::Deployment => {
            let template = some(vec![
                ("metadata", some(vec![("annotations", texts(&["n"]))])),
                ("spec", pod_spec()),
            ]);
            let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
            some(vec![
                ("replicas", or_null(of(&[json!(0), json!(1), json!(3)]))),
                ("minReadySeconds", of(&[json!(0), json!(2)])),
                ("paused", of(&[json!(true), json!(false)])),
                ("strategy", of(&[rolling, json!({"type": "RollingUpdate"}), json!({})])),
                ("template", template.clone()),
            ])
        }
        Resource::Service => {
            let port = prop_oneof![
                Just(json!({"port": 80, "name": "a"})),
                Just(json!({"port": 80, "protocol": "UDP", "name": "b"})),
                Just(json!({"port": 443, "name": "c", "targetPort": "tls"})),
                Just(json!({"port": 80, "name": "a", "targetPort": 8080})),
            ];
            some(vec![
                ("ports", vec(port, 0..3).prop_map(Value::from).boxed()),
                ("selector", or_null(texts(&["k", "l"]))),
                ("publishNotReadyAddresses", of(&[json!(true), json!(false)])),
                ("sessionAffinity", of(&[json!("None"), json!("ClientIP")])),
            ])
        }
        Resource::Gadget => {
            let item = some(vec![
                ("value", or_null(of(&[json!(1), json!(2)]))),
                ("on", of(&[json!(false)])),
            ]);
            let item = (item, select(vec!["a", "b", "c"])).prop_map(|(mut item, name)| {
                item["name"] = name.into();
                item
            });
            some(vec![
                ("size", or_null(of(&[json!(1), json!(2)]))),
                ("level", or_null(of(&[json!(1), json!(5)]))),
                ("maybe", of(&[json!("x"), Value::Null])),
                ("parts", vec(item, 0..3).prop_map(Value::from).boxed()),
                ("tags", several(&[json!("p"), json!("q"), json!("r")])),
                ("plain", several(&[json!("p"), json!("q")])),
                ("whole", texts(&["k", "l"])),
                ("map", or_null(texts(&["k", "l"]))),
                (
                    "nest",
                    some(vec![
                        ("a", of(&[json!(1)])),
                        ("b", some(vec![("c", of(&[json!("x")]))])),
                    ]),
                ),
                (
                    "free",
                    of(&[
                        json!({}),
                        json!({"u": {"v": 1}}),
                        json!({"u": [1, {"w": 2}]}),
                        json!({"u": null}),
                    ]),
                ),
            ])
        }
    };
    some(vec![("metadata", metadata()), ("spec", spec.clone())])
        .prop_flat_map(move |fields| {
            // A part without a spec says little.
            let spec = spec.clone();
            spec.prop_map(move |spec| {
                let mut fields = fields.clone();
                if fields.get("spec").is_none() {
                    fields["spec"] = spec;
                }
                fields
            })
        })
        .boxed()
}

/// A whole object, without its name: one that is valid in most cases.
pub(crate) fn whole(resource: Resource) -> Drawn {
    part(resource)
        .prop_map(move |mut part| {
            match resource {
                Resource::Deployment => {
                    part["spec"]["selector"] = json!({"matchLabels": {"app": "fuzz"}});
                    part["spec"]["template"]["metadata"]["labels"] = json!({"app": "fuzz"});
                    if part["spec"]["template"]["spec"]["containers"].is_null() {
                        part["spec"]["template"]["spec"]["containers"] = json!([{"name": "main", "image": "web:1"}]);
                    }
                }
                Resource::Service if part["spec"]["ports"].as_array().is_none_or(Vec::is_empty) => {
                    part["spec"]["ports"] = json!([{"port": 80, "name": "a"}]);
                }
                _ => {}
            }
            part
        })
        .boxed()
}

/// A status, with other fields that must not get through.
pub(crate) fn status(resource: Resource) -> Drawn {
    let status = match resource {
        Resource::ConfigMap => Just(json!({})).boxed(),
        Resource::Deployment => some(vec![
            ("replicas", of(&[json!(1), json!(2)])),
            ("observedGeneration", of(&[json!(1), json!(2)])),
        ]),
        Resource::Service => some(vec![(
            "loadBalancer",
            of(&[json!({}), json!({"ingress": [{"hostname": "h.example"}]})]),
        )]),
        Resource::Gadget => some(vec![
            ("ready", or_null(of(&[json!(true), json!(false)]))),
            ("count", of(&[json!(1), json!(2)])),
        ]),
    };
    let alone = all(vec![("status", status.clone())]);
    let beside = (part(resource), status).prop_map(|(mut part, status)| {
        part["status"] = status;
        part
    });
    prop_oneof![2 => alone, 1 => beside].boxed()
}

/// A strategic patch: a part, now and then with a directive.
pub(crate) fn strategic(resource: Resource) -> Drawn {
    let plain = part(resource);
    let directives = match resource {
        Resource::ConfigMap => of(&[
            json!({"data": {"$patch": "replace", "a": "1"}}),
            json!({"data": {"$patch": "delete"}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["fuzz.example/a"]}}),
            json!({"metadata": {"labels": {"$patch": "replace"}}}),
        ]),
        Resource::Deployment => of(&[
            json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}),
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "$patch": "delete"}]}]}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
                "containers": [{"name": "side", "image": "web:3"}]}}}}),
            json!({"spec": {"template": {"spec": {"containers": [{"image": "web:3"}]}}}}),
        ]),
        Resource::Service => of(&[
            json!({"spec": {"ports": [{"port": 443, "$patch": "delete"}]}}),
            json!({"spec": {"ports": [{"$patch": "replace"}, {"port": 80, "name": "a"}]}}),
        ]),
        Resource::Gadget => of(&[json!({"spec": {"size": 3}})]),
    };
    prop_oneof![3 => plain, 2 => directives].boxed()
}

/// A JSON patch of one to three operations.
pub(crate) fn operations(resource: Resource) -> Drawn {
    let (paths, values): (&[&str], Vec<Value>) = match resource {
        Resource::ConfigMap => (
            &[
                "/data/a",
                "/data/b",
                "/data",
                "/metadata/labels",
                "/metadata/labels/x",
                "/metadata/finalizers/0",
            ],
            vec![json!("1"), json!({"a": "1"}), json!("fuzz.example/a")],
        ),
        Resource::Deployment => (
            &[
                "/spec/replicas",
                "/spec/paused",
                "/spec/template/spec/containers/0/image",
                "/spec/template/spec/containers/0/args/-",
                "/spec/template/spec/containers/1",
                "/spec/template/spec/nodeSelector",
            ],
            vec![
                json!(1),
                json!(true),
                json!("web:1"),
                json!({"name": "side", "image": "web:1"}),
                json!({"k": "1"}),
            ],
        ),
        Resource::Service => (
            &[
                "/spec/ports/0/port",
                "/spec/ports/-",
                "/spec/selector/k",
                "/spec/ports/0/targetPort",
            ],
            vec![
                json!(80),
                json!({"port": 81, "name": "d"}),
                json!({"k": "1"}),
                json!("1"),
            ],
        ),
        Resource::Gadget => (
            &[
                "/spec/size",
                "/spec/tags/0",
                "/spec/tags/-",
                "/spec/parts/0/value",
                "/spec/map/k",
                "/spec/nest",
                "/spec/maybe",
            ],
            vec![json!(1), json!("p"), json!("1"), json!({"a": 1}), Value::Null],
        ),
    };
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let (path, from) = (select(paths.clone()), select(paths));
    let op = select(vec![
        "add", "add", "replace", "replace", "remove", "test", "copy", "move",
    ]);
    let operation = (op, path, from, select(values)).prop_map(|(op, path, from, value)| match op {
        "remove" => json!({"op": op, "path": path}),
        "copy" | "move" => json!({"op": op, "path": path, "from": from}),
        _ => json!({"op": op, "path": path, "value": value}),
    });
    vec(operation, 1..4).prop_map(Value::from).boxed()
}

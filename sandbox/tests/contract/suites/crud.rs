//! Create, read, update, delete; what is refused, and with which words.

use serde_json::json;

use super::objects::{config_map, deployment, labelled, managed, names, owned, pod, service, version};
use crate::context::{Answer, Ask, Context, JSON};

crate::registry::suite!("crud":
    create_fills_in_the_metadata, create_again_is_refused, a_missing_object_is_not_found, update_replaces,
    update_of_an_old_version_is_a_conflict, update_without_a_version, update_of_a_missing_object,
    update_under_another_name, update_with_another_uid, an_update_that_changes_nothing_keeps_the_version,
    metadata_that_clients_cannot_set, a_version_cannot_be_set_at_creation, delete_answers_with_a_status,
    delete_with_preconditions, delete_collection_by_selector, names_are_checked, labels_are_checked,
    namespaces_must_agree, bodies_that_make_no_sense, methods_that_are_not_allowed, deployments_have_defaults,
    pods_have_defaults, a_services_address_is_allocated, a_headless_service, a_service_keeps_its_address,
    a_deployments_selector_cannot_change, a_pods_spec_cannot_change, a_pods_image_can, secrets_take_plain_text,
    immutable_config_maps, an_update_records_its_manager, generation_counts_changes_of_the_spec,
    a_pod_on_a_node_ends_gracefully, a_pod_without_a_node_ends_at_once, what_is_required_is_named, pods_need_unique_names,
    an_empty_list, get_of_another_namespace,
);

async fn create_fills_in_the_metadata(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let meta = &made["metadata"];
    assert_eq!(
        (made["kind"].as_str(), made["apiVersion"].as_str()),
        (Some("ConfigMap"), Some("v1"))
    );
    assert_eq!(meta["namespace"], c.ns.as_str());
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(meta["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert!(version(&made).parse::<u64>().unwrap() > 0);
    assert!(meta.get("generation").is_none(), "ConfigMaps count no generations");
    assert!(meta.get("selfLink").is_none());
    let read = c.get(format!("{}/one", c.maps())).await.code(200);
    assert_eq!(read, made);
}

async fn create_again_is_refused(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let status = c
        .post(c.maps(), &config_map("one", json!({})))
        .await
        .refused(409, "AlreadyExists");
    assert_eq!(status["message"], "configmaps \"one\" already exists");
    assert_eq!(status["details"], json!({"name": "one", "kind": "configmaps"}));
    assert_eq!(
        (status["kind"].as_str(), status["status"].as_str()),
        (Some("Status"), Some("Failure"))
    );
}

async fn a_missing_object_is_not_found(c: Context) {
    let status = c
        .get(c.path("apps/v1", "deployments") + "/none")
        .await
        .refused(404, "NotFound");
    assert_eq!(status["message"], "deployments.apps \"none\" not found");
    assert_eq!(
        status["details"],
        json!({"name": "none", "group": "apps", "kind": "deployments"})
    );
    c.delete(format!("{}/none", c.maps())).await.refused(404, "NotFound");
}

async fn update_replaces(c: Context) {
    let mut map = c
        .post(c.maps(), &config_map("one", json!({"a": "1", "b": "2"})))
        .await
        .code(201);
    map["data"] = json!({"c": "3"});
    let updated = c.put(format!("{}/one", c.maps()), &map).await.code(200);
    assert_eq!(updated["data"], json!({"c": "3"}));
    assert_eq!(updated["metadata"]["uid"], map["metadata"]["uid"]);
    assert!(version(&updated).parse::<u64>().unwrap() > version(&map).parse::<u64>().unwrap());
}

async fn update_of_an_old_version_is_a_conflict(c: Context) {
    let path = format!("{}/one", c.maps());
    let first = c.post(c.maps(), &config_map("one", json!({"k": "1"}))).await.code(201);
    let mut second = first.clone();
    second["data"]["k"] = json!("2");
    c.put(&path, &second).await.code(200);
    let mut stale = first;
    stale["data"]["k"] = json!("3");
    let status = c.put(&path, &stale).await.refused(409, "Conflict");
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"one\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    assert_eq!(c.get(&path).await.ok()["data"]["k"], "2");
}

async fn update_without_a_version(c: Context) {
    c.post(c.maps(), &config_map("one", json!({"k": "1"}))).await.code(201);
    let updated = c
        .put(format!("{}/one", c.maps()), &config_map("one", json!({"k": "2"})))
        .await
        .code(200);
    assert_eq!(updated["data"]["k"], "2");
}

async fn update_of_a_missing_object(c: Context) {
    c.put(format!("{}/one", c.maps()), &config_map("one", json!({})))
        .await
        .refused(404, "NotFound");
}

async fn update_under_another_name(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let status = c
        .put(format!("{}/one", c.maps()), &config_map("two", json!({})))
        .await
        .refused(400, "BadRequest");
    assert_eq!(
        status["message"],
        "the name of the object (two) does not match the name on the URL (one)"
    );
}

async fn update_with_another_uid(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let mut other = config_map("one", json!({}));
    other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    c.put(format!("{}/one", c.maps()), &other)
        .await
        .refused(409, "Conflict");
}

async fn an_update_that_changes_nothing_keeps_the_version(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({"k": "v"}))).await.code(201);
    let again = c.put(format!("{}/one", c.maps()), &made).await.code(200);
    assert_eq!(again, made);
}

async fn metadata_that_clients_cannot_set(c: Context) {
    let mut map = config_map("one", json!({}));
    map["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    map["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    map["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    map["metadata"]["generation"] = json!(7);
    map["metadata"]["selfLink"] = json!("/nowhere");
    let made = c.post(c.maps(), &map).await.code(201);
    let meta = &made["metadata"];
    assert_ne!(meta["uid"], map["metadata"]["uid"]);
    assert_ne!(meta["creationTimestamp"], map["metadata"]["creationTimestamp"]);
    assert!(meta.get("deletionTimestamp").is_none());
}

async fn a_version_cannot_be_set_at_creation(c: Context) {
    let mut map = config_map("one", json!({}));
    map["metadata"]["resourceVersion"] = json!("5");
    let answer = c.post(c.maps(), &map).await;
    assert_eq!(answer.code, 500, "{}", answer.body);
    assert_eq!(
        answer.body["message"],
        "resourceVersion should not be set on objects to be created"
    );
}

async fn delete_answers_with_a_status(c: Context) {
    let made = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let status = c.delete(format!("{}/one", c.maps())).await.code(200);
    assert_eq!(
        (status["kind"].as_str(), status["status"].as_str()),
        (Some("Status"), Some("Success"))
    );
    assert_eq!(
        status["details"],
        json!({"name": "one", "kind": "configmaps", "uid": made["metadata"]["uid"]})
    );
    c.get(format!("{}/one", c.maps())).await.refused(404, "NotFound");
}

async fn delete_with_preconditions(c: Context) {
    let path = format!("{}/one", c.maps());
    let made = c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    for wrong in [
        json!({"uid": "00000000-0000-0000-0000-000000000000"}),
        json!({"resourceVersion": "1"}),
    ] {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": wrong});
        c.delete_with(&path, &options).await.refused(409, "Conflict");
    }
    let right = json!({"uid": made["metadata"]["uid"], "resourceVersion": version(&made)});
    c.delete_with(&path, &json!({"preconditions": right})).await.code(200);
}

async fn delete_collection_by_selector(c: Context) {
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        c.post(c.maps(), &labelled(name, json!({"app": app}))).await.code(201);
    }
    let deleted = c.delete(format!("{}?labelSelector=app%3Dx", c.maps())).await.code(200);
    assert_eq!(deleted["kind"], "ConfigMapList");
    assert_eq!(names(&deleted), ["a", "c"]);
    assert_eq!(names(&c.get(c.maps()).await.ok()), ["b"]);
}

async fn names_are_checked(c: Context) {
    for name in ["Upper", "under_score", "-dash", "dot.", &"x".repeat(254)] {
        c.post(c.maps(), &config_map(name, json!({})))
            .await
            .invalid(&["metadata.name"]);
    }
    c.post(c.maps(), &config_map("dots.are.fine", json!({})))
        .await
        .code(201);
}

async fn labels_are_checked(c: Context) {
    c.post(c.maps(), &labelled("one", json!({"bad key": "x"})))
        .await
        .invalid(&["metadata.labels"]);
    c.post(c.maps(), &labelled("one", json!({"k": "bad value"})))
        .await
        .invalid(&["metadata.labels"]);
    let mut annotated = config_map("one", json!({}));
    annotated["metadata"]["annotations"] = json!({"bad key": "x"});
    c.post(c.maps(), &annotated).await.invalid(&["metadata.annotations"]);
    c.post(c.maps(), &config_map("one", json!({"bad key": "x"})))
        .await
        .invalid(&["data[bad key]"]);
}

async fn namespaces_must_agree(c: Context) {
    let mut map = config_map("one", json!({}));
    map["metadata"]["namespace"] = json!("elsewhere");
    let status = c.post(c.maps(), &map).await.refused(400, "BadRequest");
    let wanted = "the namespace of the provided object does not match the namespace sent on the request".to_string();
    assert_eq!(status["message"], wanted);
}

async fn bodies_that_make_no_sense(c: Context) {
    c.post(c.maps(), &json!("text")).await.refused(400, "BadRequest");
    c.post(
        c.maps(),
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}),
    )
    .await
    .refused(400, "BadRequest");
    c.post(
        c.maps(),
        &json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "one"}}),
    )
    .await
    .refused(400, "BadRequest");
    c.post(c.maps(), &json!({"metadata": {"name": "one"}, "data": {"k": 5}}))
        .await
        .refused(400, "BadRequest");
    let body = config_map("one", json!({}));
    let ask = Ask {
        method: "POST",
        path: c.maps(),
        content_type: "text/csv",
        accept: JSON,
        body: Some(&body),
    };
    c.send(ask).await.refused(415, "UnsupportedMediaType");
}

async fn methods_that_are_not_allowed(c: Context) {
    c.put(c.maps(), &config_map("one", json!({})))
        .await
        .refused(405, "MethodNotAllowed");
    c.post(format!("{}/one", c.maps()), &config_map("one", json!({})))
        .await
        .refused(405, "MethodNotAllowed");
    c.delete("/api/v1/namespaces?labelSelector=nobody%3Dhas")
        .await
        .refused(405, "MethodNotAllowed");
}

async fn deployments_have_defaults(c: Context) {
    let made = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let spec = &made["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
    assert_eq!(spec["strategy"], rolling);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["status"], json!({}));
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Always");
    assert_eq!(pod["terminationGracePeriodSeconds"], 30);
    assert_eq!(pod["dnsPolicy"], "ClusterFirst");
    assert_eq!(pod["schedulerName"], "default-scheduler");
    assert_eq!(pod["securityContext"], json!({}));
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
    assert_eq!(pod["containers"][0]["terminationMessagePath"], "/dev/termination-log");
}

async fn pods_have_defaults(c: Context) {
    let mut body = pod("one");
    body["spec"]["containers"][0] = json!({"name": "main", "image": "web", "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1"}},
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}}});
    let made = c.post(c.path("v1", "pods"), &body).await.code(201);
    let container = &made["spec"]["containers"][0];
    assert_eq!(
        container["imagePullPolicy"], "Always",
        "an image without a tag may change"
    );
    assert_eq!(container["ports"][0]["protocol"], "TCP");
    assert_eq!(
        container["resources"]["requests"],
        json!({"cpu": "1"}),
        "requests follow limits"
    );
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    let probe = json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3});
    assert_eq!(container["readinessProbe"], probe);
    assert_eq!(made["spec"]["enableServiceLinks"], true);
    assert_eq!(made["spec"]["preemptionPolicy"], "PreemptLowerPriority");
    assert_eq!(made["spec"]["priority"], 0);
    let tolerations = made["spec"]["tolerations"].as_array().unwrap();
    assert_eq!(tolerations.len(), 2, "not-ready and unreachable, for 300 s");
    assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
}

async fn a_services_address_is_allocated(c: Context) {
    let services = c.path("v1", "services");
    let one = c.post(&services, &service("one")).await.code(201);
    let two = c.post(&services, &service("two")).await.code(201);
    let address = one["spec"]["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("127.20."), "{address}");
    assert_ne!(one["spec"]["clusterIP"], two["spec"]["clusterIP"]);
    mask_address(&c, &one, "one");
    mask_address(&c, &two, "two");
    assert_eq!(one["spec"]["clusterIPs"], json!([address]));
    assert_eq!(one["spec"]["type"], "ClusterIP");
    assert_eq!(
        one["spec"]["ports"],
        json!([{"protocol": "TCP", "port": 80, "targetPort": 80}])
    );
    assert_eq!(one["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(one["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(one["spec"]["internalTrafficPolicy"], "Cluster");
    assert_eq!(one["spec"]["sessionAffinity"], "None");
    assert_eq!(one["status"], json!({"loadBalancer": {}}));
}

fn mask_address(c: &Context, service: &serde_json::Value, name: &str) {
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    c.trace.lock().unwrap().mask(address, &format!("<address of {name}>"));
}

async fn a_headless_service(c: Context) {
    let mut body = service("one");
    body["spec"]["clusterIP"] = json!("None");
    let made = c.post(c.path("v1", "services"), &body).await.code(201);
    assert_eq!(made["spec"]["clusterIPs"], json!(["None"]));
}

async fn a_service_keeps_its_address(c: Context) {
    let path = c.path("v1", "services") + "/one";
    let made = c.post(c.path("v1", "services"), &service("one")).await.code(201);
    mask_address(&c, &made, "one");
    // An update that does not name the address keeps it.
    let mut body = service("one");
    body["spec"]["ports"][0]["port"] = json!(81);
    let updated = c.put(&path, &body).await.code(200);
    assert_eq!(updated["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    let mut moved = updated;
    moved["spec"]["clusterIP"] = json!("127.20.255.250");
    moved["spec"]["clusterIPs"] = json!(["127.20.255.250"]);
    c.put(&path, &moved).await.invalid(&["spec.clusterIPs[0]"]);
}

async fn a_deployments_selector_cannot_change(c: Context) {
    let made = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    let mut changed = made;
    changed["spec"]["selector"]["matchLabels"] = json!({"app": "other"});
    changed["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let status = c
        .put(c.path("apps/v1", "deployments") + "/one", &changed)
        .await
        .invalid(&["spec.selector"]);
    assert!(
        status["message"].as_str().unwrap().contains("field is immutable"),
        "{status}"
    );
}

async fn a_pods_spec_cannot_change(c: Context) {
    let made = c.post(c.path("v1", "pods"), &pod("one")).await.code(201);
    let mut changed = made;
    changed["spec"]["hostname"] = json!("other");
    c.put(c.path("v1", "pods") + "/one", &changed).await.invalid(&["spec"]);
}

async fn a_pods_image_can(c: Context) {
    let mut changed = c.post(c.path("v1", "pods"), &pod("one")).await.code(201);
    changed["spec"]["containers"][0]["image"] = json!("web:2");
    let updated = c.put(c.path("v1", "pods") + "/one", &changed).await.code(200);
    assert_eq!(updated["spec"]["containers"][0]["image"], "web:2");
}

async fn secrets_take_plain_text(c: Context) {
    let body = json!({"metadata": {"name": "one"}, "stringData": {"k": "hello"}, "data": {"k": "eA==", "l": "eQ=="}});
    let made = c.post(c.path("v1", "secrets"), &body).await.code(201);
    assert_eq!(made["data"], json!({"k": "aGVsbG8=", "l": "eQ=="}));
    assert!(made.get("stringData").is_none());
    assert_eq!(made["type"], "Opaque");
    let wrong = json!({"metadata": {"name": "two"}, "data": {"k": "not base64!"}});
    c.post(c.path("v1", "secrets"), &wrong).await.refused(400, "BadRequest");
}

async fn immutable_config_maps(c: Context) {
    let mut map = config_map("one", json!({"k": "v"}));
    map["immutable"] = json!(true);
    let made = c.post(c.maps(), &map).await.code(201);
    let path = format!("{}/one", c.maps());
    let mut changed = made.clone();
    changed["data"]["k"] = json!("w");
    c.put(&path, &changed).await.invalid(&["data"]);
    let mut changed = made.clone();
    changed["immutable"] = json!(false);
    c.put(&path, &changed).await.invalid(&["immutable"]);
    let mut labelled = made;
    labelled["metadata"]["labels"] = json!({"a": "b"});
    c.put(&path, &labelled).await.code(200);
}

async fn an_update_records_its_manager(c: Context) {
    let path = format!("{}/one", c.maps());
    let made = c
        .post(
            format!("{}?fieldManager=maker", c.maps()),
            &config_map("one", json!({"a": "1"})),
        )
        .await
        .code(201);
    let entry = managed(&made, "maker").unwrap();
    assert_eq!(
        (entry["operation"].as_str(), entry["apiVersion"].as_str()),
        (Some("Update"), Some("v1"))
    );
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(entry["fieldsV1"], json!({"f:data": {".": {}, "f:a": {}}}));
    let mut changed = made;
    changed["data"] = json!({"a": "2", "b": "3"});
    let updated = c.put(format!("{path}?fieldManager=changer"), &changed).await.code(200);
    assert_eq!(owned(&updated, "changer"), json!({"f:data": {"f:a": {}, "f:b": {}}}));
    assert_eq!(owned(&updated, "maker"), json!({"f:data": {}}));
}

async fn generation_counts_changes_of_the_spec(c: Context) {
    let path = c.path("apps/v1", "deployments") + "/one";
    let mut object = c
        .post(c.path("apps/v1", "deployments"), &deployment("one"))
        .await
        .code(201);
    object["metadata"]["labels"] = json!({"a": "b"});
    object = c.put(&path, &object).await.code(200);
    assert_eq!(object["metadata"]["generation"], 1, "labels are not the spec");
    object["spec"]["replicas"] = json!(3);
    object = c.put(&path, &object).await.code(200);
    assert_eq!(object["metadata"]["generation"], 2);
}

async fn a_pod_on_a_node_ends_gracefully(c: Context) {
    let path = c.path("v1", "pods") + "/one";
    let mut body = pod("one");
    body["spec"]["nodeName"] = json!("nowhere");
    body["spec"]["terminationGracePeriodSeconds"] = json!(7);
    c.post(c.path("v1", "pods"), &body).await.code(201);
    let ending = c.delete(&path).await.code(200);
    assert_eq!(ending["kind"], "Pod");
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 7);
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    // A longer period does not postpone what has begun.
    let again = c.delete_with(&path, &json!({"gracePeriodSeconds": 60})).await.code(200);
    assert_eq!(again["metadata"]["deletionGracePeriodSeconds"], 7);
    c.delete_with(&path, &json!({"gracePeriodSeconds": 0})).await.code(200);
    c.get(&path).await.refused(404, "NotFound");
}

async fn a_pod_without_a_node_ends_at_once(c: Context) {
    c.post(c.path("v1", "pods"), &pod("one")).await.code(201);
    c.delete(c.path("v1", "pods") + "/one").await.code(200);
    c.get(c.path("v1", "pods") + "/one").await.refused(404, "NotFound");
}

async fn what_is_required_is_named(c: Context) {
    let body = json!({"metadata": {"name": "one"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "other"}}, "spec": {"containers": [{"name": "main"}]}}}});
    let fields = [
        "spec.template.metadata.labels",
        "spec.template.spec.containers[0].image",
    ];
    c.post(c.path("apps/v1", "deployments"), &body).await.invalid(&fields);
    let body = json!({"metadata": {"name": "one"}, "spec": {"containers": []}});
    c.post(c.path("v1", "pods"), &body).await.invalid(&["spec.containers"]);
    let body = json!({"metadata": {"name": "one"}, "spec": {}});
    c.post(c.path("v1", "services"), &body).await.invalid(&["spec.ports"]);
}

async fn pods_need_unique_names(c: Context) {
    let mut body = pod("one");
    body["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]);
    let status = c
        .post(c.path("v1", "pods"), &body)
        .await
        .invalid(&["spec.containers[1].name"]);
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueDuplicate");
}

async fn an_empty_list(c: Context) {
    let list = c.get(c.maps()).await.code(200);
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["items"], json!([]));
    assert!(version(&list).parse::<u64>().is_ok());
}

async fn get_of_another_namespace(c: Context) {
    c.post(c.maps(), &config_map("one", json!({}))).await.code(201);
    let elsewhere: Answer = c.get("/api/v1/namespaces/no-such-namespace/configmaps/one").await;
    elsewhere.refused(404, "NotFound");
    assert_eq!(
        names(&c.get("/api/v1/namespaces/no-such-namespace/configmaps").await.code(200)),
        [""; 0]
    );
}

//! The generated files are what the types say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use showrunner_crds::crd;

#[test]
fn generated_yaml_is_current() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for definition in crd::all_crds() {
        let path = directory.join(format!("{}.yaml", definition.spec.names.plural));
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == crd::to_yaml(&definition),
            "{} is not current: cargo run -p showrunner-crds --example generate",
            path.display()
        );
    }
    let files = fs::read_dir(directory).unwrap().count();
    assert_eq!(files, crd::all_crds().len(), "a file in crds/yaml belongs to no kind");
}

#[test]
fn names_and_subresources() {
    let by_kind = |kind| crd::crd(kind).unwrap();
    let platform = by_kind("StreamingPlatform");
    assert_eq!(
        platform.metadata.name.as_deref(),
        Some("streamingplatforms.showrunner.dev")
    );
    assert_eq!(platform.spec.names.short_names.as_deref().unwrap(), ["sp", "platform"]);
    for (kind, status) in [
        ("StreamingPlatform", true),
        ("Premiere", true),
        ("Scenario", false),
        ("Drill", true),
    ] {
        let version = &by_kind(kind).spec.versions[0];
        assert_eq!(version.name, "v1alpha1");
        assert_eq!(
            version.subresources.as_ref().is_some_and(|sub| sub.status.is_some()),
            status,
            "{kind}"
        );
        assert!(
            !version
                .additional_printer_columns
                .as_deref()
                .unwrap_or_default()
                .is_empty(),
            "{kind}"
        );
    }
    assert!(crd::crd("Pod").is_none());
}

#[test]
fn defaults_are_in_the_schema() {
    let schema = crd::schema(&crd::crd("StreamingPlatform").unwrap());
    let spec = &schema["properties"]["spec"]["properties"];
    assert_eq!(spec["environment"]["default"], "development");
    assert_eq!(spec["edge"]["properties"]["viewersPerReplica"]["default"], 1000);
    assert_eq!(spec["edge"]["default"]["autoscaling"]["maxReplicas"], 20);
    assert_eq!(spec["regions"]["items"]["properties"]["weight"]["default"], 100);
    assert_eq!(spec["channels"]["items"]["properties"]["dvrWindow"]["default"], "2m");
}

//! Files with a scenario, held against a platform.
#![no_main]

mod common;

use std::sync::LazyLock;

use common::check_refusal;
use libfuzzer_sys::fuzz_target;
use showrunner_crds::{
    platform::StreamingPlatformSpec,
    rules::{patched, validate, validate_scenario},
    source::{read_documents, read_platform_file, read_scenario},
};

static CINEMA: LazyLock<StreamingPlatformSpec> = LazyLock::new(|| {
    let text = include_str!("../../../examples/cinema.yaml");
    read_platform_file("cinema.yaml", text)
        .expect("an example")
        .platform
        .spec
});

fuzz_target!(|data: &[u8]| {
    if let Err(refusal) = read_documents("f.yaml", data) {
        check_refusal(data, &refusal);
    }
    let scenario = match read_scenario("f.yaml", data, Some(&CINEMA)) {
        Ok(scenario) => scenario,
        Err(refusal) => return check_refusal(data, &refusal),
    };
    assert_eq!(validate_scenario(&scenario.spec, Some(&CINEMA)), []);
    let platform = patched(&CINEMA, scenario.spec.platform_patch.as_ref()).expect("the rules looked at the patch");
    assert_eq!(validate(&platform), []);
    let text = serde_saphyr::to_string(&scenario).expect("a scenario is YAML");
    let again = read_scenario("f.yaml", &text, Some(&CINEMA)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.spec, scenario.spec);
});

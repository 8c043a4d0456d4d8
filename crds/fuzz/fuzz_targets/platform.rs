//! Files with platforms and premieres.
#![no_main]

mod common;

use common::check_refusal;
use libfuzzer_sys::fuzz_target;
use showrunner_crds::{
    rules::{validate_platform, validate_premiere},
    source::read_platform_file,
};

fuzz_target!(|data: &[u8]| {
    let file = match read_platform_file("f.yaml", data) {
        Ok(file) => file,
        Err(refusal) => return check_refusal(data, &refusal),
    };
    assert_eq!(validate_platform(&file.platform), []);
    for premiere in &file.premieres {
        assert_eq!(validate_premiere(&premiere.spec), []);
        assert_eq!(Some(&premiere.spec.platform), file.platform.metadata.name.as_ref());
    }
    // What was understood, written and read again, is the same.
    let text = serde_saphyr::to_string(&file.platform).expect("a platform is YAML");
    let again = read_platform_file("f.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.platform.spec, file.platform.spec);
    assert_eq!(again.platform.metadata, file.platform.metadata);
    let json = serde_json::to_string(&file.platform).expect("a platform is JSON");
    let again = read_platform_file("f.yaml", &json).unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert_eq!(again.platform.spec, file.platform.spec);
    assert_eq!(again.platform.metadata, file.platform.metadata);
});

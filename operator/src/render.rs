//! Everything that would be applied for a platform file, without a cluster.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use showrunner_crds::platform::StreamingPlatform;

use crate::{
    addresses::Addresses,
    build::{Input, build},
    floor::{Demand, floors},
    memory::Memory,
    observed::Live,
    validate::{ValidateError, validate},
};

/// Renders every object, in the order in which they would be applied, cluster by cluster. Addresses that only a cluster can
/// give are empty, and the Secret with the signing key is not among them: it is made in the cluster.
pub fn render(platform: &StreamingPlatform) -> Result<Vec<Value>, ValidateError> {
    let validated = validate(platform)?;
    let nobody = Demand {
        audience: &BTreeMap::new(),
        announced: &[],
        unavailable: &BTreeSet::new(),
        // Nothing is announced, so that it does not matter when.
        now: Timestamp::UNIX_EPOCH,
    };
    let floors = floors(&validated, &nobody);
    let nothing = Live::default();
    let resources = build(Input {
        platform: &validated,
        addresses: &Addresses::default(),
        floors: &floors,
        fixed: &Memory::default().fixed(&validated, |_| Some(&nothing), nobody.now),
    });
    Ok(resources.objects().iter().map(|object| object.body.clone()).collect())
}

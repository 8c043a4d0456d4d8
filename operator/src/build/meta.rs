//! Labels, owners, and object metadata.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use showrunner_crds::{labels, platform::Role};

use crate::validate::{ValidatedPlatform, names::RegionName};

/// Label of the channel that an encoder encodes.
pub(super) const CHANNEL: &str = "showrunner.dev/channel";

/// Labels under construction.
pub(super) type Labels = BTreeMap<String, String>;

/// What an object is about: decides its labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub platform: &'a ValidatedPlatform,
    pub region: Option<&'a RegionName>,
    pub role: Role,
    /// A further label that tells workloads of one role and region apart.
    pub detail: Option<(&'static str, &'a str)>,
}

impl<'a> About<'a> {
    pub(super) const fn new(platform: &'a ValidatedPlatform, region: Option<&'a RegionName>, role: Role) -> Self {
        Self {
            platform,
            region,
            role,
            detail: None,
        }
    }

    pub(super) const fn detail(mut self, key: &'static str, value: &'a str) -> Self {
        self.detail = Some((key, value));
        self
    }

    /// Every label of the object.
    pub(super) fn labels(&self) -> Labels {
        let platform = self.platform.name.as_str();
        let mut all = self.selector();
        for (key, value) in [
            (labels::APP_NAME, labels::APP),
            (labels::APP_INSTANCE, platform),
            (labels::APP_COMPONENT, self.role.as_str()),
            (labels::APP_PART_OF, platform),
            (labels::APP_MANAGED_BY, labels::MANAGER),
        ] {
            all.insert(key.to_owned(), value.to_owned());
        }
        all
    }

    /// The labels that select its pods. A Deployment's selector can never be changed: only what never changes is in it.
    pub(super) fn selector(&self) -> Labels {
        let mut selector = Labels::from([
            (labels::PLATFORM.to_owned(), self.platform.name.to_string()),
            (labels::ROLE.to_owned(), self.role.to_string()),
        ]);
        if let Some(region) = self.region {
            selector.insert(labels::REGION.to_owned(), region.to_string());
        }
        if let Some((key, value)) = self.detail {
            selector.insert(key.to_owned(), value.to_owned());
        }
        selector
    }

    /// The same as a selector object.
    pub(super) fn label_selector(&self) -> LabelSelector {
        LabelSelector {
            match_labels: Some(self.selector()),
            ..LabelSelector::default()
        }
    }

    /// Metadata of an object about this.
    pub(super) fn meta(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.platform.namespace.to_string()),
            labels: Some(self.labels()),
            owner_references: self.platform.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }
}

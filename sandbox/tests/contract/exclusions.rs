//! What the embedded server does not do as Kubernetes does, each with what happens instead.
//!
//! A test that is named here must fail on the embedded server: one that passes is a failure too, so that the list, and the
//! table that is made of it, stay true.

use crate::backend::Kind;

/// Something the embedded server does not emulate.
#[derive(Debug)]
pub(crate) struct Exclusion {
    /// What is not there.
    pub(crate) what: &'static str,
    /// What happens instead, and why.
    pub(crate) instead: &'static str,
    /// The tests that show it. None where no test could: then the reason stands alone.
    pub(crate) tests: &'static [&'static str],
}

/// All of them, in the order of the table.
pub(crate) const ALL: &[Exclusion] = &[
    Exclusion {
        what: "`exec`, `attach`, `port-forward`",
        instead: "404 where the pod's node is there: pods are processes of this machine, and its own tools reach them",
        tests: &[],
    },
    Exclusion {
        what: "ephemeral containers",
        instead: "404: nothing would start them",
        tests: &["subresources::ephemeral_containers"],
    },
    Exclusion {
        what: "resizing pods in place",
        instead: "404: no limit is enforced that could be resized",
        tests: &["subresources::resize_changes_resources"],
    },
    Exclusion {
        what: "service account tokens",
        instead: "404; a volume that projects one keeps its pod waiting",
        tests: &["subresources::token_requests"],
    },
    Exclusion {
        what: "authentication",
        instead: "plain HTTP on loopback, for whoever can connect to it",
        tests: &[],
    },
    Exclusion {
        what: "authorisation",
        instead: "RBAC objects are stored; every access review says yes",
        tests: &["subresources::a_local_access_review"],
    },
    Exclusion {
        what: "admission policies and webhooks",
        instead: "404; none are called",
        tests: &["admission::policies_refuse"],
    },
    Exclusion {
        what: "LimitRange, ResourceQuota",
        instead: "stored, not enforced",
        tests: &["admission::limit_ranges_fill_in"],
    },
    Exclusion {
        what: "conversion of custom resources by webhooks",
        instead: "every version of a definition is served without conversion",
        tests: &[],
    },
    Exclusion {
        what: "defaults that a definition gains later",
        instead: "an object has them from its next write on, not from its next read",
        tests: &["schemas::defaults_apply_when_reading"],
    },
    Exclusion {
        what: "types of CEL rules",
        instead: "a definition is refused for a rule that does not parse; one that names no field or is of another type fails when it runs",
        tests: &["rules::a_rule_of_the_wrong_type"],
    },
    Exclusion {
        what: "estimated cost of CEL rules",
        instead: "not reckoned, for it needs their types: a definition that Kubernetes refuses as too expensive is accepted. `--control-plane real` tells",
        tests: &[
            "rules::a_rule_that_costs_too_much",
            "rules::a_message_that_costs_too_much",
        ],
    },
    Exclusion {
        what: "`optionalOldSelf`",
        instead: "works at creation; in an update `oldSelf` is the bare value, so the rule fails",
        tests: &["rules::optional_old_self"],
    },
    Exclusion {
        what: "finalizers of namespaces' specs",
        instead: "there is `kubernetes` alone; those in the metadata work",
        tests: &["namespaces::finalizers_are_a_subresource"],
    },
    Exclusion {
        what: "empty fields that Go always writes",
        instead: "an Event without `eventTime` has none, rather than `null`",
        tests: &["events::a_core_event_is_stored"],
    },
    Exclusion {
        what: "warnings of questionable pods",
        instead: "none: what Kubernetes accepts with a warning is accepted without one",
        tests: &["field_validation::questionable_pods_are_warned_of"],
    },
    Exclusion {
        what: "warnings beside a refusal",
        instead: "none: only what is done is warned of",
        tests: &["field_validation::refusals_warn_too"],
    },
    Exclusion {
        what: "items of lists without kind and version",
        instead: "each item says its kind and version, as custom resources' do",
        tests: &["pages::items_do_not_repeat_their_kind"],
    },
    Exclusion {
        what: "older API versions (`autoscaling/v1`, …)",
        instead: "404",
        tests: &["discovery::older_versions_of_groups"],
    },
    Exclusion {
        what: "OpenAPI v2",
        instead: "an empty document; v3 is there",
        tests: &["discovery::openapi_v2_describes_everything"],
    },
    Exclusion {
        what: "persistence",
        instead: "objects live in memory and end with the process",
        tests: &[],
    },
];

/// Why a test is expected to fail, if it is. Nothing is excluded on the real server: it is what is right.
pub(crate) fn find(kind: Kind, test: &str) -> Option<&'static Exclusion> {
    let excluded = ALL.iter().find(|exclusion| exclusion.tests.contains(&test));
    excluded.filter(|_| kind != Kind::Real)
}

//! The permissions that the operator needs, each with its reason: no wildcard, nothing that no code uses.

/// One rule of the operator's role.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// API group; the core group is empty.
    pub group: &'static str,
    /// Resources, with subresources.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// What needs it.
    pub reason: &'static str,
}

/// What server-side apply, the sweep of orphans and the watches of rendered objects take.
const RENDERED: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule {
        group: "showrunner.dev",
        resources: &["streamingplatforms", "premieres"],
        verbs: &["get", "list", "watch"],
        reason: "controller: what is asked for",
    },
    Rule {
        group: "showrunner.dev",
        resources: &["streamingplatforms"],
        verbs: &["patch"],
        reason: "remote: the finalizer of a platform that has objects in other clusters",
    },
    Rule {
        group: "showrunner.dev",
        resources: &["streamingplatforms/status", "premieres/status"],
        verbs: &["patch"],
        reason: "status: what is reported",
    },
    Rule {
        group: "showrunner.dev",
        resources: &["streamingplatforms/finalizers"],
        verbs: &["update"],
        reason: "build: owner references that block deletion, where the cluster enforces them",
    },
    Rule {
        group: "",
        resources: &["serviceaccounts", "configmaps", "services"],
        verbs: RENDERED,
        reason: "apply: identities, configuration, addresses",
    },
    Rule {
        group: "apps",
        resources: &["statefulsets", "deployments"],
        verbs: RENDERED,
        reason: "apply: workloads",
    },
    Rule {
        group: "autoscaling",
        resources: &["horizontalpodautoscalers"],
        verbs: RENDERED,
        reason: "apply: autoscalers of the edges, and the floor under them",
    },
    Rule {
        group: "policy",
        resources: &["poddisruptionbudgets"],
        verbs: RENDERED,
        reason: "apply: disruption budgets",
    },
    Rule {
        group: "networking.k8s.io",
        resources: &["networkpolicies"],
        verbs: RENDERED,
        reason: "apply: who may talk to whom",
    },
    Rule {
        group: "",
        resources: &["secrets"],
        verbs: &["create"],
        reason: "apply: the signing key, made once; to read it takes the Role of clusterSecrets",
    },
    Rule {
        group: "",
        resources: &["pods"],
        verbs: &["list"],
        reason: "dereference: which pods fail, and which steering servers to ask",
    },
    Rule {
        group: "",
        resources: &["pods/proxy"],
        verbs: &["get"],
        reason: "dereference: the audience, from the steering servers",
    },
    Rule {
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &["create", "patch"],
        reason: "reconcile: events on transitions",
    },
    Rule {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["get", "create", "update"],
        reason: "leader: election; drills: whether a runner lives",
    },
    Rule {
        group: "showrunner.dev",
        resources: &["drills"],
        verbs: &["list", "watch"],
        reason: "drills: which are under way",
    },
    Rule {
        group: "showrunner.dev",
        resources: &["drills/status"],
        verbs: &["update"],
        reason: "drills: which of their mutations are taken back",
    },
    Rule {
        group: "chaos-mesh.org",
        resources: &["networkchaos", "podchaos"],
        verbs: &["get", "delete"],
        reason: "drills: taking back the faults of one whose runner is gone",
    },
];

/// What server-side apply and the sweep of orphans take in another cluster, which is looked at and not watched.
const REMOTE: &[&str] = &["get", "list", "create", "patch", "delete"];

/// What else the kubeconfig's user may in a region's own cluster.
const REMOTE_ONLY: &[Rule] = &[
    Rule {
        group: "",
        resources: &["secrets"],
        verbs: &["get", "create", "delete"],
        reason: "apply: the signing key, the same as in the platform's own cluster; only where there are playback services",
    },
    Rule {
        group: "",
        resources: &["pods"],
        verbs: &["list"],
        reason: "remote: which pods fail, and which steering servers to ask",
    },
    Rule {
        group: "",
        resources: &["pods/proxy"],
        verbs: &["get"],
        reason: "metering: the audience, from the steering servers",
    },
];

/// Every rule of the kubeconfig's user in a region's own cluster, in one namespace there.
fn remote_rules() -> impl Iterator<Item = Rule> {
    let rendered = RULES.iter().filter(|rule| rule.verbs == RENDERED);
    rendered
        .map(|rule| Rule { verbs: REMOTE, ..*rule })
        .chain(REMOTE_ONLY.iter().copied())
}

/// The rules as a ClusterRole, each under its reason.
#[must_use]
pub fn yaml() -> String {
    rules_yaml("ClusterRole", RULES.iter().copied())
}

/// The rules in a region's own cluster as a Role, each under its reason.
#[must_use]
pub fn remote_yaml() -> String {
    rules_yaml("Role", remote_rules())
}

fn rules_yaml(kind: &str, rules: impl Iterator<Item = Rule>) -> String {
    let head = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: showrunner-operator\nrules:\n"
    );
    let list = |items: &[&str]| {
        items
            .iter()
            .map(|item| format!("\"{item}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    rules.fold(head, |text, rule| {
        let Rule {
            group,
            resources,
            verbs,
            reason,
        } = rule;
        text + &format!(
            "  # {reason}\n  - apiGroups: [\"{group}\"]\n    resources: [{}]\n    verbs: [{}]\n",
            list(resources),
            list(verbs)
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use k8s_openapi::api::rbac::v1::ClusterRole;

    use super::*;
    use crate::kind::Kind;

    #[test]
    fn the_yaml_says_what_the_rules_say() {
        let role: ClusterRole = serde_saphyr::from_str(&yaml()).unwrap();
        let rules = role.rules.unwrap();
        assert_eq!(rules.len(), RULES.len());
        for (parsed, rule) in rules.iter().zip(RULES) {
            assert_eq!(parsed.verbs, rule.verbs);
            assert_eq!(parsed.resources.as_deref().unwrap(), rule.resources);
        }
    }

    /// The chart carries the same text; `INSTA_UPDATE=always` writes it anew.
    fn the_chart_says(file: &str, text: &str, command: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../charts/showrunner-operator")
            .join(file);
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            text,
            "run `{command}` into the chart"
        );
    }

    #[test]
    fn the_chart_says_it_too() {
        the_chart_says("templates/clusterrole.yaml", &yaml(), "showrunner-operator rbac");
    }

    #[test]
    fn the_chart_has_the_remote_role_too() {
        the_chart_says(
            "files/remote-role.yaml",
            &remote_yaml(),
            "showrunner-operator rbac --remote",
        );
        assert!(!remote_yaml().contains('*'));
    }

    #[test]
    fn nothing_is_a_wildcard_and_everything_rendered_is_allowed() {
        let mut allowed = BTreeSet::new();
        for rule in RULES {
            assert!(!rule.reason.is_empty());
            for text in rule.resources.iter().chain(rule.verbs) {
                assert!(!text.contains('*'), "{rule:?}");
            }
            if rule.verbs == RENDERED {
                allowed.extend(
                    rule.resources
                        .iter()
                        .map(|resource| (rule.group.to_owned(), (*resource).to_owned())),
                );
            }
        }
        let rendered = Kind::ALL
            .map(Kind::api_resource)
            .map(|resource| (resource.group, resource.plural));
        assert_eq!(allowed, BTreeSet::from(rendered));
    }
}

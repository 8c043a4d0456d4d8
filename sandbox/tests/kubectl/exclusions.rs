//! Commands whose answers differ, and why they may.

/// The schemas of built-in kinds are made of types, without the words upstream's carry.
const NO_WORDS: &str = "the schema of built-in kinds has no descriptions in the embedded API server";

/// Upstream's controller writes it with the status, which is none.
const REVISION: &str = "the embedded controller's annotation of a Deployment's revision is a new generation";

/// A command of the session, and why its answers differ. One that no longer differs fails the session.
pub(crate) const ALL: &[(&str, &str)] = &[
    (
        "api-versions",
        "the embedded API server has the groups that the sandbox's README names",
    ),
    ("explain deployment.spec.strategy", NO_WORDS),
    ("explain hpa.spec.metrics --api-version=autoscaling/v2", NO_WORDS),
    (
        "autoscale deployment web --min=2 --max=4 --cpu=80%",
        "kubectl asks for autoscaling/v1, and only v2 is served by the embedded API server",
    ),
    (
        "delete hpa web --ignore-not-found",
        "what the command before made, or did not",
    ),
    ("diff -f web-new.yaml", REVISION),
    (
        "get deployment web --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}",
        REVISION,
    ),
    (
        "patch deployment web -p '{\"spec\":{\"replicas\":\"many\"}}'",
        "upstream says in the words of Go's decoder what it cannot take",
    ),
    (
        "apply -f show-wrong.yaml",
        "upstream prints the object after the patch, the embedded API server the patch",
    ),
    (
        "get shows --all-namespaces",
        "of a kind that is gone, upstream answers in plain text, the embedded API server with a Status",
    ),
    (
        "describe pod client",
        "Kubernetes' own runs without the admission that gives a pod its account: no tokens are mounted here",
    ),
    (
        "describe node b --show-events=false",
        "upstream's controllers add beta labels and the annotation of a time to live to nodes",
    ),
    (
        "helm install web chart --dry-run=server --namespace=default",
        "of a kind that is not known helm asks for OpenAPI v2 in protobuf, which the embedded API server has as JSON only",
    ),
];

/// Why a command's answers may differ.
pub(crate) fn of(command: &str) -> Option<&'static str> {
    ALL.iter()
        .find(|(excluded, _)| *excluded == command)
        .map(|(_, why)| *why)
}

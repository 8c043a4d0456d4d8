//! The configuration of shield and edge caches: one VCL for both tiers, which differ in what lies upstream.
//!
//! The settings are those that kept viewers playing when origins were killed under load: probes every half second, an
//! explicit other upstream on each retry, bounded staleness while all is well and long grace when it is not.

use showrunner_crds::names::{ADMIN_PORT, HTTP_PORT};

use crate::validate::units::Mebibytes;

/// The rules, with `{{PLACES}}` for what differs.
const TEMPLATE: &str = include_str!("cache.vcl");

/// Which of the two cache tiers a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTier {
    /// In front of the origins.
    Shield,
    /// What viewers talk to.
    Edge,
}

impl CacheTier {
    /// Time to live of playlists. Two tiers of at most half a second and a second keep a playlist younger than a segment.
    const fn playlist_ttl(self) -> &'static str {
        match self {
            Self::Shield => "500ms",
            Self::Edge => "1s",
        }
    }

    /// How long the first byte may take. An edge waits longer than a shield does, so that the shield's retry on another
    /// origin reaches the viewer before the edge gives up.
    const fn first_byte(self) -> &'static str {
        match self {
            Self::Shield => "2s",
            Self::Edge => "3s",
        }
    }

    /// Connections to one upstream at a time; beyond it a fetch goes to the next upstream at once.
    const fn max_connections(self) -> u32 {
        match self {
            Self::Shield => 128,
            Self::Edge => 512,
        }
    }
}

/// What a cache's configuration is rendered from.
#[derive(Clone, Debug)]
pub struct CacheConfig<'a> {
    /// The tier.
    pub tier: CacheTier,
    /// Comment at the top: whose cache this is.
    pub title: &'a str,
    /// Upstream Services as `(object name, DNS name)`, nearest first. Must not be empty.
    pub upstreams: &'a [(String, String)],
    /// File whose existence means that the cache is draining.
    pub drain_marker: &'a str,
}

/// Short-lived objects, in MiB; without a bound they are Varnish's unlimited transient storage.
const TRANSIENT: u32 = 16;

/// Most tries of one fetch: the first and two retries.
const TRIES: usize = 3;

/// Renders the VCL.
#[must_use]
pub fn render(config: &CacheConfig<'_>) -> String {
    let CacheConfig {
        tier,
        title,
        upstreams,
        drain_marker,
    } = config;
    let identifiers: Vec<String> = upstreams.iter().map(|(name, _)| name.replace('-', "_")).collect();
    let tries = upstreams.len().clamp(1, TRIES);

    TEMPLATE
        .replace("{{TITLE}}", title)
        .replace("{{BACKENDS}}", &backends(*tier, upstreams, &identifiers))
        .replace("{{DIRECTORS}}", &directors(&identifiers, tries))
        .replace("{{DRAIN}}", drain_marker)
        .replace("{{IDENTIFY}}", identify(*tier))
        .replace("{{RETRY_ORDER}}", &retry_order(tries))
        .replace("{{RETRY_404}}", retry_not_found(tries))
        .replace("{{PLAYLIST_TTL}}", tier.playlist_ttl())
}

fn backends(tier: CacheTier, upstreams: &[(String, String)], identifiers: &[String]) -> String {
    let (first_byte, connections) = (tier.first_byte(), tier.max_connections());
    let backend = |((_, host), identifier): (&(String, String), &String)| {
        [
            format!("backend {identifier} {{"),
            format!("    .host = \"{host}\";"),
            format!("    .port = \"{HTTP_PORT}\";"),
            "    .probe = upstream;".to_owned(),
            "    .connect_timeout = 300ms;".to_owned(),
            format!("    .first_byte_timeout = {first_byte};"),
            "    .between_bytes_timeout = 1s;".to_owned(),
            format!("    .max_connections = {connections};"),
            "}\n\n".to_owned(),
        ]
        .join("\n")
    };
    upstreams.iter().zip(identifiers).map(backend).collect()
}

/// `try0` prefers the nearest upstream; `try1` and `try2` begin one and two further on, so that a retry does not land on
/// the upstream that has just failed while its probe still calls it healthy.
fn directors(identifiers: &[String], tries: usize) -> String {
    let mut lines = Vec::new();
    for n in 0..tries {
        lines.push(format!("    new try{n} = directors.fallback();\n"));
        for position in 0..identifiers.len() {
            let identifier = &identifiers[(position + n) % identifiers.len()];
            lines.push(format!("    try{n}.add_backend({identifier});\n"));
        }
    }
    lines.concat()
}

/// Origins count what each shield fetches, and tell a fetch apart from the next try of one that failed elsewhere.
fn identify(tier: CacheTier) -> &'static str {
    match tier {
        CacheTier::Shield => {
            "    set bereq.http.X-Showrunner-Shield = server.identity;\n    set bereq.http.X-Showrunner-Try = bereq.retries;\n"
        }
        CacheTier::Edge => "",
    }
}

fn retry_order(tries: usize) -> String {
    let orders = (1..tries).map(|n| {
        let next = format!("        set bereq.backend = try{n}.backend();");
        [format!("    if (bereq.retries == {n}) {{"), next, "    }\n".to_owned()].join("\n")
    });
    orders.collect()
}

/// A player that meets a 404 at the live edge leaves the pathway: ask another upstream before passing it on.
fn retry_not_found(tries: usize) -> &'static str {
    if tries > 1 {
        "    if (beresp.status == 404 && bereq.retries == 0) {\n        return (retry);\n    }\n"
    } else {
        ""
    }
}

/// The daemon's command line; `$(POD_IP)` and `$(POD_NAME)` are the container's to fill in. One small thread pool: caches are many, and each waits far more than it computes.
#[must_use]
pub fn arguments(cache: Mebibytes, work: &str, rules: &str) -> Vec<String> {
    let mut args = vec!["-F".to_owned()];
    let http = format!("http=$(POD_IP):{HTTP_PORT},HTTP");
    let admin = format!("admin=$(POD_IP):{ADMIN_PORT},HTTP");
    let storage = format!("default=malloc,{}m", cache.0);
    let transient = format!("Transient=malloc,{TRANSIENT}m");
    for (flag, value) in [
        ("-j", "none"), // the container is the jail
        ("-a", http.as_str()),
        ("-a", admin.as_str()),
        ("-T", "none"), // no command line over the network
        ("-i", "$(POD_NAME)"),
        ("-n", work),
        ("-f", rules),
        ("-s", storage.as_str()),
        ("-s", transient.as_str()),
        ("-p", "thread_pools=1"),
        ("-p", "thread_pool_min=20"),
        ("-p", "thread_pool_max=2000"),
        ("-p", "timeout_idle=30"), // players come back every segment
        ("-p", "send_timeout=60"), // a reader that slow is gone
        ("-p", "vsl_space=8M"),
        ("-p", "http_gzip_support=off"), // media does not compress
    ] {
        args.push(flag.to_owned());
        args.push(value.to_owned());
    }
    args
}

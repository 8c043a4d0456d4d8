//! How long the player waits for what it asked for, and how often it asks again: hls.js's load policies.

use std::time::Duration;

use crate::http::Deadlines;

/// Patience with one kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadPolicy {
    /// Limits of one attempt.
    pub deadlines: Deadlines,
    /// Attempts after it.
    pub retry: RetryPolicy,
}

/// Retries of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries after a timeout, at once.
    pub timeouts: u8,
    /// Retries after an error other than 4xx, which is never retried while another pathway is known.
    pub errors: u8,
    /// First wait; doubles with each retry, plus up to a quarter of jitter.
    pub base: Duration,
    /// Longest wait.
    pub max: Duration,
}

/// Patience with the media itself: playlists, and segments with their init sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPolicy {
    /// Of media playlists.
    pub playlist: LoadPolicy,
    /// Of segments and init sections.
    pub segment: LoadPolicy,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            timeouts: 0,
            errors: 1,
            base: Duration::from_millis(500),
            max: Duration::from_secs(8),
        }
    }
}

impl LoadPolicy {
    /// What hls.js has: 10 s to the first byte, `total` in all however slowly it comes, timeouts asked again at once and errors
    /// after a second, two seconds, four.
    const fn hls_js(total: Duration, timeouts: u8, errors: u8) -> Self {
        let first_byte = Duration::from_secs(10);
        Self {
            deadlines: Deadlines {
                connect: first_byte,
                first_byte,
                stall: total,
                total,
            },
            retry: RetryPolicy {
                timeouts,
                errors,
                base: Duration::from_secs(1),
                max: Duration::from_secs(8),
            },
        }
    }
}

impl MediaPolicy {
    /// One policy for both.
    #[must_use]
    pub const fn of(policy: LoadPolicy) -> Self {
        Self {
            playlist: policy,
            segment: policy,
        }
    }

    /// With another pathway at hand, players for live events are tuned to leave sooner than hls.js, whose 10 s to the first byte
    /// are a stall in themselves on segments of 2 s: 4 s without a byte, and one retry of errors.
    #[must_use]
    pub fn with_alternatives() -> Self {
        Self::of(LoadPolicy {
            deadlines: Deadlines::default(),
            retry: RetryPolicy::default(),
        })
    }

    /// With nowhere else to go giving up means to begin anew, so what comes slowly is waited for: hls.js's default limits.
    ///
    /// Where hls.js differs: it never retries a connection that was refused or reset, shares its counts between video and audio and
    /// between timeouts and errors, and when they are used up it goes to another rung, or passes over the segment. Our viewer
    /// asks for the same again until [`super::PlayerSettings::fatal_after`].
    #[must_use]
    pub const fn alone() -> Self {
        Self {
            playlist: LoadPolicy::hls_js(Duration::from_secs(20), 2, 2),
            segment: LoadPolicy::hls_js(Duration::from_secs(120), 4, 6),
        }
    }
}

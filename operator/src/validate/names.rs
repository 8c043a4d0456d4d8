//! Names that cannot be wrong: made only by validation, so that builders never check one.

use std::fmt;

/// Whether a text is a DNS label: what every part of an object's name has to be.
fn is_dns_label(text: &str) -> bool {
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|&c| edge(c) || c == b'-')
        && edge(bytes[0])
        && edge(bytes[bytes.len() - 1])
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, max $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Longest a name may be, in characters.
            pub const MAX: usize = $max;

            /// Takes a DNS label of at most [`Self::MAX`] characters; `None` for anything else.
            #[must_use]
            pub fn new(text: &str) -> Option<Self> {
                (text.len() <= Self::MAX && is_dns_label(text)).then(|| Self(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Name of a platform.
    PlatformName, max 40
);
name!(
    /// Name of a namespace.
    Namespace, max 63
);
name!(
    /// Name of a region.
    RegionName, max 16
);
name!(
    /// Name of a channel.
    ChannelName, max 20
);
name!(
    /// Name of a playback service.
    ServiceName, max 20
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_dns_labels_alone() {
        for good in ["a", "eu-west", "r2", "0a"] {
            assert!(RegionName::new(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a b", "é", "abcdefghijklmnopq"] {
            assert!(RegionName::new(bad).is_none(), "{bad}");
        }
    }
}

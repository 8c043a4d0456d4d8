//! The only names that exist below a rendition. Whatever does not parse is not found, so no path ever reaches a file system
//! or a map unchecked.

use std::fmt;

/// An object of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectName {
    /// `index.m3u8`: the media playlist.
    Playlist,
    /// `init.mp4`: the initialisation segment.
    Init,
    /// `seg_N.m4s`: media segment `N`.
    Segment(u64),
}

impl ObjectName {
    /// Parses a file name; `None` for everything that [`fmt::Display`] would not write.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "index.m3u8" => Some(Self::Playlist),
            "init.mp4" => Some(Self::Init),
            other => {
                let digits = other.strip_prefix("seg_")?.strip_suffix(".m4s")?;
                let canonical = digits.len() <= 19
                    && digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'));
                if canonical {
                    digits.parse().ok().map(Self::Segment)
                } else {
                    None
                }
            }
        }
    }

    /// The media type it is served as.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Playlist => "application/vnd.apple.mpegurl",
            Self::Init | Self::Segment(_) => "video/mp4",
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Playlist => f.write_str("index.m3u8"),
            Self::Init => f.write_str("init.mp4"),
            Self::Segment(number) => write!(f, "seg_{number}.m4s"),
        }
    }
}

/// Whether `name` is a DNS label: what channels, regions and rungs are called.
pub fn is_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(inner)
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_names_do_not_exist() {
        for name in [
            "",
            "..",
            "seg_.m4s",
            "seg_-1.m4s",
            "seg_01.m4s",
            "seg_1.m4s/..",
            "seg_99999999999999999999.m4s",
            "seg_1.mp4",
            "INIT.mp4",
            "init.mp4\0",
            "seg_١.m4s",
        ] {
            assert_eq!(ObjectName::parse(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_what_would_be_written(name in "(seg_)?[0-9a-z_./%]{0,24}(.m4s)?") {
            if let Some(object) = ObjectName::parse(&name) {
                prop_assert_eq!(object.to_string(), name);
            }
        }

        #[test]
        fn every_segment_reads_back(number in 0..9_999_999_999_999_999_999u64) {
            prop_assert_eq!(ObjectName::parse(&ObjectName::Segment(number).to_string()), Some(ObjectName::Segment(number)));
        }
    }
}

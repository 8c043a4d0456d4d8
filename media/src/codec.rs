//! How a rung is encoded, decided in one place: the encoder sets it, the multivariant playlist states it.

use showrunner_crds::platform::{Audio, Rung};

/// VBV buffer as a share of a second of video: how far a segment may exceed its average bitrate.
const BUFFER_PERCENT: u64 = 50;
/// Bits per second that fMP4 boxes and sample tables add to a rendition.
const OVERHEAD_BPS: u64 = 8_000;

/// H.264 levels: `level_idc`, macroblocks per second, macroblocks per picture, kbit/s (ITU-T H.264 table A-1).
const LEVELS: [(u8, u64, u64, u64); 19] = [
    (10, 1_485, 99, 64),
    (11, 3_000, 396, 192),
    (12, 6_000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2_000),
    (21, 19_800, 792, 4_000),
    (22, 20_250, 1_620, 4_000),
    (30, 40_500, 1_620, 10_000),
    (31, 108_000, 3_600, 14_000),
    (32, 216_000, 5_120, 20_000),
    (40, 245_760, 8_192, 20_000),
    (41, 245_760, 8_192, 50_000),
    (42, 522_240, 8_704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
    (52, 2_073_600, 36_864, 240_000),
    (60, 4_177_920, 139_264, 240_000),
    (61, 8_355_840, 139_264, 480_000),
    (62, 16_711_680, 139_264, 800_000),
];

/// H.264 profile and the x264 preset that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Up to 480 lines: plays anywhere, costs next to nothing (x264 `ultrafast`).
    ConstrainedBaseline,
    /// Above: worth the effort (x264 `veryfast`).
    High,
}

/// How one rung is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoCodec {
    /// Profile.
    pub profile: Profile,
    /// `level_idc`: ten times the level.
    pub level: u8,
}

impl VideoCodec {
    /// Chooses profile and the lowest level that carries the rung.
    pub fn choose(rung: &Rung, frame_rate: u32) -> Self {
        let profile = if rung.height <= 480 {
            Profile::ConstrainedBaseline
        } else {
            Profile::High
        };
        let picture = u64::from(rung.width.div_ceil(16)) * u64::from(rung.height.div_ceil(16));
        let per_second = picture * u64::from(frame_rate);
        let bitrate = u64::from(rung.bitrate_kbps);
        let fits = |level: &&(u8, u64, u64, u64)| level.1 >= per_second && level.2 >= picture && level.3 >= bitrate;
        let level = LEVELS.iter().find(fits).map_or(62, |level| level.0);
        Self { profile, level }
    }

    /// The `CODECS` entry (RFC 6381).
    pub fn codecs(self) -> String {
        let profile = match self.profile {
            Profile::ConstrainedBaseline => "42c0",
            Profile::High => "6400",
        };
        format!("avc1.{profile}{:02x}", self.level)
    }

    /// x264's name of the level.
    pub fn level_name(self) -> String {
        format!("{}.{}", self.level / 10, self.level % 10)
    }

    /// x264's name of the profile.
    pub fn profile_name(self) -> &'static str {
        match self.profile {
            Profile::ConstrainedBaseline => "baseline",
            Profile::High => "high",
        }
    }

    /// x264's preset.
    pub fn preset(self) -> &'static str {
        match self.profile {
            Profile::ConstrainedBaseline => "ultrafast",
            Profile::High => "veryfast",
        }
    }
}

/// VBV buffer size of a rung in kbit.
pub fn buffer_kbit(rung: &Rung) -> u64 {
    u64::from(rung.bitrate_kbps) * BUFFER_PERCENT / 100
}

/// `BANDWIDTH`: the most that one segment of the rung and its audio need, in bit/s. A segment of one second may drain the
/// whole VBV buffer.
pub fn peak_bps(rung: &Rung, audio: &Audio) -> u64 {
    let video = u64::from(rung.bitrate_kbps) * 1000;
    let audio = u64::from(audio.bitrate_kbps) * 1000;
    video + video * BUFFER_PERCENT / 100 + audio + audio / 4 + 2 * OVERHEAD_BPS
}

/// `AVERAGE-BANDWIDTH` in bit/s.
pub fn average_bps(rung: &Rung, audio: &Audio) -> u64 {
    (u64::from(rung.bitrate_kbps) + u64::from(audio.bitrate_kbps)) * 1000 + 2 * OVERHEAD_BPS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codecs(width: u32, height: u32, bitrate_kbps: u32, fps: u32) -> String {
        VideoCodec::choose(
            &Rung {
                name: "r".into(),
                width,
                height,
                bitrate_kbps,
            },
            fps,
        )
        .codecs()
    }

    #[test]
    fn the_lowest_level_that_carries_the_rung() {
        assert_eq!(codecs(256, 144, 150, 25), "avc1.42c00c");
        assert_eq!(codecs(426, 240, 350, 25), "avc1.42c015");
        assert_eq!(codecs(640, 360, 700, 25), "avc1.42c01e");
        assert_eq!(codecs(1280, 720, 3000, 30), "avc1.64001f");
        assert_eq!(codecs(1920, 1080, 6000, 50), "avc1.64002a");
        assert_eq!(codecs(7680, 4320, 100_000, 120), "avc1.64003e");
    }
}

//! Channels and their ladders.

use super::{Broken, Cluster::Cel, Rule, each, repeated};
use crate::platform::{Channel, Rung, StreamingPlatform};

pub(super) const RULES: &[Rule<StreamingPlatform>] = &[
    Rule {
        at: "spec.channels",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of channels must be unique",
        check: |platform| repeated(&platform.spec.channels, "spec.channels", |channel| &channel.name),
    },
    Rule {
        at: "spec.channels[]",
        cluster: Cel("duration(self.dvrWindow).getSeconds() >= self.segmentSeconds * 4"),
        message: "dvrWindow must hold at least 4 segments: players start 3 behind the live edge",
        check: |platform| {
            each(&platform.spec.channels, "spec.channels", ".dvrWindow", |channel| {
                channel.dvr_window.0.as_millis() < u128::from(channel.segment_seconds) * 4000
            })
        },
    },
    Rule {
        at: "spec.channels[].ladder",
        cluster: Cel("self.all(a, self.exists_one(b, b.name == a.name))"),
        message: "names of rungs must be unique in their ladder",
        check: |platform| ladders(platform, |ladder, path| repeated(ladder, path, |rung| &rung.name)),
    },
    Rule {
        at: "spec.channels[].ladder[].name",
        cluster: Cel("self != 'audio'"),
        message: "`audio` is the name of the audio rendition",
        check: |platform| {
            ladders(platform, |ladder, path| {
                each(ladder, path, ".name", |rung| rung.name == "audio")
            })
        },
    },
    Rule {
        at: "spec.channels[].ladder[].width",
        cluster: Cel("self % 2 == 0"),
        message: "width must be even: chroma has half the resolution",
        check: |platform| {
            ladders(platform, |ladder, path| {
                each(ladder, path, ".width", |rung| rung.width % 2 != 0)
            })
        },
    },
    Rule {
        at: "spec.channels[].ladder[].height",
        cluster: Cel("self % 2 == 0"),
        message: "height must be even: chroma has half the resolution",
        check: |platform| {
            ladders(platform, |ladder, path| {
                each(ladder, path, ".height", |rung| rung.height % 2 != 0)
            })
        },
    },
];

fn ladders(platform: &StreamingPlatform, find: impl Fn(&[Rung], &str) -> Vec<Broken>) -> Vec<Broken> {
    let in_channel =
        |(index, channel): (usize, &Channel)| find(&channel.ladder, &format!("spec.channels[{index}].ladder"));
    platform.spec.channels.iter().enumerate().flat_map(in_channel).collect()
}

//! The multivariant playlist: every rung once on every pathway (RFC 8216bis).

use std::fmt::Write as _;

use showrunner_crds::config::{Pathway, SteeringChannel};

use crate::codec::{VideoCodec, average_bps, peak_bps};

/// `CODECS` entry of AAC-LC.
const AAC_LC: &str = "mp4a.40.2";

/// Renders the playlist. `pathways` are in the viewer's order: a player without steering takes the first. `server_uri` is
/// where a player with steering asks again.
pub fn render(channel: &SteeringChannel, pathways: &[&Pathway], server_uri: &str) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if let Some(first) = pathways.first() {
        let _ = writeln!(
            text,
            "#EXT-X-CONTENT-STEERING:SERVER-URI=\"{server_uri}\",PATHWAY-ID=\"{}\"",
            first.id
        );
    }
    for pathway in pathways {
        let (id, base) = (&pathway.id, pathway.public_url.trim_end_matches('/'));
        let (name, language) = (&channel.name, &channel.audio.language);
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio-{id}\",NAME=\"{language}\",LANGUAGE=\"{language}\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",STABLE-RENDITION-ID=\"audio-{language}\",URI=\"{base}/live/{name}/audio/index.m3u8\""
        );
        for rung in &channel.ladder {
            let _ = writeln!(
                text,
                "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{},{AAC_LC}\",RESOLUTION={}x{},FRAME-RATE={}.000,AUDIO=\"audio-{id}\",STABLE-VARIANT-ID=\"{}\",PATHWAY-ID=\"{id}\"\n{base}/live/{name}/{}/index.m3u8",
                peak_bps(rung, &channel.audio),
                average_bps(rung, &channel.audio),
                VideoCodec::choose(rung, channel.frame_rate).codecs(),
                rung.width,
                rung.height,
                channel.frame_rate,
                rung.name,
                rung.name,
            );
        }
    }
    text
}

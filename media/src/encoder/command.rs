//! The ffmpeg command line. Pure.

use std::{fmt::Write as _, path::PathBuf};

use showrunner_crds::{config::EncoderConfig, platform::Input};

use crate::{
    codec::{VideoCodec, buffer_kbit},
    epoch::Lock,
};

/// Fonts that a burnt-in clock may use, first found first taken.
const FONTS: [&str; 4] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/dejavu/DejaVuSans.ttf",
];
/// Name of the audio rendition.
pub const AUDIO: &str = "audio";

/// The first font that exists, for the clock of the test picture.
pub fn find_font() -> Option<PathBuf> {
    FONTS.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Arguments of an ffmpeg that starts at `lock` and PUTs to `base` (no trailing slash). Facts behind them:
///
/// - `-output_ts_offset` with `frag_discont` puts epoch time into every `tfdt`; without `frag_discont` each starts at 0.
/// - key frames are forced by time, so segments are cut on the segment length whatever the frame rate.
/// - one thread per encoder: small rungs gain nothing from more, and several encoders share a machine.
pub fn arguments(config: &EncoderConfig, lock: Lock, base: &str, font: Option<&std::path::Path>) -> Vec<String> {
    let mut args: Vec<String> = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "warning"]
        .map(String::from)
        .into();
    args.extend(input(config, lock, font));
    args.extend([
        "-filter_complex".into(),
        scaling(config),
        "-filter_complex_threads".into(),
        "1".into(),
    ]);
    for index in 0..config.ladder.len() {
        args.extend(["-map".into(), format!("[v{index}]")]);
    }
    args.extend(["-map".into(), audio_source(config).into()]);
    args.extend(video(config));
    args.extend(audio(config));
    args.extend(output(config, lock, base));
    args
}

fn input(config: &EncoderConfig, lock: Lock, font: Option<&std::path::Path>) -> Vec<String> {
    match &config.input {
        Input::TestPattern => {
            let (width, height) = picture(config);
            let mut pattern = format!("testsrc2=size={width}x{height}:rate={}", config.frame_rate);
            if let Some(font) = font {
                let size = (height / 8).max(12);
                let _ = write!(
                    pattern,
                    ",drawtext=fontfile={}:text='%{{pts\\:gmtime\\:{}\\:%H\\\\\\:%M\\\\\\:%S}}':fontsize={size}:fontcolor=white:box=1:boxcolor=black@0.6:x=(w-tw)/2:y=h-th-{size}/2",
                    font.display(),
                    lock.second
                );
            }
            let tone = "sine=frequency=440:sample_rate=48000".to_owned();
            ["-re", "-f", "lavfi", "-i", &pattern, "-re", "-f", "lavfi", "-i", &tone]
                .map(String::from)
                .into()
        }
        Input::Url(url) => {
            let mut args: Vec<String> = Vec::new();
            match scheme(url) {
                // A file is looped and paced; what comes over the network as a file is paced; a live feed paces itself.
                None | Some("file") => args.extend(["-stream_loop", "-1", "-re"].map(String::from)),
                Some("http" | "https") => args.push("-re".into()),
                Some(_) => {}
            }
            args.extend(["-i".into(), url.clone()]);
            args
        }
    }
}

fn scheme(url: &str) -> Option<&str> {
    url.split_once("://").map(|(scheme, _)| scheme)
}

fn picture(config: &EncoderConfig) -> (u32, u32) {
    let largest = config
        .ladder
        .iter()
        .max_by_key(|rung| u64::from(rung.width) * u64::from(rung.height));
    largest.map_or((256, 144), |rung| (rung.width, rung.height))
}

fn audio_source(config: &EncoderConfig) -> &'static str {
    match config.input {
        Input::TestPattern => "1:a:0",
        Input::Url(_) => "0:a:0",
    }
}

fn scaling(config: &EncoderConfig) -> String {
    let count = config.ladder.len();
    let labels = (0..count).fold(String::new(), |labels, index| labels + &format!("[s{index}]"));
    let mut graph = format!("[0:v:0]split={count}{labels}");
    for (index, rung) in config.ladder.iter().enumerate() {
        let _ = write!(
            graph,
            ";[s{index}]scale={}:{}:flags=fast_bilinear,setsar=1[v{index}]",
            rung.width, rung.height
        );
    }
    graph
}

fn video(config: &EncoderConfig) -> Vec<String> {
    let (rate, seconds) = (config.frame_rate, config.segment_seconds);
    let mut args: Vec<String> = [
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-threads",
        "1",
        "-sc_threshold",
        "0",
        "-flags",
        "+bitexact",
    ]
    .map(String::from)
    .into();
    args.extend(["-r".into(), rate.to_string(), "-g".into(), (rate * seconds).to_string()]);
    args.extend(["-force_key_frames".into(), format!("expr:gte(t,n_forced*{seconds})")]);
    for (index, rung) in config.ladder.iter().enumerate() {
        let codec = VideoCodec::choose(rung, rate);
        let rate = format!("{}k", rung.bitrate_kbps);
        let settings = [
            ("preset", codec.preset().to_owned()),
            ("profile", codec.profile_name().to_owned()),
            ("level", codec.level_name()),
            ("b", rate.clone()),
            ("maxrate", rate),
            ("bufsize", format!("{}k", buffer_kbit(rung))),
        ];
        args.extend(
            settings
                .into_iter()
                .flat_map(|(name, value)| [format!("-{name}:v:{index}"), value]),
        );
    }
    args
}

fn audio(config: &EncoderConfig) -> Vec<String> {
    // A tone and a file's audio alike begin at the first picture and never stop, so frames stay on the epoch's grid.
    let rate = format!("{}k", config.audio.bitrate_kbps);
    [
        "-c:a",
        "aac",
        "-b:a",
        &rate,
        "-ar",
        "48000",
        "-ac",
        "2",
        "-af",
        "aresample=async=1:first_pts=0",
    ]
    .map(String::from)
    .into()
}

fn output(config: &EncoderConfig, lock: Lock, base: &str) -> Vec<String> {
    let rungs = config
        .ladder
        .iter()
        .enumerate()
        .map(|(index, rung)| format!("v:{index},agroup:aud,name:{} ", rung.name));
    let map = rungs.collect::<String>() + &format!("a:0,agroup:aud,name:{AUDIO},default:yes");
    let pairs = [
        ("-output_ts_offset", lock.second.to_string()),
        ("-f", "hls".into()),
        ("-hls_time", config.segment_seconds.to_string()),
        ("-hls_list_size", "3".into()),
        ("-hls_segment_type", "fmp4".into()),
        ("-hls_segment_options", "movflags=+frag_discont".into()),
        ("-start_number", lock.number.to_string()),
        ("-hls_fmp4_init_filename", "init_%v.mp4".into()),
        (
            "-hls_flags",
            "independent_segments+program_date_time+omit_endlist".into(),
        ),
        ("-var_stream_map", map),
        ("-method", "PUT".into()),
        ("-hls_segment_filename", format!("{base}/%v/seg_%d.m4s")),
    ];
    let mut args: Vec<String> = pairs
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
    args.push(format!("{base}/%v/index.m3u8"));
    args
}

#[cfg(test)]
mod tests {
    use showrunner_crds::{
        config::PushConfig,
        platform::{Audio, Rung},
    };

    use super::*;

    fn config(input: Input) -> EncoderConfig {
        let rung = |name: &str, width, height, bitrate_kbps| Rung {
            name: name.into(),
            width,
            height,
            bitrate_kbps,
        };
        EncoderConfig {
            channel: "one".into(),
            region: "north".into(),
            input,
            ladder: vec![rung("360p", 640, 360, 700), rung("720p", 1280, 720, 3000)],
            audio: Audio::default(),
            frame_rate: 25,
            segment_seconds: 2,
            origins: vec![],
            push: PushConfig::default(),
        }
    }

    const LOCK: Lock = Lock {
        second: 1_795_324_448,
        number: 897_662_224,
    };

    #[test]
    fn test_pattern_command() {
        let args = arguments(
            &config(Input::TestPattern),
            LOCK,
            "http://127.0.0.1:9/1",
            Some(std::path::Path::new("/font.ttf")),
        );
        insta::assert_snapshot!(args.join("\n"));
    }

    #[test]
    fn files_loop_feeds_do_not() {
        let args = |url: &str| arguments(&config(Input::Url(url.into())), LOCK, "http://127.0.0.1:9/1", None);
        assert!(args("/media/film.mp4").contains(&"-stream_loop".to_owned()));
        let feed = args("srt://127.0.0.1:9000");
        assert!(!feed.contains(&"-stream_loop".to_owned()) && !feed.contains(&"-re".to_owned()));
    }
}

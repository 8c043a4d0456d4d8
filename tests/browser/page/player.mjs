// Plays one stream with hls.js and writes down what a viewer would see. All times are milliseconds since play was pressed.
import Hls from '/hls.mjs';

const video = document.getElementById('video');
const log = document.getElementById('log');
const SAMPLE_MS = 100;

let began = 0;
const record = {
  hlsVersion: Hls.version,
  h264: globalThis.MediaSource?.isTypeSupported('video/mp4; codecs="avc1.4d401f,mp4a.40.2"') ?? false,
  samples: [],
  events: [],
};

const now = () => Math.round(performance.now() - began);

function note(kind, detail = {}) {
  record.events.push({ t: now(), kind, ...detail });
  log.textContent = `${now()} ${kind} ${JSON.stringify(detail)}\n${log.textContent}`.slice(0, 1600);
}

/** Media ahead of the playhead, in seconds. A hole that a player would jump over does not end it. */
function buffered() {
  const at = video.currentTime;
  let end = at;
  for (let i = 0; i < video.buffered.length; i++) {
    if (video.buffered.start(i) <= end + 0.1 && video.buffered.end(i) > end) end = video.buffered.end(i);
  }
  return end - at;
}

/** hls.js's own loading policies, but with so long a wait for a first byte. */
function patience(maxTimeToFirstByteMs) {
  const names = ['fragLoadPolicy', 'playlistLoadPolicy', 'steeringManifestLoadPolicy'];
  const impatient = (name) => ({ default: { ...Hls.DefaultConfig[name].default, maxTimeToFirstByteMs } });
  return Object.fromEntries(names.map((name) => [name, impatient(name)]));
}

/** Starts to play. hls.js runs with its defaults, unless it is told how long to wait for a first byte. */
globalThis.start = (url, { firstByteMs } = {}) => {
  const hls = new Hls({ debug: false, ...(firstByteMs ? patience(firstByteMs) : {}) });
  const E = Hls.Events;
  const rung = (level) => hls.levels[level]?.attrs['STABLE-VARIANT-ID'] ?? hls.levels[level]?.height ?? null;
  const pathway = (level) => hls.levels[level]?.pathwayId ?? null;
  began = performance.now();

  hls.on(E.MANIFEST_PARSED, () => note('manifestParsed', { levels: hls.levels.length, first: hls.firstLevel }));
  hls.on(E.STEERING_MANIFEST_LOADED, (_, { steeringManifest }) =>
    note('steeringManifest', { ttl: steeringManifest.TTL, priority: steeringManifest['PATHWAY-PRIORITY'] }));
  // A steered switch keeps the rung's index, so there is no LEVEL_SWITCHED: hls.js reports the new pathway's levels instead.
  hls.on(E.LEVELS_UPDATED, (_, { levels }) => note('pathwaySwitched', { pathway: levels[0]?.pathwayId ?? null }));
  hls.on(E.LEVEL_SWITCHED, (_, { level }) => note('levelSwitched', { rung: rung(level), pathway: pathway(level) }));
  hls.on(E.FRAG_BUFFERED, (_, { frag, stats }) =>
    note('fragBuffered', {
      type: frag.type,
      sn: frag.sn,
      rung: frag.type === 'main' ? rung(frag.level) : null,
      host: new URL(frag.url).host,
      ms: Math.round(stats.loading.end - stats.loading.start),
      firstByteMs: Math.round(stats.loading.first - stats.loading.start),
      bytes: stats.loaded,
      bandwidth: Math.round(hls.bandwidthEstimate),
    }));
  hls.on(E.FRAG_LOAD_EMERGENCY_ABORTED, (_, { frag }) => note('fragAborted', { sn: frag.sn, rung: rung(frag.level) }));
  hls.on(E.ERROR, (_, data) =>
    note('error', {
      fatal: data.fatal,
      type: data.type,
      details: data.details,
      status: data.response?.code ?? null,
      reason: data.error?.message ?? data.reason ?? null,
      url: data.frag?.url ?? data.url ?? null,
    }));
  for (const kind of ['playing', 'waiting', 'ended']) video.addEventListener(kind, () => note(kind));
  video.addEventListener('error', () => note('error', { fatal: true, type: 'video', details: video.error?.message }));

  setInterval(() => {
    const level = hls.currentLevel;
    record.samples.push({
      t: now(),
      currentTime: video.currentTime,
      buffered: buffered(),
      readyState: video.readyState,
      rung: rung(level),
      pathway: pathway(level),
      priority: hls.pathwayPriority,
      frames: video.getVideoPlaybackQuality().totalVideoFrames,
      dropped: video.getVideoPlaybackQuality().droppedVideoFrames,
    });
  }, SAMPLE_MS);

  hls.attachMedia(video);
  hls.loadSource(url);
  // Muted, so a browser lets it start by itself.
  video.play().catch((error) => note('error', { fatal: true, type: 'play', details: String(error) }));
};

/** Everything so far; `wallClock` is the moment play was pressed, in Unix milliseconds. */
globalThis.evidence = () => ({ ...record, wallClock: performance.timeOrigin + began, now: now() });
globalThis.ready = true;

// What must be true of a playback during which its region was lost. Pure: evidence in, failed checks out.

/** Longest that playback may take to go on from another pathway, in milliseconds. */
export const GO_ON_MS = 10_000;
/** Playback must keep this share of real time while nothing is wrong. */
export const REAL_TIME = 0.98;
/** Pictures a second that must be decoded: 25 are sent. */
const MIN_FPS = 20;
/** Time at the end of a run in which playback must be undisturbed again. */
const SETTLED_MS = 10_000;

/** How fast the playhead moved between two moments, as a share of real time. */
function pace(samples, from, to) {
  const inside = samples.filter(({ t }) => t >= from && t <= to);
  if (inside.length < 2) return 0;
  const [first, last] = [inside[0], inside.at(-1)];
  return ((last.currentTime - first.currentTime) * 1000) / (last.t - first.t);
}

/** The longest time without a move of the playhead, looked at from `from` on. */
export function longestStandstill(samples, from) {
  let longest = 0;
  let moved = null;
  for (const sample of samples.filter(({ t }) => t >= from)) {
    if (moved === null || sample.currentTime > moved.currentTime) moved = sample;
    longest = Math.max(longest, sample.t - moved.t);
  }
  return longest;
}

/** Figures that the checks go by, for people too. `lostAt` is milliseconds after play was pressed. */
export function figures(evidence, lostAt, lostPathway) {
  const { samples, events } = evidence;
  const after = events.filter(({ t }) => t >= lostAt);
  const playing = events.find(({ kind }) => kind === 'playing');
  const lostHost = events.findLast(({ t, kind, type }) => t < lostAt && kind === 'fragBuffered' && type === 'main')?.host;
  const elsewhere = after.find(({ kind, type, host }) => kind === 'fragBuffered' && type === 'main' && host !== lostHost);
  const steered = after.find(({ kind, priority }) => kind === 'steeringManifest' && priority[0] !== lostPathway);
  const switched = after.find(({ kind, pathway }) => kind === 'pathwaySwitched' && pathway && pathway !== lostPathway);
  const since = (event) => (event ? Math.round(event.t - lostAt) : null);
  const beforeLoss = samples.filter(({ t }) => playing && t >= playing.t && t < lostAt);
  const seconds = beforeLoss.length > 1 ? (beforeLoss.at(-1).t - beforeLoss[0].t) / 1000 : 0;
  return {
    startupMs: playing?.t ?? null,
    secondsBeforeLoss: seconds,
    paceBeforeLoss: playing ? pace(samples, playing.t + 1000, lostAt) : 0,
    fpsBeforeLoss: seconds ? (beforeLoss.at(-1).frames - beforeLoss[0].frames) / seconds : 0,
    steeredAfterMs: since(steered),
    segmentFromElsewhereAfterMs: since(elsewhere),
    switchReportedAfterMs: since(switched),
    standstillMs: longestStandstill(samples, lostAt),
    paceAtTheEnd: pace(samples, evidence.now - SETTLED_MS, evidence.now),
    fatalErrors: events.filter(({ kind, fatal }) => kind === 'error' && fatal).length,
    pathways: [lostPathway, samples.at(-1)?.pathway ?? null],
  };
}

/** Names of the checks that do not hold, each with what was found. */
export function failures(evidence, lostAt, lostPathway, secondsBefore) {
  const f = figures(evidence, lostAt, lostPathway);
  const within = (ms) => ms !== null && ms <= GO_ON_MS;
  const checks = {
    'the browser decodes H.264': evidence.h264,
    'it played long enough before the loss': f.secondsBeforeLoss >= secondsBefore,
    'it played in real time before the loss': f.paceBeforeLoss >= REAL_TIME,
    'pictures were decoded': f.fpsBeforeLoss >= MIN_FPS,
    'no fatal error': f.fatalErrors === 0,
    'steering named another pathway': within(f.steeredAfterMs),
    'a segment came from another pathway': within(f.segmentFromElsewhereAfterMs),
    'hls.js reported the switch': within(f.switchReportedAfterMs),
    'the picture did not stand still too long': f.standstillMs <= GO_ON_MS,
    'it plays in real time again': f.paceAtTheEnd >= REAL_TIME,
  };
  return Object.entries(checks)
    .filter(([, holds]) => !holds)
    .map(([name]) => name);
}

// The checks themselves: a playback that went well passes, and each way in which it may not is named.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failures, longestStandstill } from './lib/checks.mjs';

const LOST_AT = 65_000;

/** A playback of 95 s that stands still from 70 s to `resumes` and then goes on from `us`. */
function playback({ resumes = 73_000, fatal = false, steers = true } = {}) {
  const samples = [];
  let currentTime = 0;
  for (let t = 500; t <= 95_000; t += 100) {
    const still = t > 70_000 && t < resumes;
    if (!still) currentTime += 0.1;
    samples.push({ t, currentTime, frames: currentTime * 25, pathway: t < resumes ? 'eu' : 'us' });
  }
  const main = (t, host) => ({ t, kind: 'fragBuffered', type: 'main', host });
  const events = [
    { t: 500, kind: 'playing' },
    main(64_000, 'eu:8080'),
    ...(steers ? [{ t: 70_000, kind: 'steeringManifest', priority: ['us', 'eu'] }] : []),
    { t: resumes, kind: 'pathwaySwitched', pathway: 'us' },
    main(resumes, 'us:8080'),
    { t: 71_000, kind: 'error', fatal },
  ];
  return { h264: true, samples, events, now: 95_000 };
}

const failed = (evidence) => failures(evidence, LOST_AT, 'eu', 60);

test('a playback that goes on passes', () => assert.deepEqual(failed(playback()), []));

test('a playback that goes on too late fails', () => {
  const late = failed(playback({ resumes: 81_000 }));
  for (const name of ['a segment came from another pathway', 'hls.js reported the switch', 'the picture did not stand still too long']) {
    assert.ok(late.includes(name), late.join());
  }
});

test('a fatal error fails', () => assert.deepEqual(failed(playback({ fatal: true })), ['no fatal error']));

test('a switch without steering fails', () =>
  assert.deepEqual(failed(playback({ steers: false })), ['steering named another pathway']));

test('no evidence at all fails', () => {
  const nothing = failures({ h264: false, samples: [], events: [], now: 0 }, LOST_AT, 'eu', 60);
  // With nothing seen, nothing stood still and nothing was fatal; all else must fail.
  assert.equal(nothing.length, 8, nothing.join());
});

test('a standstill is measured to the end of the evidence', () => {
  const samples = [0, 100, 200, 5_200].map((t, i) => ({ t, currentTime: Math.min(i, 1) }));
  assert.equal(longestStandstill(samples, 0), 5_100);
});

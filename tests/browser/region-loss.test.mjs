// hls.js in a real browser plays a sandbox's stream while the region that it plays from is lost.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openPlayer } from './lib/browser.mjs';
import { failures, figures } from './lib/checks.mjs';
import { REPOSITORY, loseRegion, until, up } from './lib/sandbox.mjs';

const PLATFORM = join(REPOSITORY, 'examples/cinema.yaml');
const OUT = join(REPOSITORY, 'target/browser');
/** How long is watched after the loss. */
const AFTER_MS = 30_000;
/**
 * How long hls.js waits for a first byte: what the simulated viewers wait. Its default is 10 s, and a segment that is on its
 * way when the steering server orders another pathway is waited for all the same.
 */
const FIRST_BYTE_MS = 4_000;
/** How long a player may take to start. */
const START_MS = 30_000;

/** Plays for `seconds`, loses the region that is played, and watches on. Leaves evidence and a screenshot. */
async function playThroughALoss(name, platformFile, seconds) {
  const sandbox = await up(platformFile);
  let player;
  try {
    player = await openPlayer();
    await player.start(sandbox.playback, { firstByteMs: FIRST_BYTE_MS });
    const playing = async () => {
      const evidence = await player.evidence();
      const fatal = evidence.events.find(({ kind, fatal }) => kind === 'error' && fatal);
      assert.equal(fatal, undefined, `fatal error: ${JSON.stringify(fatal)}`);
      return evidence.events.find(({ kind }) => kind === 'playing');
    };
    await until('playback to start', START_MS, playing);
    // Time is what is tested here: the stream is to be watched for so long.
    await delay(seconds * 1000 + 500);
    const pathway = (await player.evidence()).samples.at(-1).pathway;
    const loss = await loseRegion(sandbox.api, 'cinema', 'cinema', pathway);
    await delay(AFTER_MS);
    const evidence = await player.evidence();
    const lostAt = loss.at - evidence.wallClock;
    const found = {
      ...figures(evidence, lostAt, pathway),
      failed: failures(evidence, lostAt, pathway, seconds),
      complaints: player.complaints,
      chromium: player.version,
      hls: evidence.hlsVersion,
    };
    await mkdir(OUT, { recursive: true });
    await writeFile(join(OUT, `${name}.json`), JSON.stringify({ lostAt, pathway, found, evidence }, null, 1));
    await player.screenshot(join(OUT, `${name}.png`));
    return found;
  } finally {
    await player?.close();
    const end = await sandbox.stop();
    assert.equal(end, 'exit 0', 'the sandbox stops in order');
  }
}

test('a region is lost: hls.js plays on from another one within 10 s', { timeout: 400_000 }, async (t) => {
  const found = await playThroughALoss('region-loss', PLATFORM, 60);
  t.diagnostic(JSON.stringify(found));
  assert.deepEqual(found.failed, []);
  assert.deepEqual(found.complaints, []);
});

test('negative control: with steering failover off, the same checks fail', { timeout: 400_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'showrunner-control-'));
  try {
    const cinema = await readFile(PLATFORM, 'utf8');
    const control = cinema.replace(/^ {2}steering:$/m, '  steering:\n    failover: false');
    assert.notEqual(control, cinema, 'the platform has a steering section');
    const file = join(folder, 'cinema.yaml');
    await writeFile(file, control);
    const found = await playThroughALoss('control-steering-off', file, 10);
    t.diagnostic(JSON.stringify(found));
    for (const name of ['steering named another pathway', 'a segment came from another pathway']) {
      assert.ok(found.failed.includes(name), `'${name}' must fail; failed: ${found.failed.join()}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

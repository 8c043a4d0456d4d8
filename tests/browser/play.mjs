// Plays a URL with hls.js for so many seconds and prints what happened as JSON.
// usage: node play.mjs URL SECONDS
import { setTimeout as delay } from 'node:timers/promises';
import { openPlayer } from './lib/browser.mjs';

const [url, seconds] = process.argv.slice(2);
if (!url || !(Number(seconds) > 0)) {
  console.error('usage: node play.mjs URL SECONDS');
  process.exit(2);
}
const player = await openPlayer();
try {
  await player.start(url);
  await delay(Number(seconds) * 1000);
  const evidence = await player.evidence();
  process.stdout.write(JSON.stringify({ ...evidence, chromium: player.version, complaints: player.complaints }));
} finally {
  await player.close();
}

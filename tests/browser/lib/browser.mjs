// A page on loopback and a headless Chromium that shows it.
import { createServer } from 'node:http';
import { createReadStream, existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const FILES = {
  '/': [here('../page/index.html'), 'text/html'],
  '/player.mjs': [here('../page/player.mjs'), 'text/javascript'],
  '/hls.mjs': [here('../node_modules/hls.js/dist/hls.mjs'), 'text/javascript'],
};
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
// Nothing but the page: no lookups of its maker's hosts, and no sandbox, which root cannot have.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
  // A page that is not looked at must run as fast as one that is.
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
];

/** Opens the player's page. The caller must `close` it. */
export async function openPlayer() {
  if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing: run tests/browser/setup`);
  const server = createServer((request, response) => {
    const [file, type] = FILES[request.url] ?? [];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': type });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const profile = await mkdtemp(join(tmpdir(), 'showrunner-browser-'));
  let context;
  const close = async () => {
    await context?.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(profile, { recursive: true, force: true });
  };
  try {
    context = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      args: FLAGS,
      viewport: { width: 640, height: 600 },
    });
    const page = await context.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForFunction(() => globalThis.ready === true, undefined, { timeout: 30_000 });
    return {
      start: (url, settings = {}) => page.evaluate(([u, s]) => globalThis.start(u, s), [url, settings]),
      evidence: () => page.evaluate(() => globalThis.evidence()),
      screenshot: (path) => page.screenshot({ path }),
      version: context.browser()?.version() ?? null,
      complaints,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

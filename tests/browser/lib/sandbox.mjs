// `showrunner up` as a child, and its Kubernetes API over plain HTTP.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

export const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url));
const SHOWRUNNER = process.env.SHOWRUNNER ?? join(REPOSITORY, 'target/debug/showrunner');
const UP_MS = 180_000;
const STOP_MS = 60_000;

/** Looks until `look` finds something, or throws after `limit` milliseconds. */
export async function until(what, limit, look, every = 100) {
  const deadline = Date.now() + limit;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${limit} ms in vain for ${what}`);
    await delay(every);
  }
}

/** Starts a sandbox with a platform in it and waits until it plays. The caller must `stop` it. */
export async function up(platformFile) {
  const folder = await mkdtemp(join(tmpdir(), 'showrunner-up-'));
  const kubeconfig = join(folder, 'kubeconfig');
  const child = spawn(SHOWRUNNER, ['up', '-f', platformFile, '--kubeconfig', kubeconfig], {
    cwd: REPOSITORY,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = [];
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(String(error)));
    child.once('exit', (code, signal) => resolve(`exit ${code ?? signal}`));
  });
  createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
  const playing = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      said.push(line);
      const [name, url] = line.split(/\s+/);
      if (name === 'playback') resolve(url);
    });
  });
  const stop = async () => {
    child.kill('SIGINT');
    const orderly = await Promise.race([ended, delay(STOP_MS, null, { ref: false })]);
    if (orderly === null) child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
    return orderly;
  };
  try {
    const failed = async (why) => {
      throw new Error(`showrunner up: ${await why}\n${said.slice(-20).join('\n')}`);
    };
    const playback = await Promise.race([
      playing,
      failed(ended),
      failed(delay(UP_MS, `no playback URL within ${UP_MS} ms`, { ref: false })),
    ]);
    const server = /server:\s*(\S+)/.exec(await readFile(kubeconfig, 'utf8'))?.[1];
    if (!server) throw new Error(`${kubeconfig} names no server`);
    return { playback, stop, api: api(server), exited: () => child.exitCode !== null };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Calls the API server; throws on anything but success. */
function api(server) {
  return async (method, path, body) => {
    const response = await fetch(server + path, {
      method,
      headers: body ? { 'Content-Type': 'application/json' } : {},
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 300)}`);
    return text ? JSON.parse(text) : null;
  };
}

/** Cuts every pod of a region off from everyone, as a drill's `regionLoss` does. Returns its undo. */
export async function loseRegion(api, namespace, platform, region) {
  const selector = `showrunner.dev/platform=${platform},showrunner.dev/region=${region}`;
  const listed = await api('GET', `/api/v1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selector)}`);
  const pods = listed.items.filter((pod) => pod.status.phase === 'Running').map((pod) => pod.metadata.name);
  if (pods.length === 0) throw new Error(`region ${region} has no running pod`);
  const path = `/apis/chaos-mesh.org/v1alpha1/namespaces/${namespace}/networkchaos`;
  const name = `lost-${region}`;
  await api('POST', path, {
    apiVersion: 'chaos-mesh.org/v1alpha1',
    kind: 'NetworkChaos',
    metadata: { name, namespace },
    spec: {
      action: 'partition',
      direction: 'both',
      mode: 'all',
      selector: { pods: { [namespace]: pods } },
      duration: '5m',
    },
  });
  await until(`${name} to be injected`, 10_000, async () => {
    const chaos = await api('GET', `${path}/${name}`);
    const records = chaos.status?.experiment?.containerRecords ?? [];
    return records.length > 0 && records.every((record) => record.phase === 'Injected');
  });
  return { pods, at: Date.now(), undo: () => api('DELETE', `${path}/${name}`) };
}

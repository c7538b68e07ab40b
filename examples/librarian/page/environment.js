/**
 * What the client takes from the browser: network, clocks, randomness, locks. Tests hand in their own.
 *
 * Nothing else in the client touches a global, so the same `Session` runs in a test on virtual time.
 */

/** A page that is being reloaded lets go of its lock within a moment; the twin of a duplicated tab never does. */
const LOCK_PATIENCE_MS = 300;

/** The browser's own environment, looked up once for each session. */
export function browser() {
  return {
    fetch: (...args) => globalThis.fetch(...args),
    WebSocket: globalThis.WebSocket,
    setTimeout: (action, delay_ms) => globalThis.setTimeout(action, delay_ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    now: () => Date.now(),
    random: () => Math.random(),
    online: () => globalThis.navigator?.onLine !== false,
    randomBytes: (count) => globalThis.crypto.getRandomValues(new Uint8Array(count)),
    locks: globalThis.navigator?.locks, // absent where the page was not loaded over a secure origin
    window: globalThis.window,
    document: globalThis.document,
  };
}

/** The tab's own storage, or null where the browser forbids it. */
export function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch (error) {
    if (error.name === "SecurityError") return null;
    throw error;
  }
}

/** `count` random bytes as hex digits. */
export function randomHex(env, count) {
  return Array.from(env.randomBytes(count), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Take a lock that the page holds until it lets go or goes away.
 *
 * @returns {Promise<(() => void) | null>} lets go; null when another page has it
 */
export async function claim(env, name) {
  const patience = new AbortController();
  const timer = env.setTimeout(() => patience.abort(), LOCK_PATIENCE_MS);
  const held = await new Promise((resolve, reject) => {
    const hold = () => new Promise((release) => resolve(release));
    env.locks.request(name, { signal: patience.signal }, hold).catch((error) => {
      if (error.name === "AbortError") resolve(null);
      else reject(error);
    });
  });
  env.clearTimeout(timer);
  return held;
}

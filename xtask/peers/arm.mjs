// Clients of the management plane and what their scripts share. They are as Microsoft ships them: HTTPS with
// the certificate authority in NODE_EXTRA_CA_CERTS, and a credential that hands out one token.

import assert from "node:assert/strict";
import path from "node:path";

export const SUBSCRIPTION = "3d4b3a52-7b1e-4f0c-8a5d-0c9f5a6e1b27";
export const scene = JSON.parse(process.env.TWINROUTE_EMULATOR);

export const credential = {
  getToken: async () => ({ token: scene.token, expiresOnTimestamp: Date.now() + 3600_000 }),
};

export const options = { endpoint: scene.base, retryOptions: { maxRetries: 0 } };

/** For pollers. */
export const wait = { updateIntervalInMs: 100 };

export function ok(name) {
  console.log(`ok ${path.basename(process.argv[1])} ${name}`);
}

export async function all(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

export const names = (items) => items.map((item) => item.name).sort();

/** The call must be refused so; gives the error. */
export async function refused(status, code, call) {
  let result;
  try {
    result = await call();
  } catch (error) {
    assert.equal(error.statusCode, status, String(error));
    if (code) assert.equal(error.code, code, String(error));
    return error;
  }
  assert.fail(`it was taken, not refused with ${status} ${code}: ${JSON.stringify(result)}`);
}

/** Runs `main` with a time limit; a failure is told with its reason. */
export function run(main, secondsMax) {
  const timer = setTimeout(() => {
    console.log(`timed out after ${secondsMax} s`);
    process.exit(1);
  }, secondsMax * 1000);
  main().then(
    () => {
      clearTimeout(timer);
      process.exit(0);
    },
    (error) => {
      console.log(error.stack ?? String(error));
      console.log(`${error.name}: ${String(error.message).split("\n")[0]}`);
      process.exit(1);
    },
  );
}

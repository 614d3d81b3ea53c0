// What the two programs in JavaScript share: `main.js HOST PORT PROTOCOL`, and lines "ok WHAT" or
// "not ok WHAT: WHY".
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");

const [host, port, protocol] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
// Several programs, and earlier runs of this one, may share the database.
const prefix = `${path.basename(path.dirname(process.argv[1]))}:${protocol}:${process.pid}`;

/** A key of this run. */
const key = (name) => `${prefix}:${name}`;

/** A key that is in one slot with all others of this kind. */
const together = (name) => `{${prefix}}:${name}`;

/** Deletes a lock, if it is still held by who says so. */
const UNLOCK = `
  if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
  return 0`;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until the probe gives something. */
async function eventually(what, probe) {
  const end = Date.now() + 30_000;
  while (!(await probe())) {
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await sleep(5);
  }
}

/** Waits for a promise to be refused with an error whose text has this in it. */
const refused = (promise, text) =>
  assert.rejects(promise, (error) => {
    assert.ok(error.message.includes(text), `the error is ${error.message}, and not ${text}`);
    return true;
  });

const checks = [];

/** Names a function that is a check. It is given what `run` is, and throws if all isn't well. */
const check = (what, made) => checks.push([what, made]);

/** Makes all checks, one after the other, and says how the program is to end. */
async function run(given) {
  let failed = false;
  for (const [what, made] of checks) {
    let late;
    try {
      const patience = new Promise((_, reject) => {
        // No check takes nearly as long, unless something never comes.
        late = setTimeout(() => reject(new Error("still waiting after 60 s")), 60_000);
      });
      await Promise.race([made(given), patience]);
      console.log(`ok ${what}`);
    } catch (error) {
      failed = true;
      console.log(`not ok ${what}: ${String(error.message ?? error).replace(/\s+/g, " ")}`);
    } finally {
      clearTimeout(late);
    }
  }
  return failed ? 1 : 0;
}

module.exports = {
  assert,
  host,
  port,
  protocol,
  prefix,
  UNLOCK,
  key,
  together,
  sleep,
  eventually,
  refused,
  check,
  run,
};

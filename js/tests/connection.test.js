import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { FakeElement, fakePage } from "./fakes.js";
import { onConnectionLost } from "../src/connection.js";
import { addPlot } from "../src/plots.js";

fakePage();

class Receiver {}

let connection, plot, doc, count = 0;

beforeEach(() => {
  window.event = { code: 1006 };
  plot = addPlot(new FakeElement(), `token${(count += 1)}`, "/bokeh/x/ws");
  connection = {
    token: plot.token,
    _receiver: new Receiver(),
    closed: 0,
    reconnected: 0,
    close: () => (connection.closed += 1),
    reconnect: async () => (connection.reconnected += 1),
  };
  doc = { config: { notifications: {}, reconnect_session: true } };
});

/** Lose the connection; by default BokehJS has given up. */
function lose({ attempts = 4, timeout = null } = {}) {
  return onConnectionLost(doc, { connection: { deref: () => connection }, attempts, timeout });
}

/** Answer the page's questions: one status after the other; null is no network. */
function answers(t, ...statuses) {
  return t.mock.method(globalThis, "fetch", async () => {
    const status = statuses.shift();
    if (status === null) throw new TypeError("no network");
    return { status, type: "basic" };
  });
}

/** Let the timers run, and return the pauses that were asked for. */
function record(t) {
  const pauses = [];
  t.mock.method(globalThis, "setTimeout", (resolve, pause) => {
    pauses.push(pause);
    queueMicrotask(resolve);
  });
  t.mock.method(Math, "random", () => 1);
  return pauses;
}

test("the first attempt is BokehJS's own, with a new receiver", async (t) => {
  const fetched = answers(t);
  const receiver = connection._receiver;
  plot.pause = 60_000;
  await lose({ attempts: 0, timeout: 0 });
  assert.notEqual(connection._receiver, receiver);
  assert.equal(plot.pause, 5_000);
  assert.equal(fetched.mock.callCount(), 0);
});

test("while BokehJS goes on, the page only asks", async (t) => {
  const fetched = answers(t, 503);
  await lose({ timeout: 1_000 });
  assert.equal(fetched.mock.callCount(), 1);
  assert.deepEqual([connection.closed, connection.reconnected], [0, 0]);
});

test("the page reconnects when the site is back, after longer and longer pauses", async (t) => {
  const pauses = record(t);
  answers(t, null, 502, 503, null, null, 204);
  await lose();
  assert.deepEqual(pauses, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  assert.deepEqual([connection.closed, connection.reconnected], [0, 1]);
});

test("a session that is gone ends, and BokehJS's notice with it", async (t) => {
  let removed = 0;
  doc.views_manager = { get: () => ({ _connection_el: { remove: () => (removed += 1) } }) };
  answers(t, 410);
  await lose({ attempts: 1, timeout: 1_000 });
  assert.equal(connection.closed, 1);
  assert.equal(removed, 1);
  assert.equal(plot.element.text, "This plot has ended. Open this page again.");
});

test("a plot that the page has removed stays disconnected", async (t) => {
  const fetched = answers(t);
  plot.element.isConnected = false;
  await lose();
  assert.equal(connection.closed, 1);
  assert.equal(fetched.mock.callCount(), 0);
});

test("a document that is not to reconnect is left alone", async (t) => {
  answers(t, 204);
  doc.config.reconnect_session = false;
  await lose();
  assert.deepEqual([connection.closed, connection.reconnected], [0, 0]);
});

test("a plot that sends too much stays disconnected at the fifth time in a minute", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const text = "What was sent to this plot was too large, and has not arrived.";
  window.event = { code: 1009 };
  for (let time = 0; time < 4; time += 1) await lose({ attempts: 0 });
  assert.equal(plot.element.text.slice(0, text.length), text);
  assert.equal(connection.closed, 0);
  t.mock.timers.tick(60_000);
  for (let time = 0; time < 4; time += 1) await lose({ attempts: 0 });
  assert.equal(connection.closed, 0);
  await lose({ attempts: 0 });
  assert.equal(connection.closed, 1);
  assert.equal(plot.element.text, `${text} Open this page again.`);
});

test("other connections of the page are left alone", async (t) => {
  const fetched = answers(t);
  connection.token = "of somebody else";
  await lose();
  assert.equal(fetched.mock.callCount(), 0);
});

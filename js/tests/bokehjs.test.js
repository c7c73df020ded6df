import assert from "node:assert/strict";
import { test } from "node:test";

import { fakePage } from "./fakes.js";
import { waitForBokeh } from "../src/bokehjs.js";

fakePage();

test("BokehJS is waited for, for half a minute", async (t) => {
  let waited = 0;
  t.mock.method(globalThis, "setTimeout", (resolve, pause) => {
    waited += pause;
    queueMicrotask(resolve);
  });
  assert.equal(await waitForBokeh(), null);
  assert.equal(waited, 30_000);
});

test("BokehJS may come later", async (t) => {
  const bokeh = {};
  t.mock.method(globalThis, "setTimeout", (resolve) => {
    window.Bokeh = bokeh;
    queueMicrotask(resolve);
  });
  assert.equal(await waitForBokeh(), bokeh);
});

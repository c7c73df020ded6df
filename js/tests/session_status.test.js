import assert from "node:assert/strict";
import { test } from "node:test";

import { fakePage } from "./fakes.js";
import { siteOrigin } from "../src/page.js";
import { fetchSessionStatus, isGone } from "../src/session_status.js";

fakePage();
const plot = { token: "t.s", statusUrl: "/app/bokeh/x/ws" };

test("the status is asked for with the page's query, and the token in a header", async (t) => {
  const answer = { status: 204 };
  const fetched = t.mock.method(globalThis, "fetch", async () => answer);
  assert.equal(await fetchSessionStatus(plot), answer);
  const [url, options] = fetched.mock.calls[0].arguments;
  assert.equal(String(url), "https://site.test/app/bokeh/x/ws?x=1");
  assert.deepEqual(options.headers, { "Bokeh-Session-Token": "t.s" });
  assert.equal(options.redirect, "manual");
});

test("another site is never asked", async (t) => {
  const fetched = t.mock.method(globalThis, "fetch", async () => ({ status: 204 }));
  for (const statusUrl of ["//evil.test/x", "https://evil.test/x", "@evil.test/x"]) {
    await fetchSessionStatus({ ...plot, statusUrl });
  }
  const hosts = fetched.mock.calls.map((call) => new URL(call.arguments[0]).host);
  assert.deepEqual(hosts, ["site.test", "site.test", "site.test"]);
});

test("a site that can't be reached has no status", async (t) => {
  t.mock.method(globalThis, "fetch", () => Promise.reject(new TypeError("no network")));
  assert.equal(await fetchSessionStatus(plot), null);
});

test("a session is gone where a login, a guard or the server says so", () => {
  for (const status of [401, 403, 404, 410]) assert.ok(isGone({ status, type: "basic" }));
  assert.ok(isGone({ status: 0, type: "opaqueredirect" }));
  for (const status of [204, 429, 500, 502, 503]) assert.ok(!isGone({ status, type: "basic" }));
});

test("the origin of a frame without an address is that of the page around it", () => {
  self.origin = "null";
  assert.equal(siteOrigin(), "https://site.test");
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeElement, fakePage } from "./fakes.js";
import { noteMarkup, pageAnswersGet, watchTyping } from "../src/page.js";
import { ENDED, reloadOnce } from "../src/reload.js";

const page = fakePage();
watchTyping();

/** End a plot, and return what is shown in its place. */
function ended() {
  const element = new FakeElement();
  reloadOnce(element);
  return element.text;
}

test("a page of which nothing is known does not reload", () => {
  document.readyState = "complete";
  noteMarkup(true); // a fragment
  assert.equal(pageAnswersGet(), null);
  assert.equal(ended(), `${ENDED} Open this page again.`);
  assert.equal(page.reloads.length, 0);
});

test("the answer to a GET reloads, once a minute", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  document.readyState = "loading";
  noteMarkup(true);
  assert.equal(ended(), `${ENDED} The page reloads itself. Reload the page.`);
  assert.equal(page.reloads.length, 1);
  t.mock.timers.tick(60_000);
  assert.equal(ended(), `${ENDED} Reload the page.`);
  t.mock.timers.tick(1);
  ended();
  assert.equal(page.reloads.length, 2);
  page.storage.clear();
});

test("a plot that the page has removed reloads nothing", () => {
  const element = new FakeElement();
  element.isConnected = false;
  reloadOnce(element);
  assert.equal(element.text, "");
  assert.equal(page.reloads.length, 2);
});

test("a page without storage does not reload", () => {
  const { getItem } = sessionStorage;
  sessionStorage.getItem = () => {
    throw new Error("denied");
  };
  assert.equal(ended(), `${ENDED} Reload the page.`);
  sessionStorage.getItem = getItem;
  assert.equal(page.reloads.length, 2);
});

test("a frame without an address does not reload, and has no link", () => {
  location.host = "";
  assert.equal(ended(), `${ENDED} Reload the page.`);
  location.host = "site.test";
  assert.equal(page.reloads.length, 2);
});

test("a filled field keeps a page that was touched", () => {
  page.fields.push({ value: "typed", defaultValue: "" });
  assert.equal(ended(), `${ENDED} Reload the page.`);
  navigator.userActivation.hasBeenActive = false; // the page has filled it
  ended();
  assert.equal(page.reloads.length, 3);
  page.storage.clear();
  page.fields.pop();
});

test("a visitor's input keeps the page, a script's does not", () => {
  page.listeners.input({ isTrusted: false });
  ended();
  assert.equal(page.reloads.length, 4);
  page.storage.clear();
  page.listeners.input({ isTrusted: true });
  page.listeners.input({ isTrusted: false });
  assert.equal(ended(), `${ENDED} Reload the page.`);
  assert.equal(page.reloads.length, 4);
});

test("markup from a POST is never forgotten", () => {
  noteMarkup(false);
  noteMarkup(true);
  assert.equal(pageAnswersGet(), false);
  assert.equal(ended(), `${ENDED} Open this page again.`);
});

// Showing a plot, and saying so if that fails: none stays empty.

import { waitForBokeh } from "./bokehjs.js";
import { onConnectionLost } from "./connection.js";
import { containerOf, showMessage, showNote } from "./messages.js";
import { noteMarkup, siteOrigin } from "./page.js";
import { addPlot, isShown } from "./plots.js";
import { ENDED, reloadOnce } from "./reload.js";
import { fetchSessionStatus, isGone } from "./session_status.js";

const UNREACHABLE = "This plot could not be reached.";

/**
 * A plot as the server describes it (flask_bokeh's embed.plot_script).
 *
 * @typedef {object} PlotData
 * @property {Bokeh.RenderItem} item
 * @property {string} app_url URL path of the application
 * @property {string | null} server_url scheme, host and port of the Bokeh server; null: the site's
 * @property {string} status_url URL path that tells what has become of the session
 * @property {boolean} answers_get whether the markup is part of the answer to a GET request
 */

/** @type {WeakSet<Bokeh.Document>} */
const watchedDocuments = new WeakSet();

/**
 * Connect to a plot's session and show it.
 *
 * @param {string} json PlotData
 */
export async function showPlot(json) {
  /** @type {PlotData} */
  const { item, app_url, server_url, status_url, answers_get } = JSON.parse(json);
  noteMarkup(answers_get);
  if (isShown(item.token)) return; // a copy of the markup
  if (elementsOf(item).includes(null)) await domContentLoaded(); // they come after the script
  const element = elementsOf(item)[0] ?? document.body;
  const plot = addPlot(element, item.token, status_url);
  const origin = server_url ?? siteOrigin();
  // Markup that somebody has smuggled into a page must not connect it to another host.
  if (!isSameHost(origin)) return showMessage(element, UNREACHABLE);
  const bokeh = await waitForBokeh();
  if (!bokeh) return showMessage(element, "BokehJS could not be loaded.");
  const views = await bokeh.embed.embed_items({}, [item], app_url, origin);
  if (views.length === 0) return explainRefusal(plot);
  bokeh.documents.forEach(watchDocument);
  // The box of a failure has taken the place of the first root, which may be hidden.
  const isExpected = views[0].roots.some((view) => item.root_ids?.includes(view.model.id));
  if (!isExpected) showChildren(containerOf(element));
}

/**
 * Return the elements that an item is to be rendered into, as far as they are in the page.
 *
 * @param {Bokeh.RenderItem} item
 */
function elementsOf(item) {
  const ids = item.elementid ? [item.elementid] : Object.values(item.roots ?? {});
  return ids.map((id) => document.getElementById(id));
}

function domContentLoaded() {
  return new Promise((resolve) => {
    if (document.readyState !== "loading") resolve(null);
    else document.addEventListener("DOMContentLoaded", resolve, { once: true });
  });
}

/** @param {string} origin */
function isSameHost(origin) {
  return new URL(origin).hostname === new URL(siteOrigin()).hostname;
}

/** @param {Bokeh.Document} doc */
function watchDocument(doc) {
  if (watchedDocuments.has(doc)) return;
  watchedDocuments.add(doc);
  doc.on_message("flask_bokeh.failed", (failure) => onCallbackFailed(doc, failure));
  doc.on_event("connection_lost", (_, event) => onConnectionLost(doc, event));
}

/**
 * Tell the visitor that a callback has failed on the server. The plot lives on.
 *
 * @param {Bokeh.Document} doc
 * @param {{ reference: string, detail?: string }} failure
 */
function onCallbackFailed(doc, { reference, detail }) {
  const views = doc.roots().map((root) => window.Bokeh?.index.get(root));
  const container = views.find((view) => view?.el)?.el?.parentElement;
  if (!container) return;
  showNote(container, detail ?? `Something went wrong here. The reference is ${reference}.`);
}

/**
 * Tell the visitor why a plot could not connect.
 *
 * @param {import("./plots.js").Plot} plot
 */
async function explainRefusal(plot) {
  const status = await fetchSessionStatus(plot);
  if (status === null) return showMessage(plot.element, UNREACHABLE);
  if (status.status === 503) return showMessage(plot.element, (await status.text()).trim());
  reloadOnce(plot.element, isGone(status) ? ENDED : UNREACHABLE); // it would be let in, but was not
}

/** @param {Element} element */
function showChildren(element) {
  for (const child of element.children) child.removeAttribute("hidden");
}

// What has become of a session. A browser hides from a page why its WebSocket was refused, so the
// page asks the site.

import { siteOrigin } from "./page.js";

const GONE = [401, 403, 404, 410];

/**
 * Ask the site whether a plot's WebSocket would be let in: 204 if it would.
 *
 * @param {import("./plots.js").Plot} plot
 * @returns {Promise<Response | null>} null if the site can't be reached
 */
export function fetchSessionStatus(plot) {
  const url = new URL(siteOrigin());
  url.pathname = plot.statusUrl; // on this site, whatever smuggled markup says
  url.search = location.search; // as for the WebSocket
  const headers = { "Bokeh-Session-Token": plot.token };
  return fetch(url, { headers, cache: "no-store", redirect: "manual" }).catch(() => null);
}

/**
 * Return whether a session is gone for good.
 *
 * @param {Response} status
 */
export function isGone(status) {
  // A redirect leads to a login page.
  return GONE.includes(status.status) || status.type === "opaqueredirect";
}

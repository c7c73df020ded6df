// The plots of the page.

/**
 * A plot of the page.
 *
 * @typedef {object} Plot
 * @property {Element} element where it is shown
 * @property {string} token the token of its session
 * @property {string} statusUrl URL path that tells what has become of the session
 * @property {number} pause milliseconds until the next attempt to reconnect
 * @property {number[]} refusals when its last messages were refused for being too large
 */

/** Milliseconds before the first of our own attempts to reconnect. */
export const FIRST_PAUSE = 5_000;

/** @type {Map<string, Plot>} */
export const plotsByToken = new Map();

/**
 * Return whether a plot of this session is in the page.
 *
 * @param {string} token
 */
export function isShown(token) {
  return plotsByToken.get(token)?.element.isConnected ?? false;
}

/**
 * @param {Element} element
 * @param {string} token
 * @param {string} statusUrl
 * @returns {Plot}
 */
export function addPlot(element, token, statusUrl) {
  const plot = { element, token, statusUrl, pause: FIRST_PAUSE, refusals: [] };
  plotsByToken.set(token, plot);
  return plot;
}

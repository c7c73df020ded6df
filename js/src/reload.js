// Reloading a page whose session is gone. A reload repeats the page's request and discards what the
// visitor has typed: where it would repeat a POST or lose text, the page shows a link instead.

import { showMessage } from "./messages.js";
import { pageAnswersGet, visitorHasTyped } from "./page.js";

/** Milliseconds between two reloads of a page. */
const RELOAD_INTERVAL = 60_000;

export const ENDED = "This plot has ended.";

/**
 * Reload the page; if it must not be reloaded, or was a moment ago, show a message.
 *
 * @param {Element} element the plot's element
 * @param {string} text why
 */
export function reloadOnce(element, text = ENDED) {
  if (!element.isConnected) return; // the page has removed the plot
  if (!mayReload()) return showMessage(element, text);
  showMessage(element, `${text} The page reloads itself.`);
  location.reload();
}

/** Return whether the page may reload itself now, and note that it does. */
function mayReload() {
  if (!pageAnswersGet() || !location.host || visitorHasTyped()) return false;
  try {
    const key = `flask_bokeh ${location.href}`;
    const last = Number(sessionStorage.getItem(key) ?? 0);
    if (Date.now() - last <= RELOAD_INTERVAL) return false;
    sessionStorage.setItem(key, String(Date.now()));
    return true;
  } catch {
    return false; // without storage, it could reload again and again
  }
}

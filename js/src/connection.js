// Lost connections. BokehJS reconnects for half a minute; after that we do, for as long as the
// session can come back.

import { showMessage, showNote } from "./messages.js";
import { FIRST_PAUSE, plotsByToken } from "./plots.js";
import { reloadOnce } from "./reload.js";
import { fetchSessionStatus, isGone } from "./session_status.js";

/** WebSocket close code: the message is too large. */
const MESSAGE_TOO_LARGE = 1009;
const TOO_LARGE = "What was sent to this plot was too large, and has not arrived.";
/** Messages of a plot that may be refused in REFUSALS_INTERVAL before it stays disconnected. */
const MAX_REFUSALS = 4;
const REFUSALS_INTERVAL = 60_000; // milliseconds
const LONGEST_PAUSE = 60_000; // milliseconds

/**
 * Listener for BokehJS's "connection_lost".
 *
 * @param {Bokeh.Document} doc
 * @param {Bokeh.ConnectionLost} event
 */
export async function onConnectionLost(doc, event) {
  // BokehJS calls this while it handles the socket's CloseEvent, which alone has the code.
  const { code } = /** @type {Partial<CloseEvent>} */ (window.event ?? {});
  const connection = event.connection.deref();
  if (!connection) return;
  // Checked on BokehJS 3.9 and 3.10: if the connection breaks between the frames of a message,
  // BokehJS takes the next connection's first frames for the rest of it, and never recovers.
  connection._receiver = new connection._receiver.constructor();
  const plot = plotsByToken.get(connection.token);
  if (!plot) return;
  if (code === MESSAGE_TOO_LARGE && !mayReconnect(plot)) return connection.close();
  if (event.attempts === 0) {
    plot.pause = FIRST_PAUSE;
    return; // BokehJS reconnects at once
  }
  for (;;) {
    if (!plot.element.isConnected) return connection.close(); // the page has removed the plot
    const status = await fetchSessionStatus(plot);
    if (status !== null && isGone(status)) {
      connection.close();
      hideReconnectNotice(doc);
      return reloadOnce(plot.element);
    }
    // BokehJS tries again by itself, or has been told not to.
    if (event.timeout !== null || !doc.config.reconnect_session) return;
    await sleep(plot.pause * (0.5 + Math.random() / 2));
    plot.pause = Math.min(2 * plot.pause, LONGEST_PAUSE);
    // If it fails, BokehJS reports the connection as lost again.
    if (status?.status === 204) return connection.reconnect();
  }
}

/**
 * Tell the visitor that a message was too large. Return whether the plot may reconnect and show
 * what the server has: not if something on the page sends too much again and again.
 *
 * @param {import("./plots.js").Plot} plot
 */
function mayReconnect(plot) {
  const now = Date.now();
  plot.refusals = [...plot.refusals.filter((time) => now - time < REFUSALS_INTERVAL), now];
  const isAllowed = plot.refusals.length <= MAX_REFUSALS;
  const show = isAllowed ? showNote : showMessage;
  show(plot.element, TOO_LARGE);
  return isAllowed;
}

/**
 * Remove BokehJS's own notice.
 *
 * Checked on BokehJS 3.9 and 3.10: it would go on to say that it reconnects.
 *
 * @param {Bokeh.Document} doc
 */
function hideReconnectNotice(doc) {
  doc.views_manager?.get(doc.config.notifications)?._connection_el?.remove();
}

/** @param {number} milliseconds */
function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

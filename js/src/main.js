// The part of flask_bokeh that runs in the browser: it shows the plots of a page, and tells the
// visitor if one can't be shown or has ended.

import { waitForBokeh } from "./bokehjs.js";
import { watchForPlots } from "./markup.js";
import { noteMarkup, watchTyping } from "./page.js";
import { showPlot } from "./show.js";

/** Start. */
function start() {
  watchTyping();
  watchForPlots(showPlot);
  return { noteMarkup };
}

// A fragment that is put into the page may bring this script again.
const isFirst = !window.FlaskBokeh;
const options = /** @type {HTMLScriptElement} */ (document.currentScript).dataset;
window.FlaskBokeh ??= start();
window.FlaskBokeh.noteMarkup(options.answersGet === "true");
if (isFirst) waitForBokeh().then((bokeh) => bokeh?.set_log_level(options.logLevel ?? "info"));

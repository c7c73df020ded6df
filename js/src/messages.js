// Boxes that tell the visitor what has happened to a plot.

import { pageAnswersGet } from "./page.js";

let hasStyle = false;

/**
 * Show a message, with a link that loads the page again, in place of a plot.
 *
 * @param {Element} element the plot's element
 * @param {string} text
 */
export function showMessage(element, text) {
  const link = document.createElement("a");
  link.href = location.href.split("#")[0]; // with a fragment, the browser would stay here
  link.textContent = pageAnswersGet() ? "Reload the page." : "Open this page again.";
  // A frame without an address of its own comes with the page around it.
  const box = makeBox("flask-bokeh-message", text, location.host ? link : "Reload the page.");
  containerOf(element).replaceChildren(box);
}

/**
 * Show a note above a plot, in place of the one before, until the visitor closes it.
 *
 * @param {Element} element the plot's element
 * @param {string} text
 */
export function showNote(element, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "OK";
  const note = makeBox("flask-bokeh-note", text, button);
  button.onclick = () => note.remove();
  const container = containerOf(element);
  container.querySelector(":scope > .flask-bokeh-note")?.remove();
  container.prepend(note);
}

/**
 * Return the element around all roots of a plot; on an application's own page, the plot's element.
 *
 * @param {Element} element the plot's element
 */
export function containerOf(element) {
  return element.closest(".flask-bokeh") ?? element;
}

/**
 * @param {string} className
 * @param {string} text
 * @param {Node | string} action
 */
function makeBox(className, text, action) {
  addStyle();
  const box = document.createElement("div");
  box.setAttribute("role", "alert");
  box.classList.add("flask-bokeh-box", className);
  box.append(`${text} `, action);
  return box;
}

/** Add the style sheet of the boxes to the page, once. No Content-Security-Policy forbids it. */
function addStyle() {
  if (hasStyle) return;
  hasStyle = true;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(BOX_STYLE);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}

// Finding the plots in the page's markup, also in what is put into the page later (by htmx, Turbo or
// a script's innerHTML).

const SELECTOR = 'script[type="application/json"][data-flask-bokeh]';

/** @type {WeakSet<Element>} */
const seen = new WeakSet();

/**
 * Call a function with the data of each plot of the page, now or when it comes.
 *
 * @param {(json: string) => void} onPlot
 */
export function watchForPlots(onPlot) {
  const find = () => findPlots(onPlot);
  new MutationObserver((records) => {
    if (document.readyState === "loading" || records.some(addsPlot)) find();
  }).observe(document, { childList: true, subtree: true });
  document.addEventListener("DOMContentLoaded", find);
  find();
}

/** @param {(json: string) => void} onPlot */
function findPlots(onPlot) {
  for (const script of document.querySelectorAll(SELECTOR)) {
    if (seen.has(script) || !isParsed(script)) continue;
    seen.add(script);
    onPlot(script.textContent ?? "");
  }
}

/**
 * Return whether the browser's parser has read the whole element: it has gone on behind it.
 *
 * @param {Element} element
 */
function isParsed(element) {
  if (document.readyState !== "loading") return true;
  for (let node = /** @type {Node | null} */ (element); node; node = node.parentNode) {
    if (node.nextSibling) return true;
  }
  return false;
}

/** @param {MutationRecord} record */
function addsPlot(record) {
  return [...record.addedNodes].some(
    (node) => node instanceof Element && (node.matches(SELECTOR) || node.querySelector(SELECTOR)),
  );
}

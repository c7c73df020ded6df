// What is known about the page around the plots.

/** @type {boolean | null} */
let answersGet = null;
let hasTyped = false;

/** Remember when the visitor changes a field or a text of the page. */
export function watchTyping() {
  // On the window, before any other listener; the event comes through BokehJS's shadow roots, too.
  addEventListener("input", (event) => (hasTyped ||= event.isTrusted), true);
}

/**
 * Note which kind of request brought some markup of ours.
 *
 * @param {boolean} isAnswerToGet
 */
export function noteMarkup(isAnswerToGet) {
  if (!isAnswerToGet) answersGet = false;
  // Markup that is put into a page later says nothing about the page itself.
  else if (document.readyState === "loading") answersGet ??= true;
}

/**
 * Return whether the page, and all markup of ours in it, answers GET requests; null if unknown.
 */
export function pageAnswersGet() {
  return answersGet;
}

/** Return whether the visitor has changed something since the page was loaded. */
export function visitorHasTyped() {
  return hasTyped || hasFilledFields();
}

/** Return the origin of the site. */
export function siteOrigin() {
  // In <iframe srcdoc>, location has no host; the origin is that of the page around it.
  return self.origin === "null" ? new URL(document.baseURI).origin : self.origin;
}

/**
 * Return whether a field has another value than it had at first, on a page that has been touched:
 * the visitor may have typed before this script was loaded.
 */
function hasFilledFields() {
  if (navigator.userActivation?.hasBeenActive === false) return false;
  const withoutText = "[type=range], [type=color], [type=checkbox], [type=radio]";
  const selector = `input:not(${withoutText}), textarea`;
  /** @type {NodeListOf<HTMLInputElement | HTMLTextAreaElement>} */
  const fields = document.querySelectorAll(selector);
  return [...fields].some((field) => field.value !== field.defaultValue);
}

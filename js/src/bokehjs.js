// BokehJS, which may be loaded after this script.

const LONGEST_WAIT = 30_000; // milliseconds
const STEP = 50; // milliseconds

/**
 * Wait for BokehJS, and return it; null if it does not come.
 *
 * @returns {Promise<Bokeh.API | null>}
 */
export async function waitForBokeh() {
  for (let waited = 0; !window.Bokeh && waited < LONGEST_WAIT; waited += STEP) {
    await new Promise((resolve) => setTimeout(resolve, STEP));
  }
  return window.Bokeh ?? null;
}

// Shows plots, and sees to it that none stays empty or dead without a word. A browser hides
// from a page why its WebSocket was refused, so the page asks the site. A session that is gone
// for good makes the page reload itself, once; but a page that answers a POST, or holds what the
// visitor has typed, only says so.
window.FlaskBokeh ??= (() => {
  const GONE = [401, 403, 404, 410];
  const ENDED = "This plot has ended.";
  const TOO_LARGE = "What was sent to this plot was too large, and has not arrived.";
  const ONCE = 60_000; // milliseconds between two reloads of a page
  const PAUSE = 5_000; // milliseconds, at first, between our own attempts to come back
  const shown = new Map(); // by session token
  const followed = new WeakSet(); // documents
  // In <iframe srcdoc>, location has no host; the origin is that of the page around it.
  const site = self.origin === "null" ? new URL(document.baseURI).origin : self.origin;
  let gets = null; // whether the page, and all that came into it later, answers GETs; null: unknown
  let typed = false; // whether the visitor has changed a field or a text of the page

  // On the window, before any other listener; the event comes through Bokeh's shadow roots, too.
  addEventListener("input", (event) => (typed ||= event.isTrusted), true);

  // get: whether the markup around this call is part of the answer to a GET
  function came(get) {
    if (!get) gets = false;
    // What is put into a page later knows nothing of the page itself.
    else if (document.readyState === "loading") gets ??= true;
  }

  async function show(item, path, origin, url, get) {
    came(get);
    const id = item.elementid ?? Object.values(item.roots ?? {})[0];
    const element = document.getElementById(id) ?? document.body;
    shown.set(item.token, { element, url, pause: PAUSE, tooLarge: [] });
    if (!(await bokehjs())) return say(element, "BokehJS could not be loaded.");
    const views = await Bokeh.embed.embed_items({}, [item], path, origin ?? site);
    if (views.length === 0) return refused(item.token);
    for (const doc of Bokeh.documents) {
      if (followed.has(doc)) continue;
      followed.add(doc);
      doc.on_message("flask_bokeh.failed", (failure) => failed(doc, failure));
      doc.on_event("connection_lost", (_, event) => lost(doc, event));
    }
    // The box of a failure has come in the place of the first root, which may be hidden.
    const expected = views[0].roots.some((view) => item.root_ids?.includes(view.model.id));
    if (!expected) for (const part of place(element).children) part.hidden = false;
  }

  async function bokehjs() {
    for (let waited = 0; !window.Bokeh && waited < 30_000; waited += 50) await sleep(50);
    return Boolean(window.Bokeh);
  }

  async function lost(doc, event) {
    // BokehJS calls this while it handles the socket's CloseEvent, which alone has the code.
    const code = window.event?.code;
    const connection = event.connection.deref();
    if (!connection) return;
    // Checked on BokehJS 3.9 and 3.10: if the connection breaks between the frames of a message,
    // BokehJS takes the next connection's first frames for the rest of it, and never recovers.
    connection._receiver = new connection._receiver.constructor();
    const plot = shown.get(connection.token);
    if (!plot) return;
    if (code === 1009 && tooLarge(plot)) return connection.close();
    if (event.attempts === 0) {
      plot.pause = PAUSE;
      return; // BokehJS tries again at once
    }
    for (;;) {
      if (!plot.element.isConnected) return connection.close(); // the page has removed it
      const answer = await ask(connection.token);
      if (answer !== null && gone(answer)) {
        connection.close();
        // Checked on BokehJS 3.9 and 3.10: it would go on saying that it reconnects.
        doc.views_manager?.get(doc.config.notifications)?._connection_el?.remove();
        return end(plot.element);
      }
      // BokehJS tries again, for half a minute in all, or has been told not to.
      if (event.timeout !== null || !doc.config.reconnect_session) return;
      await sleep(plot.pause * (0.5 + Math.random() / 2));
      plot.pause = Math.min(2 * plot.pause, 60_000);
      if (answer?.status === 204) return connection.reconnect(); // if it fails, we come back here
    }
  }

  // BokehJS reconnects, and shows what the server has. Whether something on the page sends too
  // much again and again, so that it must not.
  function tooLarge(plot) {
    const now = Date.now();
    plot.tooLarge = [...plot.tooLarge.filter((then) => now - then < 60_000), now];
    const again = plot.tooLarge.length > 4;
    again ? say(plot.element, TOO_LARGE) : note(plot.element, TOO_LARGE);
    return again;
  }

  function sleep(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
  }

  // A callback has failed on the server; the plot lives on, so its visitor reads this above it.
  function failed(doc, { reference, detail }) {
    const root = doc.roots().find((one) => Bokeh.index.get(one)?.el);
    if (!root) return;
    const text = detail ?? `Something went wrong here. The reference is ${reference}.`;
    note(Bokeh.index.get(root).el.parentElement, text);
  }

  async function refused(token) {
    const { element } = shown.get(token);
    const answer = await ask(token);
    if (answer?.status === 503) return say(element, (await answer.text()).trim());
    const unreachable = "This plot could not be reached.";
    if (answer === null) return say(element, unreachable);
    end(element, gone(answer) ? ENDED : unreachable); // it would be let in, but is not
  }

  // As the WebSocket asked, which takes the query of the page along.
  function ask(token) {
    const options = { headers: { "Bokeh-Session-Token": token }, cache: "no-store" };
    const url = new URL(shown.get(token).url + location.search, site);
    return fetch(url, { ...options, redirect: "manual" }).catch(() => null);
  }

  function gone(answer) {
    return GONE.includes(answer.status) || answer.type === "opaqueredirect"; // to a login page
  }

  function end(element, text = ENDED) {
    if (!element.isConnected) return; // the page has removed it
    if (!mayReload()) return say(element, text);
    say(element, `${text} The page reloads itself.`);
    location.reload();
  }

  // A reload repeats the request of the page, and takes away what its fields hold.
  function mayReload() {
    if (!gets || !location.host || typed || filled()) return false;
    try {
      const key = `flask_bokeh ${location.href}`;
      const last = Number(sessionStorage.getItem(key) ?? 0);
      if (Date.now() - last <= ONCE) return false;
      sessionStorage.setItem(key, Date.now());
      return true;
    } catch {
      return false; // a page without storage does not reload itself
    }
  }

  // Whether the visitor, who has touched the page, may have typed before this script came.
  function filled() {
    if (navigator.userActivation?.hasBeenActive === false) return false;
    const others = "[type=range], [type=color], [type=checkbox], [type=radio]";
    const texts = document.querySelectorAll(`input:not(${others}), textarea`);
    return [...texts].some((one) => one.value !== one.defaultValue);
  }

  function say(element, text) {
    const link = document.createElement("a");
    link.href = location.href.split("#")[0]; // with a fragment, the browser would stay here
    link.textContent = gets ? "Reload the page." : "Open this page again.";
    // A frame without an address of its own comes with the page around it.
    place(element).replaceChildren(box(`${text} `, location.host ? link : "Reload the page."));
  }

  function note(element, text) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "OK";
    const told = box(`${text} `, button);
    told.classList.add("flask-bokeh-note");
    button.onclick = () => told.remove();
    place(element).querySelector(":scope > .flask-bokeh-note")?.remove();
    place(element).prepend(told);
  }

  function place(element) {
    return element.closest(".flask-bokeh") ?? element;
  }

  function box(...content) {
    const box = document.createElement("div");
    box.setAttribute("role", "alert");
    box.className = "flask-bokeh-ended";
    box.style.cssText =
      "padding: 12px 16px; border: 1px solid #d9a3a3; border-left: 4px solid #b42318;" +
      "border-radius: 4px; background: #fdf3f2; color: #4a1410;" +
      "font: 14px/1.5 system-ui, sans-serif; white-space: pre-wrap; overflow-wrap: anywhere;";
    box.append(...content);
    return box;
  }

  return { came, show };
})();

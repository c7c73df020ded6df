// Shows plots, and sees to it that none stays empty or dead without a word. A browser hides
// from a page why its WebSocket was refused, so the page asks the site. A session that is gone
// for good makes the page reload itself, once.
window.FlaskBokeh ??= (() => {
  const GONE = [401, 403, 404, 410];
  const ENDED = "This plot has ended.";
  const ONCE = 60_000; // milliseconds between two reloads of a page
  const PAUSE = 5_000; // milliseconds, at first, between our own attempts to come back
  const shown = new Map(); // by session token
  const followed = new WeakSet(); // documents

  async function show(item, path, origin, url) {
    const id = item.elementid ?? Object.values(item.roots ?? {})[0];
    const element = document.getElementById(id) ?? document.body;
    shown.set(item.token, { element, url, pause: PAUSE });
    if (!(await bokehjs())) return say(element, "BokehJS could not be loaded.");
    const views = await Bokeh.embed.embed_items({}, [item], path, origin);
    if (views.length === 0) return refused(item.token);
    for (const doc of Bokeh.documents) {
      if (followed.has(doc)) continue;
      followed.add(doc);
      doc.on_message("flask_bokeh.failed", (failure) => failed(doc, failure));
      doc.on_event("connection_lost", (_, event) => lost(doc, event));
    }
  }

  async function bokehjs() {
    for (let waited = 0; !window.Bokeh && waited < 30_000; waited += 50) await sleep(50);
    return Boolean(window.Bokeh);
  }

  async function lost(doc, event) {
    const connection = event.connection.deref();
    if (!connection) return;
    // Checked on BokehJS 3.9 and 3.10: if the connection breaks between the frames of a message,
    // BokehJS takes the next connection's first frames for the rest of it, and never recovers.
    connection._receiver = new connection._receiver.constructor();
    const plot = shown.get(connection.token);
    if (!plot) return;
    if (event.attempts === 0) {
      plot.pause = PAUSE;
      return; // BokehJS tries again at once
    }
    for (;;) {
      if (!plot.element.isConnected) return connection.close(); // the page has removed it
      const answer = await ask(connection.token);
      if (answer !== null && gone(answer)) {
        connection.close();
        return end(plot.element);
      }
      // BokehJS tries again, for half a minute in all, or has been told not to.
      if (event.timeout !== null || !doc.config.reconnect_session) return;
      await sleep(plot.pause * (0.5 + Math.random() / 2));
      plot.pause = Math.min(2 * plot.pause, 60_000);
      if (answer?.status === 204) return connection.reconnect(); // if it fails, we come back here
    }
  }

  function sleep(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
  }

  // A callback has failed on the server; the plot lives on, so its visitor reads this above it.
  function failed(doc, { reference, detail }) {
    const root = doc.roots().find((one) => Bokeh.index.get(one)?.el);
    if (!root) return;
    const around = Bokeh.index.get(root).el.parentElement;
    const place = around.closest(".flask-bokeh") ?? around;
    const told = document.createElement("div");
    told.setAttribute("role", "alert");
    told.className = "flask-bokeh-note";
    told.style.cssText =
      "padding: 12px 16px; border: 1px solid #d9a3a3; border-left: 4px solid #b42318;" +
      "border-radius: 4px; background: #fdf3f2; color: #4a1410;" +
      "font: 14px/1.5 system-ui, sans-serif; white-space: pre-wrap; overflow-wrap: anywhere;";
    told.append(detail ?? `Something went wrong here. The reference is ${reference}.`);
    place.querySelector(":scope > .flask-bokeh-note")?.remove();
    place.prepend(told);
  }

  async function refused(token) {
    const { element } = shown.get(token);
    const answer = await ask(token);
    if (answer?.status === 503) return say(element, await answer.text());
    const unreachable = "This plot could not be reached.";
    if (answer === null) return say(element, unreachable);
    end(element, gone(answer) ? ENDED : unreachable); // it would be let in, but is not
  }

  // As the WebSocket asked, which takes the query of the page along.
  function ask(token) {
    const options = { headers: { "Bokeh-Session-Token": token }, cache: "no-store" };
    const url = shown.get(token).url + location.search;
    return fetch(url, { ...options, redirect: "manual" }).catch(() => null);
  }

  function gone(answer) {
    return GONE.includes(answer.status) || answer.type === "opaqueredirect"; // to a login page
  }

  function end(element, text = ENDED) {
    if (!element.isConnected) return; // the page has removed it
    try {
      const key = `flask_bokeh ${location.href}`;
      const last = Number(sessionStorage.getItem(key) ?? 0);
      if (Date.now() - last > ONCE) {
        sessionStorage.setItem(key, Date.now());
        say(element, `${text} The page reloads itself.`);
        return location.reload();
      }
    } catch {} // a page without storage does not reload itself
    say(element, text);
  }

  function say(element, text) {
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = "Reload the page.";
    const box = document.createElement("div");
    box.setAttribute("role", "alert");
    box.className = "flask-bokeh-ended";
    box.style.cssText =
      "padding: 12px 16px; border: 1px solid #d9a3a3; border-left: 4px solid #b42318;" +
      "border-radius: 4px; background: #fdf3f2; color: #4a1410;" +
      "font: 14px/1.5 system-ui, sans-serif;";
    box.append(`${text} `, link);
    (element.closest(".flask-bokeh") ?? element).replaceChildren(box);
  }

  return { show };
})();

// Small stand-ins for what a browser has. The modules keep state, and each test file has a process of
// its own, so the tests in a file follow each other as events in one page do.

/** Set the globals of a page that is being loaded, and return what a test looks at. */
export function fakePage({ href = "https://site.test/page?x=1#there", fields = [] } = {}) {
  const url = new URL(href);
  const storage = new Map();
  const listeners = {};
  const reloads = [];
  const globals = {
    location: { href, host: url.host, search: url.search, reload: () => reloads.push(href) },
    self: { origin: url.origin },
    document: {
      readyState: "loading",
      baseURI: href,
      adoptedStyleSheets: [],
      querySelectorAll: () => fields,
      createElement: () => new FakeElement(),
    },
    navigator: { userActivation: { hasBeenActive: true } },
    sessionStorage: {
      getItem: (key) => storage.get(key) ?? null,
      setItem: (key, value) => storage.set(key, value),
    },
    addEventListener: (type, listener) => (listeners[type] = listener),
    CSSStyleSheet: class {
      replaceSync() {}
    },
    BOX_STYLE: "",
    window: {},
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return { storage, listeners, reloads, fields };
}

/** An element that is in the page and knows its text. */
export class FakeElement {
  isConnected = true;
  children = [];
  classList = { add() {} };
  closest() {
    return null;
  }
  querySelector() {
    return null;
  }
  setAttribute() {}
  append(...parts) {
    this.children.push(...parts);
  }
  prepend(...parts) {
    this.children.unshift(...parts);
  }
  replaceChildren(...parts) {
    this.children = parts;
  }
  get text() {
    return this.textContent ?? this.children.map((child) => child.text ?? child).join("");
  }
}

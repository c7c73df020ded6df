/**
 * What is used of BokehJS 3.9 and 3.10. Names that begin with an underscore are private to BokehJS;
 * tests/test_reloads.py and tests/test_live.py fail when they change.
 */
declare namespace Bokeh {
  /** `window.Bokeh` */
  interface API {
    documents: Document[];
    embed: {
      embed_items(
        docs_json: object,
        items: RenderItem[],
        app_path: string,
        absolute_url: string,
      ): Promise<ViewManager[]>;
    };
    /** The views of all roots. */
    index: { get(model: Model): View | null };
    set_log_level(level: string): void;
  }

  /** Bokeh's RenderItem, as JSON. */
  interface RenderItem {
    token: string;
    elementid?: string;
    /** Ids of elements by ids of roots. */
    roots?: Record<string, string>;
    root_ids?: string[];
    use_for_title: boolean;
  }

  interface Document {
    config: { notifications: Model; reconnect_session: boolean };
    views_manager?: { get(model: Model): Notifications | null };
    roots(): Model[];
    on_message(type: string, listener: (data: any) => void): void;
    on_event(
      type: "connection_lost",
      listener: (doc: Document, event: ConnectionLost) => void,
    ): void;
  }

  interface Model {
    id: string;
  }

  interface View {
    model: Model;
    el?: HTMLElement;
  }

  interface ViewManager {
    roots: View[];
  }

  /** The view that says on the page that the connection is lost. */
  interface Notifications extends View {
    _connection_el?: Element;
  }

  interface ConnectionLost {
    connection: WeakRef<Connection>;
    /** Attempts to reconnect that BokehJS has made. */
    attempts: number;
    /** Milliseconds until the next attempt; null if there is none. */
    timeout: number | null;
  }

  interface Connection {
    readonly token: string;
    /** Puts the frames of a message together. */
    _receiver: { constructor: new () => Connection["_receiver"] };
    close(): void;
    reconnect(): Promise<void>;
  }
}

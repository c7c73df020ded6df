/** The text of src/box.css; flask_bokeh/web/browser_script.py puts it before the modules. */
declare const BOX_STYLE: string;

interface Window {
  Bokeh?: Bokeh.API;
  /** Set by the first script of ours in a page. */
  FlaskBokeh?: { noteMarkup(isAnswerToGet: boolean): void };
}

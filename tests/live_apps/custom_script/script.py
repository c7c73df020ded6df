"""A script with a custom model that does not compile; each session creates the class again."""

from bokeh.io import curdoc
from bokeh.models import Div
from bokeh.util.compiler import TypeScript


class InScript(Div):
    __implementation__ = TypeScript("export class InScript extends { nonsense")


curdoc().add_root(InScript(text="in a script"))

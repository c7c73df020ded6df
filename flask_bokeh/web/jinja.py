"""The Jinja tags ``{% bokeh %}`` and ``{% bokeh_resources %}``."""

from __future__ import annotations

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from .embedding import bokeh_tag

__all__ = ("BokehTags",)


class BokehTags(Extension):
    """``{% bokeh %}`` and ``{% bokeh_resources %}``."""

    tags = {"bokeh", "bokeh_resources"}  # noqa: RUF012  # Jinja's own form

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["_bokeh_tag"] = bokeh_tag

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse a tag into a call of the function in the Jinja globals that renders it."""
        tag = next(parser.stream)
        arguments: list[nodes.Expr] = []
        keywords: list[nodes.Keyword] = []
        while parser.stream.current.type != "block_end":
            if arguments or keywords:
                parser.stream.expect("comma")
            if parser.stream.current.type == "name" and parser.stream.look().type == "assign":
                name = next(parser.stream).value
                next(parser.stream)
                keywords.append(nodes.Keyword(name, parser.parse_expression()))
            elif arguments or keywords:
                parser.fail("{% bokeh %} takes one path or session, then name=value", tag.lineno)
            else:
                arguments.append(parser.parse_expression())
        if tag.value == "bokeh_resources" and (arguments or keywords):
            parser.fail("{% bokeh_resources %} takes no arguments", tag.lineno)
        function = nodes.Name(
            "bokeh_resources" if tag.value == "bokeh_resources" else "_bokeh_tag", "load"
        )
        call = nodes.Call(function, arguments, keywords, None, None, lineno=tag.lineno)
        return nodes.Output([call], lineno=tag.lineno)

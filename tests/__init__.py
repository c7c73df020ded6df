"""The tests of flask_bokeh. Each one says in a sentence what it holds the code to."""

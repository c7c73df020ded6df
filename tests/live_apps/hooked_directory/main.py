from bokeh.io import curdoc
from bokeh.plotting import figure

plot = figure(title="directory", name="plot", height=200)
plot.line([1, 2], [1, 2])
curdoc().add_root(plot)
curdoc().title = "From a directory"

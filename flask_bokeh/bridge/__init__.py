"""From Flask's port to the Bokeh server: views, and the hand-over of sockets."""

"""Pictures: frames say what is drawn; figures draw them by matplotlib and seaborn, charts by Plotly.

A module ``…_frames`` has functions that return pandas data frames. A module ``…_figures`` draws these on given Axes;
`charts` and `weight_chart` draw them for a page. `style` has the one palette and the one scale rule.
"""

FORMATS = ("png", "svg", "pdf")  # of files
KINDS = ("pair", "triplet", "field", "flow", "portrait")  # of pictures of one objective

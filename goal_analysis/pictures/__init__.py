"""Pictures: frames say what is drawn; figures draw them by matplotlib and seaborn, charts by Plotly.

`canvas` lays a figure out, and `style` has the one palette and the one scale rule.
"""

FORMATS = ("png", "svg", "pdf")  # of files
FILMS = ("gif", "mp4")  # of films, the second where ffmpeg is
KINDS = ("pair", "triplet", "field", "flow", "portrait")  # of pictures of one objective
SEVERAL = ("compare", "difference")  # of several, and of two
OF_LOGS = ("retrieval", "ranking", "weights", "quantiles")  # of what runs logged

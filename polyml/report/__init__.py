"""Pictures and pages: what a comparison, a map or a screening looks like.

``plots``, ``robeson`` and ``maps`` turn tables into plotly figures; ``html`` puts figures and the leaderboard into
pages that work offline.
"""

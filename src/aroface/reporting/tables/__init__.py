"""Tables: specification, cells, and rendering as LaTeX, HTML, Markdown and CSV."""

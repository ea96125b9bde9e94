"""The page, figures and tables of an evaluation of scores."""

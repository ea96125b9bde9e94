"""Result records, tables, figures and where their numbers come from; needs no torch."""

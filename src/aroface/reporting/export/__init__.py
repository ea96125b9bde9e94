"""Folders of tables and figures that compile in the class of a journal or conference."""

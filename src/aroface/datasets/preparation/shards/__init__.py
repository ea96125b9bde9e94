"""Sets that come in shards: archives, tables and databases of labelled images, read as streams."""

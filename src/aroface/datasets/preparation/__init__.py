"""From downloads and photographs to data sets: fetch, verify, prepare, align and pack."""

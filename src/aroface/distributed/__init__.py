"""Processes of one job: process group, collectives, shards and launch."""

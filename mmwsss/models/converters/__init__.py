"""Checkpoints of other projects, turned into ours."""

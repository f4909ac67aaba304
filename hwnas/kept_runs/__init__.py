"""Runs on disk: what there is, how they differ, and what their networks take elsewhere. Nothing here loads torch."""

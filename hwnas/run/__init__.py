"""One run: what was asked for, what it became, and the folder that keeps it."""

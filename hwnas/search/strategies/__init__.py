"""Search strategies: one file each, two interfaces."""

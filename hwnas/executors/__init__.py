"""Tasks that are computed elsewhere: in processes of this machine, or on a Ray cluster."""

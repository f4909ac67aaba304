"""From a trained network to files that drop into an app, verified."""

"""Devices, and measuring on them: rounds, estimates, and the verdict on a budget. No torch."""

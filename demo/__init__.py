"""The package at work: a drive played to the real node over DDS, and what came back."""

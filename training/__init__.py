"""Offline: PyTorch networks, their data, training, scores and export. Never on the vehicle."""

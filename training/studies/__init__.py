"""What was asked of trainings and measured: one question a module."""

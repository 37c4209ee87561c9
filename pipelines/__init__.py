"""The DAGs."""

"""The files that pass between stages: each format has its writer and its reader in one file."""

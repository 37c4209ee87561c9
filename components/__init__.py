"""KFP components: one folder per stage, each a few lines that call the stage's function."""

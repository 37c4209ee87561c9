"""KFP components: one folder a stage, each a few lines that call the stage's function."""

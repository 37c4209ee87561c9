"""Running the pipeline: here through kfp.local, on a cluster through the KFP and Kubernetes APIs."""

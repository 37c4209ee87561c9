"""Running the pipeline on a cluster, through the KFP and Kubernetes APIs."""

"""DATUM on Kubernetes: one-shot unsupervised domain adaptation of semantic segmentation."""

__version__ = "0.1.0"

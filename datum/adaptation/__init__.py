"""The third stage: self-training of the segmentation network on source and target images (DAFormer)."""

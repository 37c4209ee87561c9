"""The segmentation network, shared by adaptation, evaluation and every measurement that needs one."""

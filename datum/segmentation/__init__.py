"""The segmentation network, shared by adaptation, evaluation and every measurement that needs one."""

import warnings

# mmcv warns of compiled operators, which nothing here uses.
warnings.filterwarnings("ignore", message="Fail to import")

"""A pretrained backbone out of a checkpoint of either host, as weights that other libraries load. Needs torch alone."""

FORMATS = ("torchvision", "timm", "mmpretrain", "torch")

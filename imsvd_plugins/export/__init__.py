"""Exporting a backbone from either host's checkpoint, as weights that other libraries load. Needs only torch."""

FORMATS = ("torchvision", "timm", "mmpretrain", "torch")

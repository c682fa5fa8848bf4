"""Data modules: views for training and, if there are labels, images for evaluation."""

from imsvd_plugins.lightly.data.arrays import ArraysDataModule
from imsvd_plugins.lightly.data.cifar10 import CIFAR10DataModule, cifar10_to_tensor
from imsvd_plugins.lightly.data.digits import Digits, DigitsDataModule, digit_to_tensor, digit_view
from imsvd_plugins.lightly.data.image_folder import ImageFolderDataModule
from imsvd_plugins.lightly.data.images import ImagesDataModule
from imsvd_plugins.lightly.data.views_data_module import folder_to_tensor

__all__ = [
    "ArraysDataModule",
    "CIFAR10DataModule",
    "Digits",
    "DigitsDataModule",
    "ImageFolderDataModule",
    "ImagesDataModule",
    "cifar10_to_tensor",
    "digit_to_tensor",
    "digit_view",
    "folder_to_tensor",
]

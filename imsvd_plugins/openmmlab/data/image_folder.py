"""A folder of images as an mmpretrain dataset, without labels or with its sub-folders as labels."""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from mmpretrain.datasets import CustomDataset

from imsvd_plugins.data.image_files import SUFFIXES
from imsvd_plugins.openmmlab.data.readable_images import readable_images
from imsvd_plugins.openmmlab.errors import ConfigValueError


class ImageFolder(CustomDataset):
    """All images below a folder, without labels.

    It is mmpretrain's ``CustomDataset(with_label=False)`` for images of any kind: a suffix in any case, and links to
    folders. An image that cannot be read is named in the log and left out before the training starts. One that becomes
    unreadable later is replaced by another: see :class:`~imsvd_plugins.openmmlab.data.load_image.LoadImage`.

    :class:`~imsvd_plugins.openmmlab.training.runner.CheckedRunner` gives it the config's own ``data_root`` and
    ``check_images``, and ``image_check`` in the work folder for ``cache_dir``.

    Args:
        data_root: The folder.
        pipeline: Transforms; they get ``img_path``.
        check_images: Whether each image is decoded once, by rank 0, when the dataset is made.
        cache_dir: Folder that remembers which images have been checked; None to remember nothing.
        lazy_init: Whether ``full_init()`` finds the images later. All ranks must call it together.
        **kwargs: As for mmengine's ``BaseDataset``.

    Raises:
        ConfigValueError: If the folder does not exist or holds no image that can be read.
    """

    # The option that names the folder.
    option: ClassVar[str] = "data_root"
    _labelled: ClassVar[bool] = False

    def __init__(
        self,
        data_root: str | None = None,
        pipeline: Sequence[Any] = (),
        check_images: bool = True,
        cache_dir: str | None = None,
        lazy_init: bool = False,
        **kwargs: Any,
    ) -> None:
        self.check_images = check_images
        self.cache_dir = cache_dir
        super().__init__(
            data_root=existing_folder(data_root, self.option, "images"),
            pipeline=pipeline,
            with_label=self._labelled,
            extensions=tuple(SUFFIXES),
            lazy_init=lazy_init,
            **kwargs,
        )

    def _find_samples(self) -> list[Any]:
        folder = os.path.normpath(self.img_prefix)
        return readable_images(folder, self.option, check=self.check_images, cache_dir=self.cache_dir)


class LabelledImageFolder(ImageFolder):
    """A folder with a sub-folder for each class, for kNN: every fifth image is classified, the others vote.

    Its folder is the config's own ``labelled_root``.

    Args:
        data_root: The folder.
        split: "train" (four images of five, which vote) or "test" (every fifth).
        **kwargs: As for :class:`ImageFolder`.

    Raises:
        ConfigValueError: If ``split`` is out of range, or the folder has fewer than two classes.
    """

    option = "labelled_root"
    _labelled = True

    def __init__(self, data_root: str | None = None, split: str = "train", **kwargs: Any) -> None:
        if split not in ("train", "test"):
            raise ConfigValueError(f'split of LabelledImageFolder must be "train" or "test", got {split!r}.')
        self.split = split
        super().__init__(data_root, **kwargs)

    def _find_samples(self) -> list[Any]:
        images = [image for image in super()._find_samples() if os.sep in image]
        classes = sorted({image.split(os.sep)[0] for image in images})
        if len(classes) < 2:
            raise ConfigValueError(
                f"{self.option} must be a folder with a sub-folder of images for each class, two at least; "
                f"{self.data_root} has {len(classes)}."
            )
        self._metainfo["classes"] = tuple(classes)
        numbers = {name: number for number, name in enumerate(classes)}
        # The images are sorted by class, so every class with at least five images is in both parts.
        return [
            (image, numbers[image.split(os.sep)[0]])
            for index, image in enumerate(images)
            if (index % 5 == 4) == (self.split == "test")
        ]


def existing_folder(folder: Any, option: str, what: str) -> str:
    """Check that an option names a folder, and return the folder.

    Args:
        folder: The option's value.
        option: Name of the option, for messages.
        what: The folder's contents, for messages.

    Raises:
        ConfigValueError: If the value is not a folder.
    """
    if folder is None:
        raise ConfigValueError(f"{option} must be given, a folder of {what}: --cfg-options {option}=FOLDER.")
    if not isinstance(folder, str):
        # mmengine parses 2024 as a number and a comma as a list.
        raise ConfigValueError(
            f"{option} must be the name of a folder, got {folder!r} of type {type(folder).__name__}: write ./2024 for "
            "a folder 2024, and give a folder with a comma in its name by a link to it."
        )
    path: str = os.path.expanduser(folder)
    if not os.path.isdir(path):
        found = "is a file" if os.path.exists(path) else "does not exist"
        raise ConfigValueError(
            f"{option} must be a folder of {what}, and {folder!r} {found}: --cfg-options {option}=FOLDER."
        )
    return path

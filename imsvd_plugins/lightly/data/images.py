"""Any folder of images, without labels."""

from pathlib import Path
from typing import Any

from lightly.data import LightlyDataset
from pytorch_lightning.utilities import rank_zero_warn
from torch.utils.data import DataLoader

from imsvd_plugins.lightly.data.folder_search import Found, find_images, fingerprint, report
from imsvd_plugins.lightly.data.image_files import ImageFiles, file_name
from imsvd_plugins.lightly.data.labelled_images import LabelledImages, find_labelled
from imsvd_plugins.lightly.data.views_data_module import Transform, ViewsDataModule, folder_to_tensor
from imsvd_plugins.lightly.errors import SettingsError


class ImagesDataModule(ViewsDataModule):
    """All images below a folder, nested or flat, of any kind that ``imsvd-plugins embed`` reads.

    Batches have Lightly's form, ``(views, zeros, names)``; labels are ignored. Before a training, one process decodes
    each image once. Images that cannot be read are named and left out. The result is kept in
    ``trainer.default_root_dir``, so that a resumed training decodes only new and changed images. If an image becomes
    unreadable later, a warning names it and another image replaces it.

    If some images have labels, ``val_root`` gives them to :class:`~imsvd_plugins.lightly.knn.KNNCallback`: see
    :func:`~imsvd_plugins.lightly.data.labelled_images.find_labelled`.

    Args:
        root: The folder.
        transform: From an image to a list of views.
        batch_size_per_device: Images per device and step, at least 2.
        num_workers: Loader processes per device.
        val_transform: From an image to the tensor for evaluation; None resizes to 256 pixels, crops the central 224,
            and normalizes as Lightly's transforms do.
        val_root: A folder with a sub-folder of images for each class; None for no kNN evaluation.
        check_images: Whether to look for unreadable images before the training.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range or a folder is missing; at the start of a training, if there are fewer
            images than a batch has.
    """

    num_classes = None  # no online classifier without labels

    def __init__(
        self,
        root: str,
        transform: Transform,
        batch_size_per_device: int = 256,
        num_workers: int = 8,
        val_transform: Transform | None = None,
        val_root: str | None = None,
        check_images: bool = True,
    ) -> None:
        super().__init__(transform, val_transform or folder_to_tensor, batch_size_per_device, num_workers)
        for name, folder in (("root", root), ("val_root", val_root)):
            if folder is not None and not Path(folder).is_dir():
                raise ValueError(f"{name} must be a folder of images; there is no folder {folder!r}.")
        self.root = root
        self.val_root = val_root
        self.check_images = check_images
        # One process looks and tells the others. All must agree on the number of images, or they would hang.
        self.prepare_data_per_node = False
        self._found: Found | None = None
        self._labelled: LabelledImages | None = None
        self._fault = ""

    def prepare_data(self) -> None:
        """Look through the folders on one process; :meth:`setup` sends the result to the others."""
        self._fault = ""
        try:
            self._found = self._find("root", self.root)
            if self.val_root is not None:
                self._labelled = find_labelled(self._found, self._find("val_root", self.val_root))
        except (OSError, ValueError) as error:
            # Raised later: raising here would leave the other processes waiting.
            self._fault = str(error)

    def _find(self, setting: str, folder: str) -> Found:
        """Find a folder's images and log a report on them."""
        cache = Path(self.trainer.default_root_dir) / f"images_of_{setting}.json" if self.trainer else None
        found = find_images(setting, folder, self.check_images, cache)
        report(found)
        return found

    def setup(self, stage: str) -> None:
        """Open the images that were found.

        Raises:
            SettingsError: If a folder holds no images, too few, or none for a class, or there are none to validate on.
        """
        if self.trainer:
            found = (self._found, self._labelled, self._fault)
            self._found, self._labelled, self._fault = self.trainer.strategy.broadcast(found)
        elif self._found is None:
            self.prepare_data()
        if self._fault or self._found is None:
            raise SettingsError(self._fault)
        if stage == "validate" and self._labelled is None:
            raise SettingsError("val_root must be a folder of labelled images to validate on, got None.")
        self._open(self._found.readable)
        if stage != "fit":
            return
        if len(self._found.readable) < 2:
            raise SettingsError(f"root must hold at least 2 images that can be read, {self.root!r} holds 1.")
        self._check_batch_size()

    def _open(self, files: list[str]) -> None:
        self._files = files
        self.train_dataset = _dataset(self.root, files, [0] * len(files), self.transform)
        if self._labelled is not None:
            self.bank_dataset, self.val_dataset = (
                _dataset(part.root, part.files, part.labels, self.val_transform) for part in self._labelled
            )

    def val_dataloader(self) -> Any:
        """Batches ``(images, labels, names)`` of the labelled images to classify; empty without ``val_root``."""
        return [] if self._labelled is None else super().val_dataloader()

    def bank_dataloader(self) -> DataLoader[Any] | None:  # type: ignore[override]
        """Batches ``(images, labels, names)`` of the labelled images that vote; None without ``val_root``."""
        return None if self._labelled is None else super().bank_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """The state of all data modules, plus a fingerprint of the images and the names of those left out."""
        left_out = [] if self._found is None else sorted(set(self._found.files).difference(self._files))
        return {**super().state_dict(), "images": fingerprint(self._files), "left_out": left_out}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume with the images of an earlier run, also with those that have become unreadable since.

        Without one of them, all later images would have another place in the order, and other views.
        """
        super().load_state_dict(state_dict)
        assert self._found is not None
        before = sorted(set(self._found.files).difference(state_dict["left_out"]))
        if fingerprint(before) == state_dict["images"]:
            self._open(before)
        else:
            rank_zero_warn(
                f"{self.root!r} does not hold the images of the checkpoint's training any more: it goes on with the "
                f"{len(self._files)} that are there now, in another order."
            )


def _dataset(root: str, files: list[str], labels: list[int], transform: Transform) -> Any:
    # Lightly's own class for a folder reads fewer kinds of images, and reads them differently.
    return LightlyDataset.from_torch_dataset(ImageFiles(root, files, labels, transform), index_to_filename=file_name)

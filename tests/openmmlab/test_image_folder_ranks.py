"""What gloo ranks see in a folder of images. They read this file too, so the host is imported where it is used."""

import runpy
import warnings
from pathlib import Path

import pytest

PHOTOS = runpy.run_path(str(Path(__file__).with_name("photos.py")))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / "photos"
    PHOTOS["write"](root)
    return root


def host():
    with warnings.catch_warnings():
        # What the host warns of at import.
        warnings.simplefilter("ignore")
        from imsvd_plugins import openmmlab
    return openmmlab


def images_of_rank(rank, root, cache_dir):
    openmmlab = host()
    from imsvd_plugins.data import image_check
    from imsvd_plugins.openmmlab.data import readable_images

    readable_images._SECONDS_BETWEEN_SIGNS = 0  # a sign of life with each image
    decoded = []
    fault = image_check._fault
    image_check._fault = lambda path: decoded.append(path) or fault(path)
    found, again = (openmmlab.ImageFolder(root, cache_dir=cache_dir).load_data_list() for _ in range(2))
    return found, again, len(decoded)


def test_all_ranks_have_the_same_images_and_one_of_them_checks(photos, tmp_path, run_on_ranks):
    (found, again, decoded), other = run_on_ranks(images_of_rank, 2, str(photos), str(tmp_path))
    assert len(found) == PHOTOS["COUNT"]
    assert other == (found, found, 0)
    assert again == found
    assert decoded == 41


def refusals_of_rank(rank, root, cache_dir):
    host()
    from imsvd_plugins.openmmlab.data import readable_images

    refusals = []
    for folder in (root, f"{root}/absent"):
        try:
            readable_images.readable_images(folder, "data_root", cache_dir=cache_dir)
        except ValueError as error:
            refusals.append(str(error))
    if rank == 0:
        readable_images.find_image_files = lambda folder: 1 / 0
    try:
        readable_images.readable_images(root, "data_root")
    except (ZeroDivisionError, RuntimeError) as error:
        refusals.append(str(error))
    return refusals


def test_all_ranks_stop_where_one_fails(photos, tmp_path, run_on_ranks):
    (tmp_path / "file").touch()  # where the cache's folder should be
    first, second = run_on_ranks(refusals_of_rank, 2, str(photos), str(tmp_path / "file"))
    assert len(first) == 3
    assert first[:2] == second[:2]
    assert "cannot be written" in first[0]
    assert "absent' cannot be read" in first[1]
    assert second[2] == "rank 0 could not check the images: division by zero"

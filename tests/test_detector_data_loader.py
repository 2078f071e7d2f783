"""Batches: the same whatever the threads, the cache and the place where a run resumes."""

import threading
import time

import numpy as np
import pytest
from small_data_set import write_coco

from detector.datasets import Loader, ShapesDataset, TrainTransform, read_dataset
from detector.datasets.cache import ImageCache
from detector.datasets.transforms import Augmentation
from detector.errors import UserError

SHAPES = ShapesDataset(10, image_size=48)
TRANSFORM = TrainTransform(32, 80, Augmentation((1.0, 1.25), 0.5, 0.5, 0.2))


def loader(**options) -> Loader:
    return Loader(SHAPES, TRANSFORM, **{"batch_size": 3, "seed": 7, **options})


def content(batches) -> list:
    return [
        (
            batch.indices.tolist(),
            [image.tobytes() for image in batch.images],
            [target["boxes"].tobytes() for target in batch.targets],
        )
        for batch in batches
    ]


def worker_threads() -> list:
    return [t for t in threading.enumerate() if t.name.startswith("image-loader")]


def test_every_image_once_an_epoch_in_a_new_order():
    batches = list(loader().epoch(0))
    assert len(batches) == len(loader()) == 4
    assert [len(batch.images) for batch in batches] == [3, 3, 3, 1]
    orders = [np.concatenate([b.indices for b in loader().epoch(e)]).tolist() for e in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert loader(seed=8).order(0).tolist() != orders[0]
    for batch in batches:
        assert all(image.dtype == np.uint8 for image in batch.images)
        ids = [target["image_id"] - 1 for target in batch.targets]
        assert ids == batch.indices.tolist()


def test_options_of_the_order():
    assert len(loader(drop_last=True)) == 3
    assert [len(b.images) for b in loader(drop_last=True).epoch(0)] == [3, 3, 3]
    in_order = np.concatenate([b.indices for b in loader(shuffle=False).epoch(5)])
    assert in_order.tolist() == list(range(10))
    plain = next(Loader(SHAPES, None, 2, shuffle=False).epoch(0))
    np.testing.assert_array_equal(plain.images[1], SHAPES.load(1)[0])
    for options in ({"batch_size": 0}, {"threads": -1}):
        with pytest.raises(ValueError, match="not"):
            loader(**options)


@pytest.mark.parametrize("epoch", [0, 3])
def test_threads_and_cache_change_nothing(epoch):
    expected = content(loader(threads=0, cache_megabytes=0).epoch(epoch))
    for options in ({"threads": 1}, {"threads": 4}, {"cache_megabytes": 0.02}):
        some = loader(**options)
        content(some.epoch(1))  # fills the cache
        assert content(some.epoch(epoch)) == expected


@pytest.mark.parametrize("threads", [0, 2])
def test_resuming_in_the_middle_of_an_epoch(threads):
    whole = content(loader().epoch(2))
    for start in range(5):
        assert content(loader(threads=threads).epoch(2, start)) == whole[start:]


def test_an_image_does_not_mind_its_company():
    transform = TrainTransform(40, 80, Augmentation((1.0,), 0.5, 0.5, 0.2))
    results = []
    for batch_size in (1, 4, 10):
        batches = list(Loader(SHAPES, transform, batch_size, seed=3).epoch(1))
        results.append([image.tobytes() for batch in batches for image in batch.images])
    assert results[0] == results[1] == results[2]


def test_images_of_a_batch_share_one_scale():
    sides = [{min(image.shape[:2]) for image in batch.images} for batch in loader().epoch(0)]
    assert all(len(side) == 1 for side in sides)
    several = [min(batch.images[0].shape[:2]) for e in range(5) for batch in loader().epoch(e)]
    assert set(several) == {32, 40}


def test_dropped_boxes_are_counted():
    tiny = Loader(SHAPES, TrainTransform(3, 3), 10)
    batch = next(tiny.epoch(0))
    boxes = sum(len(SHAPES.target(i)["boxes"]) for i in range(10))
    assert batch.dropped > 0
    assert batch.dropped + sum(len(target["boxes"]) for target in batch.targets) == boxes


class Recording:
    """A data set that notes what is loaded and fails or dawdles when told to."""

    def __init__(self, count=40, fail_at=None):
        self.count, self.fail_at, self.loaded = count, fail_at, []

    def __len__(self):
        return self.count

    def load(self, index):
        self.loaded.append(index)
        if index == self.fail_at:
            raise UserError(f"picture {index} is damaged")
        return np.zeros((4, 4, 3), np.uint8), self.target(index)

    def target(self, index):
        return {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_in_a_thread_reaches_the_consumer(threads):
    batches = Loader(Recording(fail_at=13), None, 4, threads=threads, shuffle=False).epoch(0)
    seen = []
    with pytest.raises(UserError, match="picture 13 is damaged"):
        for batch in batches:
            seen.append(batch.indices[0])
    assert seen == [0, 4, 8]  # every batch before it arrived
    assert worker_threads() == []


def test_only_a_few_batches_are_decoded_ahead():
    dataset = Recording(count=400)
    batches = Loader(dataset, None, 4, shuffle=False).epoch(0)
    next(batches)
    time.sleep(0.2)
    assert 4 < len(dataset.loaded) <= 20
    batches.close()
    assert worker_threads() == []
    assert len(dataset.loaded) <= 20


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_threads_end_with_the_loop(error):
    with pytest.raises(error):
        for _ in loader().epoch(0):
            raise error
    deadline = time.monotonic() + 5
    while worker_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker_threads() == []


def test_the_cache_keeps_to_its_budget():
    dataset = Recording(count=10)
    cache = ImageCache(dataset, megabytes=5 * 48 / 1e6)  # five images of 48 bytes
    for _ in range(3):
        for index in range(10):
            image, _ = cache.load(index)
            assert not image.flags.writeable
    assert dataset.loaded == [*range(10), *range(5, 10), *range(5, 10)]


def test_a_truncated_file_is_named(tmp_path):
    write_coco(tmp_path)
    path = tmp_path / "train" / "b.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="b.png is damaged or truncated"):
        list(Loader(read_dataset(tmp_path, "train"), TRANSFORM, 2).epoch(0))

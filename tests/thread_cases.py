"""What a program may do with threads and forks; ``test_nn_threads.py`` runs it in processes.

    python tests/thread_cases.py CASE THREADS PICTURES

Prints the layer of Numba's that was used, or ends with an AssertionError.
"""

import multiprocessing
import sys
import threading

import numba
import numpy as np

import nn
from detector import CompiledDetector, LightHeadRCNN


def main(case, threads, pictures):
    cases[case](threads, [picture(k) for k in range(pictures)])
    print(numba.threading_layer())


def picture(seed):
    """Of three sizes in turn."""
    size = [(96, 128), (80, 80), (64, 100)][seed % 3]
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def model():
    nn.manual_seed(0)
    options = {"short_side": 64, "max_side": 128, "init": "he", "head_channels": 32}
    built = LightHeadRCNN(3, "shufflenet_v2_x0_5", **options)
    rng = np.random.default_rng(0)
    for output in (built.rpn.objectness, built.rpn.deltas, built.head.classes, built.head.boxes):
        output.weight.data[:] = 0.1 * rng.standard_normal(output.weight.shape)
    return built


def is_same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in ("boxes", "scores", "labels"))


def predict_all(detector, images, expected):
    """Some images found wrong, as a list of their numbers."""
    found = [detector.predict([image])[0] for image in images]
    return [k for k in range(len(images)) if not is_same(found[k], expected[k])]


def in_threads(jobs):
    """Run functions at the same time; raises what any of them raises."""
    problems, start = [], threading.Barrier(len(jobs))

    def run(job):
        start.wait()
        try:
            job()
        except BaseException as problem:
            problems.append(problem)

    running = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for problem in problems:
        raise problem


def shared(threads, images, built=None):
    """One detector, called from threads from its first picture on."""
    alone, detector, wrong = CompiledDetector(model()), built or CompiledDetector(model()), []
    expected = [alone.predict([image])[0] for image in images]
    assert any(len(found["scores"]) > 3 for found in expected)
    if built:
        expected = [model().predict([image])[0] for image in images]
    in_threads([lambda: wrong.extend(predict_all(detector, images, expected))] * threads)
    assert not wrong, f"{len(wrong)} of {threads * len(images)} are wrong"


def plain(threads, images):
    """A detector that is not compiled, in training mode."""
    built = model()
    assert built.training
    shared(threads, images, built)
    assert built.training


def own(threads, images):
    """A compiled detector each."""
    detectors = [CompiledDetector(model()) for _ in range(threads)]
    expected, wrong = [detectors[0].predict([image])[0] for image in images], []
    in_threads([lambda d=d: wrong.extend(predict_all(d, images, expected)) for d in detectors])
    assert not wrong


def train(steps):
    """The weights after some steps of training."""
    built = model()
    optimizer = nn.optim.MomentumSGD(built.parameters(), lr=0.001)
    target = {"boxes": np.array([[10, 10, 50, 60]], np.float32), "labels": np.array([1])}
    for step in range(steps):
        optimizer.zero_grad()
        sum(built.loss([picture(3 * step)], [target]).values()).backward()
        optimizer.step()
    return built.state_dict()


def training(threads, images):
    """Training in one thread while others look at pictures."""
    detector, steps = CompiledDetector(model()), len(images)
    expected, wrong, trained = [detector.predict([image])[0] for image in images], [], []
    weights = train(steps)
    in_threads(
        [lambda: trained.append(train(steps))]
        + [lambda: wrong.extend(predict_all(detector, images, expected))] * (threads - 1)
    )
    assert not wrong
    for name, weight in weights.items():
        assert np.array_equal(trained[0][name], weight), name


def forked(threads, images):
    """A pool of forked processes, started while threads are at work."""
    global _detector
    _detector = CompiledDetector(model())
    expected, wrong = [_detector.predict([image])[0] for image in images], []

    def fork():
        with multiprocessing.get_context("fork").Pool(threads) as pool:
            found = pool.map(_predict_in_child, images)
        wrong.extend(k for k, each in enumerate(found) if not is_same(each, expected[k]))

    in_threads([lambda: wrong.extend(predict_all(_detector, images, expected)), fork])
    assert not wrong
    assert nn.get_num_threads() == numba.config.NUMBA_NUM_THREADS  # here it is as it was


def _predict_in_child(image):
    assert nn.get_num_threads() == 1
    found = []
    in_threads([lambda: found.append(_detector.predict([image])[0])] * 2)
    assert is_same(*found)
    return found[0]


cases = {case.__name__: case for case in (shared, plain, own, training, forked)}

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""The update core case by case: the barrier per name, the order of the sum, and what is refused."""

import numpy as np
import pytest

from multitask import errors
from multitask.core.layout import Layout
from multitask.core.registration import Registration
from multitask.core.rules import LARS, Adam, Momentum
from multitask.core.segments import GIVEN_UP
from multitask.core.state import restore, snapshot
from multitask.core.update_core import UpdateCore


def array(*values, dtype=np.float32):
    return np.array(values, dtype)


def start_core(tasks, rule=None, **options):
    """A started core; ``tasks`` maps each task to its parameters. Each task's nonce is 1."""
    core = UpdateCore(rule or Momentum(0.5), **options)
    for task, parameters in tasks.items():
        core.register(Registration.of(task, parameters))
    core.start()
    for task in tasks:
        core.join(task, 1)
    return core


def commit(core, task, iteration, values, absent=(), nonce=1):
    layout = core.members[task].parameters
    accepted = core.accept(task, iteration, nonce, layout.pack(values), absent)
    core.apply()
    return accepted


def w(core, name):
    return core.parameters()[name]


def test_equation_3_3():
    core = start_core({"a": {"x": array(1, 2)}, "b": {"x": array(1, 2)}})
    commit(core, "a", 0, {"x": array(0.25, 0)})
    commit(core, "b", 0, {"x": array(0.25, 1)})
    np.testing.assert_array_equal(w(core, "x"), [0.5, 1])
    commit(core, "b", 1, {"x": array(0, 0)})
    commit(core, "a", 1, {"x": array(1, 1)})
    np.testing.assert_array_equal(w(core, "x"), [0.5 - 1.25, 1 - 1.5])


def test_the_sum_is_taken_in_the_order_of_the_tasks_whoever_comes_first():
    parts = {"a": 1.0, "b": 1.0, "c": 2.0**24}  # 2**24 + 1 rounds to 2**24
    for order in ("abc", "cba", "bca"):
        core = start_core({task: {"x": array(0)} for task in order})
        for task in order:
            commit(core, task, 0, {"x": array(parts[task])})
        assert w(core, "x")[0] == -(2.0**24 + 2)


def test_a_head_of_one_task_never_waits_for_another():
    shared = {"shared": array(0)}
    core = start_core(
        {
            "a": {**shared, "head.a": array(0)},
            "b": {**shared, "head.b": array(0)},
            "c": {"z": array(0)},
        }
    )
    commit(core, "a", 0, {"shared": array(1), "head.a": array(1)})
    assert w(core, "head.a") == -1 and w(core, "shared") == 0 and w(core, "head.b") == 0
    assert core.version("a") == 0 and core.waiting_for("a") == ["b"]
    for iteration in range(5):
        commit(core, "c", iteration, {"z": array(1)})
    assert core.version("c") == 5 and core.waiting_for("c") == []
    with pytest.raises(errors.EarlyCommitError, match="version 0"):
        commit(core, "a", 1, {"shared": array(1), "head.a": array(1)})
    commit(core, "b", 0, {"shared": array(1), "head.b": array(2)})
    assert w(core, "shared") == -2 and core.version("a") == core.version("b") == 1


def test_a_chain_of_tasks_waits_only_for_neighbours():
    x, y = {"x": array(0)}, {"y": array(0)}
    core = start_core({"a": x, "b": {**x, **y}, "c": y})
    commit(core, "a", 0, {"x": array(1)})
    commit(core, "b", 0, {"x": array(1), "y": array(1)})
    commit(core, "a", 1, {"x": array(1)})
    assert core.version("a") == 1 and core.version("b") == 0 and core.waiting_for("b") == ["c"]
    commit(core, "c", 0, {"y": array(1)})
    assert core.version("b") == 1


def test_negative_zero_survives_the_sum():
    smallest = np.float32(-1.4e-45)
    core = start_core({"a": {"x": array(0)}, "b": {"x": array(0)}})
    for iteration, value in enumerate([smallest, -0.0, -0.0]):
        for task in "ab":
            commit(core, task, iteration, {"x": array(value)})
    # v = 0.5 * v + (-0 + -0), where 0.5 * v has underflown to -0; with a sum from 0 it were 0.
    assert np.signbit(snapshot(core)["state"]["velocity"]["x"])[0]


def test_a_name_without_contributions_is_frozen_not_decayed():
    both = {"x": array(0), "y": array(0)}
    core = start_core({"a": both, "b": both})
    for task in "ab":
        commit(core, task, 0, {"x": array(1), "y": array(1)})
    for task in "ab":
        commit(core, task, 1, {"x": array(np.nan), "y": array(0)}, absent=["x"])
    assert w(core, "x") == -2 and w(core, "y") == -3
    commit(core, "a", 2, {"x": array(1), "y": array(0)})
    commit(core, "b", 2, {"x": array(8), "y": array(0)}, absent=["x"])
    assert w(core, "x") == -2 - (0.5 * 2 + 1)


def test_float64_and_float32_share_a_core():
    parameters = {"x": array(1), "y": array(1, dtype=np.float64), "z": array(1)}
    core = start_core({"a": parameters, "b": parameters})
    third = {"x": array(1 / 3), "y": array(1 / 3, dtype=np.float64), "z": array(1)}
    for task in "ab":
        commit(core, task, 0, third)
    assert w(core, "y")[0] == 1 - (1 / 3 + 1 / 3)
    assert w(core, "x")[0] == np.float32(1) - (np.float32(1 / 3) + np.float32(1 / 3))
    assert w(core, "y").dtype == np.float64


@pytest.mark.parametrize("rule", [Momentum(0.9), Adam(0.01), LARS(0.1)])
def test_neighbours_in_an_arena_do_not_disturb_each_other(rule):
    """Every name ends as if it were alone, whatever lies beside it."""
    rng = np.random.default_rng(0)
    parameters = {f"n{i}": rng.standard_normal(i + 1).astype(np.float32) for i in range(5)}
    grads = [{n: rng.standard_normal(v.shape).astype(np.float32) for n, v in parameters.items()}
             for _ in range(4)]  # fmt: skip
    together = start_core({"a": parameters, "b": parameters}, rule)
    for t, grad in enumerate(grads):
        commit(together, "a", t, grad)
        commit(together, "b", t, grad)
    for name, value in parameters.items():
        alone = start_core({"a": {name: value}, "b": {name: value}}, rule)
        for t, grad in enumerate(grads):
            commit(alone, "a", t, grad)
            commit(alone, "b", t, grad)
        assert w(alone, name).tobytes() == w(together, name).tobytes()


# What is refused


def test_shapes_and_types_must_agree_and_nothing_is_half_registered():
    core = UpdateCore()
    core.register(Registration.of("a", {"x": np.zeros((2, 3), np.float32)}))
    wrong = {"y": array(0), "x": np.zeros((3, 2), np.float32)}
    with pytest.raises(errors.ShapeConflictError, match=r"\(3, 2\) in task b .*\(2, 3\) in task a"):
        core.register(Registration.of("b", wrong))
    with pytest.raises(errors.ShapeConflictError, match="float64"):
        core.register(Registration.of("b", {"x": np.zeros((2, 3))}))
    core.start()
    assert list(core.parameters()) == ["x"] and list(core.members) == ["a"]


def test_initial_values_must_agree_unless_someone_decides():
    def core(policy, order="ba"):
        core = UpdateCore(on_conflict=policy)
        for task in order:
            core.register(Registration.of(task, {"x": array(ord(task))}))
        core.start()
        return w(core, "x")[0]

    for order in ("ab", "ba"):
        with pytest.raises(errors.InitialValueConflictError, match="tasks . and ."):
            core("error", order)
        assert core("lowest-task", order) == ord("a")
        assert core("owner=b", order) == ord("b")
        with pytest.raises(errors.InitialValueConflictError):
            core("owner=c", order)
    with pytest.raises(ValueError, match="owner=TASK"):
        core("first")


@pytest.mark.parametrize(
    ("task", "parameters", "message"),
    [
        ("../a", {"x": array(0)}, "name of a task"),
        ("a", {"x/y": array(0)}, "cannot be a name"),
        ("a", {"x" * 201: array(0)}, "cannot be a name"),
        ("a", {"x": np.zeros(2, np.int64)}, "dtype"),
        ("a", {"x": np.zeros(2, ">f4")}, "dtype"),
        ("a", {"x": np.zeros((1,) * 9, np.float32)}, "axes"),
        ("a", {}, "no parameter"),
        ("a", {"x": array(np.nan)}, "NaN"),
        ("a", {"x": array(0, np.inf)}, "NaN"),
        ("a", {f"n{i}": array(0) for i in range(10_001)}, "over the limit"),
    ],
)
def test_registrations_that_cannot_be(task, parameters, message):
    with pytest.raises(errors.MultitaskError, match=message):
        Registration.of(task, parameters)


@pytest.mark.parametrize("shape", [[2**40], [2**62, 4], [0, 2**40], [-1], [2**32, 2**32]])
def test_shapes_that_cannot_be(shape):
    with pytest.raises(errors.RegistrationError, match="impossible"):
        Layout([("x", "<f4", shape)])


def test_names_twice_and_tasks_twice_or_too_late():
    with pytest.raises(errors.RegistrationError, match="twice"):
        Layout([("x", "<f4", [1]), ("x", "<f4", [1])])
    core = UpdateCore()
    core.register(Registration.of("a", {"x": array(0)}))
    with pytest.raises(errors.RegistrationError, match="already"):
        core.register(Registration.of("a", {"x": array(0)}))
    core.withdraw("a")
    core.register(Registration.of("a", {"x": array(0)}))
    core.start()
    with pytest.raises(errors.RegistrationError, match="too late"):
        core.register(Registration.of("b", {"x": array(0)}))


def test_commits_that_do_not_count():
    core = start_core({"a": {"x": array(0)}, "b": {"x": array(0)}})
    assert commit(core, "a", 0, {"x": array(1)})
    assert not commit(core, "a", 0, {"x": array(1)})  # the same again: acknowledged, not added
    with pytest.raises(errors.ConflictingCommitError):
        commit(core, "a", 0, {"x": array(2)})
    with pytest.raises(errors.ConflictingCommitError):
        commit(core, "a", 0, {"x": array(1)}, absent=["x"])
    with pytest.raises(errors.StaleSessionError):
        commit(core, "b", 0, {"x": array(1)}, nonce=2)
    with pytest.raises(errors.EarlyCommitError):
        commit(core, "b", 1, {"x": array(1)})
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(errors.NonFiniteError, match="iteration 0, in x"):
            commit(core, "b", 0, {"x": array(bad)})
    with pytest.raises(errors.ProtocolError):
        core.accept("b", 0, 1, np.zeros(8, np.uint8))
    with pytest.raises(errors.ProtocolError, match="not registered"):
        commit(core, "b", 0, {"x": array(1)}, absent=["y"])
    commit(core, "b", 0, {"x": array(1)})
    assert not commit(core, "b", 0, {"x": array(1)})  # also after it has been applied
    commit(core, "b", 1, {"x": array(1)})
    with pytest.raises(errors.LateCommitError):
        commit(core, "b", 0, {"x": array(1)})
    assert w(core, "x") == -2


def test_commits_before_the_start():
    core = UpdateCore()
    core.register(Registration.of("a", {"x": array(0)}))
    core.join("a", 1)
    with pytest.raises(errors.EarlyCommitError, match="not started"):
        core.accept("a", 0, 1, np.zeros(4, np.uint8))


def test_a_task_that_leaves_counts_for_what_it_committed_and_no_more():
    core = start_core({"a": {"x": array(0)}, "b": {"x": array(0)}})
    commit(core, "a", 0, {"x": array(1)})
    core.leave("a")
    commit(core, "b", 0, {"x": array(1)})
    assert w(core, "x") == -2
    commit(core, "b", 1, {"x": array(1)})
    assert w(core, "x") == -2 - (0.5 * 2 + 1)
    with pytest.raises(errors.TrainingStoppedError):
        commit(core, "a", 1, {"x": array(1)})
    assert core.join("a", 2) == 1 and not core.finished and core.iteration == 2
    core.leave("b", GIVEN_UP)
    assert core.finished
    with pytest.raises(errors.TrainingStoppedError):
        core.join("b", 2)


def test_leaving_releases_those_who_wait():
    core = start_core({"a": {"x": array(0)}, "b": {"x": array(0)}})
    commit(core, "a", 0, {"x": array(1)})
    assert core.ready() == []
    core.leave("b")
    assert core.ready() == ["x"] and core.apply() == ["x"] and core.ready() == []
    assert w(core, "x") == -1


# Coming back


def test_a_task_that_comes_back_goes_on_after_its_last_commit():
    core = start_core({"a": {"x": array(0)}, "b": {"x": array(0)}})
    assert core.join("a", 7) == 0
    commit(core, "a", 0, {"x": array(1)}, nonce=7)
    assert core.join("a", 8) == 1
    with pytest.raises(errors.StaleSessionError):
        commit(core, "a", 1, {"x": array(1)}, nonce=7)


def test_buffers_ride_on_commits():
    core = UpdateCore()
    mean = {"bn.mean": array(0, 0), "bn.count": np.zeros((), np.int64)}
    core.register(Registration.of("a", {"x": array(0)}, mean))
    core.start()
    core.join("a", 1)
    after = {"bn.mean": array(1, 2), "bn.count": np.array(3, np.int64)}
    packed = core.members["a"].buffers.pack(after)
    core.accept("a", 0, 1, np.zeros(4, np.uint8), (), packed)
    for name, value in core.buffers("a").items():
        np.testing.assert_array_equal(value, after[name])
    packed[0] ^= 1
    with pytest.raises(errors.ConflictingCommitError):
        core.accept("a", 0, 1, np.zeros(4, np.uint8), (), packed)


@pytest.mark.parametrize("rule", [Momentum(0.9), Adam(0.01), LARS(0.1)])
def test_a_restored_core_goes_on_with_the_same_bits_even_in_mid_iteration(rule):
    parameters = {"x": array(1, 2), "y": array(3)}
    core = start_core({"a": parameters, "b": {"x": array(1, 2)}}, rule)
    for t in range(3):
        commit(core, "a", t, {"x": array(t, 1), "y": array(t)})
        commit(core, "b", t, {"x": array(0.1, t)})
    commit(core, "a", 3, {"x": array(9, 7), "y": array(np.nan)}, absent=["y"])
    other = restore(snapshot(core), rule)
    assert other.join("a", 1) == 4 and other.join("b", 1) == 3
    for one in (core, other):
        commit(one, "b", 3, {"x": array(0.1, 5)})
        commit(one, "a", 4, {"x": array(1, 1), "y": array(1)})
        commit(one, "b", 4, {"x": array(1, 1)})
    for name in parameters:
        assert w(core, name).tobytes() == w(other, name).tobytes()


def test_a_snapshot_of_another_rule_or_kind_is_refused():
    tree = snapshot(start_core({"a": {"x": array(0)}}))
    with pytest.raises(errors.SnapshotError, match="momentum"):
        restore(tree, Momentum(0.9))
    with pytest.raises(errors.SnapshotError, match="not a snapshot"):
        restore({"weights": {}}, Momentum(0.5))
    del tree["weights"]["x"]
    with pytest.raises(errors.SnapshotError, match="contradicts"):
        restore(tree, Momentum(0.5))


def test_adam_counts_the_updates_of_each_name_as_pytorch_does():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    start = {name: rng.standard_normal(3).astype(np.float32) for name in ("x", "y")}
    weights = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    theirs = torch.optim.Adam(weights.values(), lr=0.05)
    core = start_core({"a": start, "b": start}, Adam(0.05))
    for iteration in range(12):
        # x rests in the beginning and y now and then; a and b need not rest together.
        resting = {"a": ["x"] * (iteration < 4) + ["y"] * (iteration % 3 == 1)}
        resting["b"] = ["x"] * (iteration < 5) + ["y"] * (iteration % 3 == 1)
        parts = {
            task: {name: rng.standard_normal(3).astype(np.float32) for name in start}
            for task in "ab"
        }
        for name, weight in weights.items():
            given = [parts[task][name] for task in "ab" if name not in resting[task]]
            weight.grad = torch.tensor(sum(given)) if given else None
        theirs.step()
        for task in "ab":
            commit(core, task, iteration, parts[task], absent=resting[task])
        if iteration == 6:
            core = restore(snapshot(core), Adam(0.05))
            for task in "ab":
                core.join(task, 1)
        for name, weight in weights.items():
            np.testing.assert_allclose(w(core, name), weight.detach().numpy(), rtol=1e-5, atol=1e-6)

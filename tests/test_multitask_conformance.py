"""One core, several transports and engines: in one process, Unix sockets, TCP and Ray; one hash."""

import contextlib
import importlib.util
import os
import sys

import pytest
from multitask_toys import die, explode, toy_task
from test_multitask_launch import QUICK, digest

import multitask
from multitask import errors
from multitask.engines import ray as engine
from multitask.wire.transport import HAS_UNIX

ITERATIONS = 10


def tasks():
    return [toy_task("b"), toy_task("a", 0.01), toy_task("c")]


@pytest.fixture(scope="module")
def expected():
    return multitask.run(tasks(), ITERATIONS, processes=False)


@pytest.fixture(scope="module")
def ray():
    """Ray on two cores of this machine, once for all tests of this file: a start takes seconds."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "lighthead[ray]"')
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 starves on a busy machine
    ray = engine.import_ray(private=True)
    with contextlib.ExitStack() as stack:
        for attempts_left in (2, 1, 0):
            try:
                stack.enter_context(engine.cluster(ray))
                break
            except Exception:  # Ray gives itself 30 s to start, too little for a busy machine
                if not attempts_left:
                    raise
                ray.shutdown()
        yield ray


def unix(folder):
    return {"folder": folder, "start_method": QUICK, "address": f"unix:{folder}/s"}


def tcp(folder):
    return {"folder": folder, "start_method": QUICK, "address": "127.0.0.1:0"}


@pytest.mark.parametrize(
    "options",
    [pytest.param(unix, marks=pytest.mark.skipif(not HAS_UNIX, reason="no AF_UNIX")), tcp],
)
def test_sockets(options, expected, tmp_path):
    result = multitask.run(tasks(), ITERATIONS, **options(tmp_path))
    assert digest(result) == digest(expected)


def test_on_ray(ray, expected):
    result = engine.run(tasks(), ITERATIONS)
    assert digest(result) == digest(expected)
    assert result.names == expected.names
    for task in "abc":
        told, known = result.history[task], expected.history[task]
        assert [entry["iteration"] for entry in told] == list(range(ITERATIONS))
        assert [entry["square"] for entry in told] == [entry["square"] for entry in known]


def test_rays_own_cluster_is_closed_to_strangers(ray):
    """A token is asked for, and nothing but this machine can connect."""
    assert os.environ["RAY_AUTH_MODE"] == "token" and os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    assert is_token_auth_enabled()
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}


class DieOnce:
    """A loss that kills its process once, before or after the commit of an iteration."""

    def __init__(self, loss, marker):
        self.loss, self.marker = loss, marker

    def __call__(self, model, iteration):
        if iteration == 4 and not os.path.exists(self.marker):
            open(self.marker, "w").close()
            die(model, iteration)
        return self.loss(model, iteration)


def two():
    return [toy_task("b"), toy_task("a")]


@pytest.fixture(scope="module")
def expected_of_two():
    return digest(multitask.run(two(), ITERATIONS, processes=False))


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_site_on_ray_may_die(ray, expected_of_two, tmp_path):
    b, a = two()
    dying = toy_task("b", loss=DieOnce(b.loss, str(tmp_path / "died")))
    result = engine.run([a, dying], ITERATIONS)
    assert (tmp_path / "died").exists() and digest(result) == expected_of_two


@pytest.mark.nightly
@pytest.mark.parametrize("moment", ["commit", "pull"])
def test_a_site_on_ray_may_die_after_its_commit(ray, expected_of_two, monkeypatch, moment):
    """The server has counted the commit, whether the driver has heard of that or not."""
    driver = engine.Driver(ray, two(), multitask.Momentum(), 0, "error", max_restarts=2)
    original = driver._get
    deaths = []

    def get(call):
        answer = original(call)
        is_commit = isinstance(answer, dict) and answer.get("event") == "commit"
        if is_commit and answer["iteration"] == 4 and answer["task"] == "b" and not deaths:
            deaths.append("b")
            ray.kill(driver.sites["b"])
            if moment == "commit":
                raise ray.exceptions.RayActorError()
        return answer

    monkeypatch.setattr(driver, "_get", get)
    result = driver.train(ITERATIONS, None, 100)
    driver.stop()
    assert deaths and digest(result) == expected_of_two


def test_the_server_on_ray_may_die(ray, expected_of_two, tmp_path, monkeypatch):
    kills = []
    step = engine.Driver.step

    def step_and_kill(self, iteration):
        if iteration == 5 and not kills:
            kills.append(iteration)
            ray.kill(self.server)
        return step(self, iteration)

    monkeypatch.setattr(engine.Driver, "step", step_and_kill)
    result = engine.run(two(), ITERATIONS, folder=tmp_path, snapshot_every=3)
    assert kills and digest(result) == expected_of_two
    # Once more: it is all on the disk.
    assert digest(engine.run(two(), ITERATIONS, folder=tmp_path)) == expected_of_two


def test_errors_of_actors_arrive_as_they_are(ray):
    with pytest.raises(errors.NonFiniteError, match="task a .* iteration 0"):
        engine.run([toy_task("a", lr=float("nan"))], 5)
    with pytest.raises(errors.MultitaskError, match="ZeroDivisionError"):
        engine.run([toy_task("a", loss=explode)], 5)
    with pytest.raises(errors.MultitaskError, match="task a has died, and no restarts"):
        engine.run([toy_task("a", loss=die)], 5, max_restarts=0)


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(errors.MultitaskError, match=r'pip install "lighthead\[ray\]"'):
        engine.run(tasks(), 1)

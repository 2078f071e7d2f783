"""A state machine: random calls of the update core beside an oracle of dictionaries and loops.

The oracle keeps every commit ever made and computes each name's value from the beginning, one
scalar at a time, whenever it is asked.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from multitask import errors
from multitask.core.registration import Registration
from multitask.core.rules import Momentum
from multitask.core.segments import FINISHED, GIVEN_UP
from multitask.core.state import restore, snapshot
from multitask.core.update_core import UpdateCore
from nn.kernels import twins

BETA = 0.75
SHAPES = {"s": (2,), "t": (), "u": (1, 3), "w": (2,)}
DTYPES = {"s": np.float32, "t": np.float64, "u": np.float32, "w": np.float32}
TASKS = "abc"
NAMES = st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=3, unique=True)


class Oracle:
    """Everything that was committed, in dictionaries."""

    def __init__(self, names):
        self.names = names  # of each task
        self.commits = {task: [] for task in names}  # of each: a dict name -> list of scalars
        self.gone = {}  # task -> why

    def owners(self, name):
        return sorted(task for task, names in self.names.items() if name in names)

    def version(self, name):
        """How many iterations everybody has committed or will never commit."""
        counts = {task: len(self.commits[task]) for task in self.owners(name)}
        staying = [count for task, count in counts.items() if task not in self.gone]
        return min(staying) if staying else max(counts.values())

    def task_version(self, task):
        return min(self.version(name) for name in self.names[task])

    def weight(self, name):
        real = DTYPES[name]
        size = int(np.prod(SHAPES[name]))
        weights, velocities = [real(1)] * size, [real(0)] * size
        for t in range(self.version(name)):
            parts = [
                self.commits[task][t][name]
                for task in self.owners(name)
                if t < len(self.commits[task]) and name in self.commits[task][t]
            ]
            for k in range(size if parts else 0):
                total = parts[0][k]
                for part in parts[1:]:
                    total = total + part[k]
                velocities[k] = real(BETA) * velocities[k] + total
                weights[k] = weights[k] - velocities[k]
        return np.array(weights, real).reshape(SHAPES[name])


class CoreMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.core = UpdateCore(Momentum(BETA))
        self.names, self.oracle, self.saved, self.nonce = {}, None, None, 0
        # Snapshots leave out contributions that have been applied; a repetition is then refused.
        self.forgotten = set()
        self.twins = twins()
        self.twins.__enter__()

    def teardown(self):
        self.twins.__exit__(None, None, None)

    @initialize(first=NAMES, second=NAMES, third=NAMES, count=st.integers(1, 3))
    def start(self, first, second, third, count):
        self.names = dict(zip(TASKS[:count], [first, second, third], strict=False))
        for task in reversed(self.names):
            arrays = {name: np.ones(SHAPES[name], DTYPES[name]) for name in self.names[task]}
            self.core.register(Registration.of(task, arrays))
        self.core.start()
        self.oracle = Oracle(self.names)
        self.join_all()

    def join_all(self):
        self.nonce += 1
        for task in self.names:
            if self.oracle.gone.get(task) == GIVEN_UP:
                with pytest.raises(errors.TrainingStoppedError):
                    self.core.join(task, self.nonce)
            else:
                assert self.core.join(task, self.nonce) == len(self.oracle.commits[task])

    def pack(self, task, values):
        layout = self.core.members[task].parameters
        full = {name: np.full(SHAPES[name], np.nan, DTYPES[name]) for name in layout}
        for name, scalars in values.items():
            full[name] = np.array(scalars, DTYPES[name]).reshape(SHAPES[name])
        return layout.pack(full), [name for name in layout if name not in values]

    @rule(data=st.data(), task=st.sampled_from(TASKS), which=st.sampled_from((-1, 0, 0, 0, 0, 1)))
    def commit(self, data, task, which):
        if task not in self.names:
            return
        t = len(self.oracle.commits[task]) + which
        present = data.draw(
            st.sets(st.sampled_from(self.names[task])) | st.just(set(self.names[task]))
        )
        floats = st.floats(-8, 8, width=16)
        values = {
            name: [DTYPES[name](data.draw(floats)) / 3 for _ in range(int(np.prod(SHAPES[name])))]
            for name in sorted(present)
        }
        self.send(task, t, values)

    def send(self, task, t, values):
        contributions, absent = self.pack(task, values)
        commits = self.oracle.commits[task]
        expected = None
        if task in self.oracle.gone:
            expected = errors.TrainingStoppedError
        elif t < len(commits):
            same = t == len(commits) - 1 >= 0 and repr(commits[t]) == repr(values)
            same = same and task not in self.forgotten
            expected = None if same else (errors.ConflictingCommitError, errors.LateCommitError)
        elif t > self.oracle.task_version(task) or t > len(commits):
            expected = errors.EarlyCommitError
        if expected:
            with pytest.raises(expected):
                self.core.accept(task, t, self.nonce, contributions, absent)
        else:
            new = self.core.accept(task, t, self.nonce, contributions, absent)
            assert new == (t == len(commits))
            if new:
                commits.append(values)
                self.forgotten.discard(task)

    @rule(task=st.sampled_from(TASKS))
    def commit_twice(self, task):
        # Repeats the last commit, whose answer was lost on the way.
        if self.oracle.commits.get(task) and task not in self.oracle.gone:
            contributions, absent = self.pack(task, self.oracle.commits[task][-1])
            t = len(self.oracle.commits[task]) - 1
            if task not in self.forgotten:
                assert not self.core.accept(task, t, self.nonce, contributions, absent)

    @rule(task=st.sampled_from(TASKS))
    def commit_nan(self, task):
        if task in self.names and task not in self.oracle.gone:
            t = len(self.oracle.commits[task])
            if t <= self.oracle.task_version(task):
                name = self.names[task][0]
                contributions, absent = self.pack(task, {name: np.full(SHAPES[name], np.inf)})
                with pytest.raises(errors.NonFiniteError):
                    self.core.accept(task, t, self.nonce, contributions, absent)

    @rule(task=st.sampled_from(TASKS))
    def old_session(self, task):
        if task in self.names and task not in self.oracle.gone:
            contributions, absent = self.pack(task, {})
            with pytest.raises(errors.StaleSessionError):
                self.core.accept(task, 0, self.nonce - 1, contributions, absent)

    @rule(task=st.sampled_from(TASKS))
    def reconnect(self, task):
        self.join_all()

    @rule(task=st.sampled_from(TASKS), dice=st.integers(0, 9))
    def leave(self, task, dice):
        if task in self.names and task not in self.oracle.gone and dice < 2:
            self.oracle.gone[task] = [FINISHED, GIVEN_UP][dice]
            self.core.leave(task, self.oracle.gone[task])

    @rule()
    def save(self):
        commits = {task: list(commits) for task, commits in self.oracle.commits.items()}
        self.saved = snapshot(self.core), commits, dict(self.oracle.gone)

    @precondition(lambda self: self.saved)
    @rule()
    def crash_and_restore(self):
        tree, commits, gone = self.saved
        self.core = restore(tree, Momentum(BETA))
        self.oracle.commits = {task: list(kept) for task, kept in commits.items()}
        self.oracle.gone = dict(gone)
        self.forgotten = {
            task for task in self.names if self.oracle.task_version(task) == len(commits[task])
        }
        self.join_all()

    @invariant()
    def the_same_weights(self):
        self.core.apply()
        assert self.core.ready() == []
        for name, value in self.core.parameters().items():
            assert value.tobytes() == self.oracle.weight(name).tobytes(), name
        for task in self.names:
            assert self.core.version(task) == self.oracle.task_version(task)


def examples(count, steps):
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class TestCore(CoreMachine.TestCase):
    settings = examples(100, 40)


@pytest.mark.nightly
class TestCoreAtLength(CoreMachine.TestCase):
    settings = examples(2000, 50)

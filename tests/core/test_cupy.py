"""The engine cupy: one answer whatever a card has room for, and plain words where there is none."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator

import fake_cupy
import numpy as np
import pytest
from conftest import land_cover
from fake_cupy import FakeCupy, OutOfMemoryError, StatusError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cupy_kernels import answer as backend_answer
from test_cupy_kernels import assert_same, let_stay, problem
from test_one_answer import Way, answer, series_values

from iikmc.core import Monitor, available_backends, cluster, errors, open_series
from iikmc.core.backends import base, cupy_card, cupy_cards, cupy_found, cupy_kernels
from iikmc.core.backends.base import CARD_PIXELS, open_backend, resolve_engine
from iikmc.core.backends.cupy import LIMIT_VARIABLE, CupyBackend
from iikmc.core.backends.numpy import NumpyBackend

needs_compiler = pytest.mark.skipif(fake_cupy.COMPILER is None, reason=fake_cupy.NO_COMPILER)


class Listener(Monitor):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupy]:
    """Install a CuPy without a card; in the end all memory must be given back, whole."""
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    yield fake
    gc.collect()  # an error's traceback holds what it came from
    fake.check()


@needs_compiler
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_way_of_running_on_cards_gives_the_same_bits(data, tmp_path_factory, monkeypatch):
    scenes = data.draw(series_values())
    options = {
        "classes": data.draw(st.integers(2, 3)),
        "init": data.draw(st.sampled_from(["minmax", "k-means++"])),
        "empty": data.draw(st.sampled_from(["keep", "relocate", "drop"])),
        "max_iter": data.draw(st.sampled_from([1, 2, 30])),
        "strategy": data.draw(st.sampled_from(["full", "progressive", "sample", "mini-batch"])),
        "sample_fraction": 0.5,
    }
    way = Way(
        engine="cupy",
        threads=data.draw(st.sampled_from([1, 2, 5])),
        block_pixels=data.draw(st.sampled_from([37, 256, 1 << 20])),
        memory_mb=data.draw(st.sampled_from([None, 1])),
        order=tuple(data.draw(st.permutations(range(len(scenes))))),
        dtype=data.draw(st.sampled_from(["uint16", "int16", "int32", "float32"])),
    )
    fake = FakeCupy(cards=data.draw(st.integers(1, 3)))
    folder = tmp_path_factory.mktemp("ways")
    expected = answer(folder / "a", scenes, Way(), monkeypatch, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", fake)
        let_stay(patch, data.draw(st.sampled_from([0, 1, 99])))
        found = answer(folder / "b", scenes, way, monkeypatch, **options)
    assert fake.launches
    fake.check()
    assert found == expected


@needs_compiler
@pytest.mark.parametrize("failing", [1, 3, 6, 9])
def test_a_card_without_room_is_tried_again_with_less(failing, cupy):
    """Whichever allocation fails: a block passes through then, or all begins anew with less."""
    task, monitor = problem(1, 3, 8), Listener()
    cupy.refuse = lambda number: number == failing
    backend = CupyBackend(2)
    backend.prepare(task.blocks, task.scenes, monitor)
    partials = [backend.step(scores) for scores in task.steps]
    assert isinstance(backend._inner, cupy_cards.Cards)
    assert monitor.warnings == []
    reference = backend_answer(NumpyBackend(1), task)
    assert [p.changed for p in partials] == [p.changed for p in reference.partials]
    backend.close()


@needs_compiler
@pytest.mark.parametrize("before", [0, 1, 2])
def test_without_any_room_another_engine_goes_on_with_the_same_answer(before, cupy):
    """So many steps are taken on the card; from then on it is full."""
    task, monitor = problem(2, 3, 8), Listener()
    expected = backend_answer(NumpyBackend(1), task)

    class Filled(CupyBackend):
        def prepare(self, blocks, scenes, unused):
            super().prepare(blocks, scenes, monitor)

        def step(self, scores):
            if sum(scores is step for step in task.steps[before:]):
                cupy.refuse = lambda number: True
                cupy.launch_error = lambda number: OutOfMemoryError("Out of memory.\nMore.")
            return super().step(scores)

    assert_same(backend_answer(Filled(2), task), expected)
    assert len(monitor.warnings) == 1
    assert monitor.warnings[0].startswith("The card has too little free memory (Out of memory")
    assert "the engine numba goes on" in monitor.warnings[0] or "numpy" in monitor.warnings[0]
    assert len([text for text in monitor.messages if "trying again" in text]) <= 2


@needs_compiler
def test_a_card_that_fills_up_in_the_middle_of_a_step_loses_nothing(cupy, monkeypatch):
    """Some labels of the step are already written when a later launch fails."""
    let_stay(monkeypatch, 1)
    task = problem(3, 3, 8)
    expected = backend_answer(NumpyBackend(1), task)
    failing = StatusError(2, "cudaErrorMemoryAllocation: out of memory")
    for failed in range(2, 9):
        cupy.launches = 0
        cupy.launch_error = lambda number, failed=failed: failing if number == failed else None
        assert_same(backend_answer(CupyBackend(2), task), expected)
    failing.__traceback__ = None


@needs_compiler
def test_a_card_that_is_full_for_the_next_blocks_knows_nothing_of_the_last(cupy):
    first, second = problem(9, 6, 8), problem(10, 3, 8)
    backend = CupyBackend(2)
    backend.prepare(first.blocks, 2, Listener())
    backend.step(first.steps[0])
    cupy.refuse = lambda number: True
    assert_same(backend_answer(backend, second), backend_answer(NumpyBackend(1), second))


@needs_compiler
@pytest.mark.parametrize(
    "error", [fake_cupy.CompileException("an error\nin a line"), fake_cupy.NVRTCError("too much")]
)
def test_a_kernel_that_cannot_be_compiled_is_said_in_a_sentence(error, cupy):
    task = problem(4, 3, 8)
    backend = CupyBackend(1)
    backend.prepare(task.blocks, task.scenes, Monitor())
    cupy.compile_error = error
    with pytest.raises(
        errors.EngineError, match=r"not compile the kernels \((an error|too much)\)"
    ):
        backend.step(task.steps[0])
    backend.close()
    error.__traceback__ = None


@needs_compiler
def test_an_error_of_the_card_is_said_in_a_sentence(cupy):
    task = problem(4, 3, 8)
    cupy.launch_error = lambda number: StatusError(702, "cudaErrorLaunchTimeout: it timed out")
    backend = CupyBackend(1)
    backend.prepare(task.blocks, task.scenes, Monitor())
    with pytest.raises(errors.EngineError, match=r"cudaErrorLaunchTimeout.*engine numba or numpy"):
        backend.step(task.steps[0])
    backend.close()


@needs_compiler
def test_blocks_are_spread_over_all_cards_up_to_the_limit(monkeypatch):
    fake = FakeCupy(cards=3)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(cupy_cards, "_LANE_BYTES", 1 << 16)
    task = problem(5, 6, 8, pixels=[900] * 12)
    # A block takes 12,160 bytes with its labels; two lanes and what steps need take the rest.
    backend = CupyBackend(2, limit=3 * 12_288 + (2 << 16) + 90_000)
    backend.prepare(task.blocks, task.scenes, Monitor())
    homes = backend._inner._homes
    assert {homes.count(card) for card in range(3)} <= {2, 3, 4}
    assert homes.count(-1) == 12 - backend._inner.resident > 0
    assert all(card._pool.used <= card.limit for card in backend._inner._cards)
    for scores in task.steps:
        backend.step(scores)
    backend.close()
    assert_same(backend_answer(CupyBackend(2), task), backend_answer(NumpyBackend(1), task))
    fake.check()


def test_the_environment_limits_the_memory_taken(cupy, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "3")
    task = problem(6, 1, 2)
    backend = CupyBackend(1)
    backend.prepare(task.blocks, task.scenes, Monitor())
    assert backend._inner.limit == 3 << 20
    backend.close()
    for wrong in ("half", "-1", "0", "1.5"):
        monkeypatch.setenv(LIMIT_VARIABLE, wrong)
        with pytest.raises(errors.ParameterError, match=r"IIKMC_GPU_MEMORY_MB is .* number of MiB"):
            CupyBackend(1)


def test_a_display_keeps_some_memory(monkeypatch):
    for memory, taken in ((1 << 30, (1 << 30) - (64 << 20)), (80 << 30, (80 << 30) - (512 << 20))):
        fake = FakeCupy(memory=memory)
        assert cupy_card.Card(fake, 0, None).limit == taken


@needs_compiler
def test_a_cancel_is_answered_within_a_second(cupy, monkeypatch):
    let_stay(monkeypatch, 0)
    monkeypatch.setattr(cupy_cards, "_LANE_BYTES", 1 << 13)
    monkeypatch.setattr(cupy_cards, "_LEAST_LANE_BYTES", 1 << 13)
    asked: list[float] = []

    class Impatient(Monitor):
        def cancelled(self) -> bool:
            if len(asked) == 1 and time.perf_counter() - asked[0] > 0.2:
                asked.append(time.perf_counter())
            return len(asked) > 1

    slowly = fake_cupy.Stream.synchronize

    def synchronize(stream):  # as if each part took a while: all together take half a minute
        if asked:
            time.sleep(0.05)
        slowly(stream)

    monkeypatch.setattr(fake_cupy.Stream, "synchronize", synchronize)
    task = problem(7, 3, 8, pixels=[400_000])
    backend = CupyBackend(2)
    backend.prepare(task.blocks, task.scenes, Impatient())
    asked.append(time.perf_counter())
    with pytest.raises(errors.Cancelled):
        backend.step(task.steps[0])
    assert time.perf_counter() - asked[1] < 1.0
    asked.clear()
    backend.close()


@needs_compiler
def test_long_work_on_blocks_that_stay_is_done_in_rounds_between_which_a_cancel_is_seen(
    cupy, monkeypatch
):
    monkeypatch.setattr(cupy_card, "_MOST_TERMS", 1)
    monkeypatch.setattr(cupy_kernels, "_CHUNK", 64)

    class Stopping(Monitor):
        def cancelled(self) -> bool:
            return cupy.launches >= 5

    task = problem(12, 3, 8)
    backend = CupyBackend(1)
    backend.prepare(task.blocks, 2, Stopping())
    with pytest.raises(errors.Cancelled):
        backend.step(task.steps[0])
    assert cupy.launches == 5
    assert not any(card.stream._waiting for card in backend._inner._cards)
    backend.close()


@needs_compiler
def test_the_engine_cupy_runs_where_there_is_a_card(cupy, make_scene):
    scene = make_scene("s_2020-01-01", land_cover(1))
    monitor = Listener()
    with open_series([scene]) as series:
        model = cluster(series, classes=3, engine="cupy", max_iter=3, monitor=monitor)
    assert "cupy" in available_backends()
    assert any(text.startswith("Engine: cupy") for text in monitor.messages)
    assert model.run.engine == "cupy"


def no_package(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


def status(code: int, text: str = "cudaErrorX: why"):
    def change(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
        def fail() -> int:
            raise StatusError(code, text)

        fake.found_cards = fail

    return change


def no_driver(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
    status(35)(monkeypatch, fake)
    fake.driver = 0


def old_driver(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
    status(35)(monkeypatch, fake)
    fake.driver = 11040


def hidden(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
    fake.found_cards = lambda: 0


def busy(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
    fake.start_error = StatusError(46, "cudaErrorDevicesUnavailable: busy")


def full(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
    fake.start_error = StatusError(2, "cudaErrorMemoryAllocation: out of memory")


def other_toolkit(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
    def fail() -> tuple[int, int]:
        raise RuntimeError("CuPy failed to load libnvrtc.so.12\nand more")

    monkeypatch.setattr(fake.cuda.nvrtc, "getVersion", fail)


def no_kernels(error: Exception):
    def change(monkeypatch: pytest.MonkeyPatch, fake: FakeCupy) -> None:
        fake.compile_error = error

    return change


NO_HEADERS = RuntimeError("Failed to find CUDA headers. Please install CUDA toolkit headers.")
TOO_OLD = fake_cupy.CompileException("nvrtc: error: invalid value for --gpu-architecture\n")
TOO_NEW = StatusError(209, "CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available")
NO_CACHE = PermissionError(13, "Permission denied", "/home/someone/.cupy")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_package, r"package cupy cannot be imported .*install the CuPy of your CUDA"),
        (no_driver, r"no NVIDIA driver was found: install the one for your card"),
        (old_driver, r"driver knows CUDA up to 11\.4 and this CuPy is for CUDA 12\.4.*cuda11x"),
        (status(100), r"no NVIDIA card was found"),
        (status(999), r"driver does not answer \(cudaErrorX: why\)"),
        (hidden, r"no NVIDIA card was found; is it hidden by CUDA_VISIBLE_DEVICES\?"),
        (busy, r"card 0 cannot be used now \(another program has it for itself\)"),
        (full, r"card 0 cannot be used now \(cudaErrorMemoryAllocation: out of memory\)"),
        (
            other_toolkit,
            r"no compiler \(NVRTC\) of its CUDA \(CuPy failed to load libnvrtc\.so\.12\)",
        ),
        (no_kernels(NO_HEADERS), r"cannot make kernels for card 0.*CUDA headers.*cupy-cuda12x"),
        (no_kernels(TOO_OLD), r"capability 6\.1 \(nvrtc: error: .*version that knows this card"),
        (no_kernels(TOO_NEW), r"cannot make kernels for card 0.*CUDA_ERROR_NO_BINARY_FOR_GPU"),
        (no_kernels(NO_CACHE), r"cannot make kernels for card 0.*Permission denied: '/home"),
        (no_kernels(StatusError(2)), r"card 0 cannot be used now"),
    ],
)
def test_why_there_is_no_card_to_use_is_said_before_any_work(change, words, cupy, monkeypatch):
    change(monkeypatch, cupy)
    with pytest.raises(errors.EngineError, match=words) as caught:
        resolve_engine("cupy")
    assert str(caught.value).startswith("The engine 'cupy' cannot run here: ")
    assert str(caught.value).endswith("or choose the engine auto.")
    assert "\n" not in str(caught.value)
    assert "cupy" not in available_backends()
    assert resolve_engine("auto", CARD_PIXELS) in ("numba", "numpy")


@needs_compiler
def test_auto_takes_the_card_for_series_large_enough(cupy):
    assert resolve_engine("auto", CARD_PIXELS) == "cupy"
    assert resolve_engine("auto", CARD_PIXELS - 1) != "cupy"
    assert resolve_engine("auto") != "cupy"
    assert resolve_engine("cupy") == "cupy"
    assert isinstance(open_backend("cupy", 1), CupyBackend)


def test_a_small_series_does_not_wake_the_card(cupy, monkeypatch):
    monkeypatch.setattr(cupy_found, "trouble", lambda: pytest.fail("the card was looked at"))
    assert resolve_engine("auto", 1000) in base.ENGINES


def test_no_pixels_at_all_are_no_trouble(cupy):
    backend = CupyBackend(2)
    backend.prepare((), 2, Monitor())
    task = problem(8, 3, 8)
    partials = backend.step(task.steps[0])
    assert partials.changed == 0 and not partials.counts.any()
    np.testing.assert_array_equal(partials.counts.shape, (2, 8))
    backend.close()

"""Work on threads: results in order, and nothing runs on after a cancel or an error."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iikmc.core.errors import Cancelled, ParameterError
from iikmc.core.monitor import Monitor
from iikmc.core.parallel import ordered_map, share_out, thread_count


class Stopper(Monitor):
    """Cancels once ``event`` is set; notes the threads it is asked on."""

    def __init__(self):
        self.event = threading.Event()
        self.threads = set()

    def cancelled(self):
        self.threads.add(threading.get_ident())
        return self.event.is_set()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_thread_counts():
    assert thread_count(3) == 3
    assert thread_count(None) == thread_count(0) >= 1
    with pytest.raises(ParameterError, match="threads is -1; expected 0"):
        thread_count(-1)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([0.0, 0.002]), max_size=30), st.integers(1, 9))
def test_results_come_in_the_order_of_the_items(pauses, ahead):
    def work(item):
        number, pause = item
        time.sleep(pause)
        return number

    with ThreadPoolExecutor(4) as pool:
        found = list(ordered_map(pool, work, enumerate(pauses), Monitor(), ahead=ahead))
    assert found == list(range(len(pauses)))


def test_no_more_than_ahead_items_are_begun_before_they_are_wanted(pool):
    begun = []
    results = ordered_map(pool, begun.append, iter(range(100)), Monitor(), ahead=3)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 4
    results.close()


def test_the_monitor_and_the_poll_are_called_on_the_calling_thread(pool):
    monitor, polled = Stopper(), []
    results = ordered_map(
        pool, time.sleep, [0.15] * 4, monitor, ahead=4, poll=lambda: polled.append(get_thread())
    )
    list(results)
    assert monitor.threads == set(polled) == {get_thread()}
    assert len(polled) >= 4


def get_thread():
    return threading.get_ident()


def test_a_cancel_answers_at_once_and_leaves_nothing_running(pool):
    monitor, stop, begun, ended = Stopper(), threading.Event(), [], []

    def work(item):
        begun.append(item)
        stop.wait(20)
        ended.append(item)

    threading.Timer(0.1, monitor.event.set).start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        list(ordered_map(pool, work, range(100), monitor, ahead=8, stop=stop))
    assert time.monotonic() - start < 1
    assert sorted(begun) == sorted(ended) == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [0, 5])
def test_an_error_is_passed_on_and_nothing_further_is_begun(pool, bad):
    begun = []

    def work(item):
        begun.append(item)
        if item == bad:
            raise OSError(f"item {item}")

    with pytest.raises(OSError, match=f"item {bad}"):
        list(ordered_map(pool, work, range(1000), Monitor(), ahead=4))
    count = len(begun)
    time.sleep(0.05)
    assert count == len(begun) <= bad + 5


def test_leaving_early_waits_for_what_is_under_way(pool):
    ended = []

    def work(item):
        time.sleep(0.05)
        ended.append(item)

    results = ordered_map(pool, work, range(100), Monitor(), ahead=4)
    next(results)
    results.close()
    count = len(ended)
    time.sleep(0.1)
    assert count == len(ended) <= 8


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 200), st.integers(1, 6))
def test_every_index_is_worked_on_once_and_a_worker_does_one_at_a_time(count, workers):
    busy = [threading.Lock() for _ in range(workers)]
    done = []

    def work(worker, index):
        assert busy[worker].acquire(blocking=False)
        done.append(index)
        busy[worker].release()

    with ThreadPoolExecutor(workers) as pool:
        share_out(pool, workers, work, count, Monitor())
    assert sorted(done) == list(range(count))


@pytest.mark.parametrize("bad", [0, 3])
def test_an_error_of_any_worker_stops_the_others(pool, bad):
    done = []

    def work(worker, index):
        time.sleep(0.005)
        done.append(index)
        if worker == bad:
            raise ValueError(f"worker {bad}")

    with pytest.raises(ValueError, match=f"worker {bad}"):
        share_out(pool, 4, work, 400, Monitor())
    assert len(done) <= 100


def test_a_cancel_stops_sharing_out(pool):
    monitor, done = Stopper(), []

    def work(worker, index):
        time.sleep(0.01)
        done.append(index)

    threading.Timer(0.1, monitor.event.set).start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        share_out(pool, 4, work, 100_000, monitor)
    assert time.monotonic() - start < 1
    count = len(done)
    time.sleep(0.05)
    assert count == len(done)

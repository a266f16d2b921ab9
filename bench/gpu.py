"""The engine cupy on the card at hand: checked against NumPy, then timed beside peers.

Needs NumPy and CuPy alone, beside this checkout's core/: no QGIS, no rasterio. The table's ratios
are of one run; the bandwidths that times are held against are measured in that run, too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
JOB_PIXELS, JOB_ITERATIONS = 40_650_000, 51
STREAMED_PIXELS, STREAMED_LIMIT = 203_200_000, 1 << 30
BLOCK_PIXELS = 1 << 20
REPEATS = 20
SCENES = 5
FILLING = "to look at the codes and fill the card"


def find_engine() -> None:
    """Make iikmc.core's modules importable without its own imports, which need rasterio."""
    for name, folder in (("iikmc", ROOT), ("iikmc.core", ROOT / "core")):
        module = types.ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module


find_engine()
from iikmc.core.backends.base import Yardstick  # noqa: E402
from iikmc.core.backends.cupy_cards import Cards  # noqa: E402
from iikmc.core.backends.cupy_found import trouble  # noqa: E402
from iikmc.core.backends.cupy_kernels import KernelShape  # noqa: E402
from iikmc.core.backends.numpy import NumpyBackend  # noqa: E402
from iikmc.core.grid import Window  # noqa: E402
from iikmc.core.monitor import Monitor  # noqa: E402
from iikmc.core.pixels import Block  # noqa: E402
from iikmc.core.scores import NEVER, Scores  # noqa: E402
from iikmc.core.scratch import Shelf  # noqa: E402


@dataclass
class Row:
    """One line of the table; ``share`` of ``of`` should be at least or at most ``limit``."""

    what: str
    who: str
    seconds: float
    gigabytes: float = 0.0
    share: float = 0.0
    of: str = ""
    limit: str = ""
    met: bool | None = None

    def text(self) -> str:
        rate = f"{self.gigabytes / self.seconds:8,.0f} GB/s" if self.gigabytes else " " * 13
        share = f"{self.share:7.2f} of {self.of}" if self.of else ""
        verdict = (
            "" if self.met is None else f" (to reach: {self.limit}) {'✓' if self.met else '✗'}"
        )
        time_ = f"{self.seconds * 1e3:10.3f} ms"
        return f"{self.what:44} {self.who:22} {time_} {rate} {share}{verdict}"


@dataclass(frozen=True)
class Card:
    """What was measured of the card, in bytes and operations a second."""

    copy: float
    upload: float
    float32: float


# --- problems -------------------------------------------------------------------------------------


def spectra(pixels: int, bands: int, seed: int = 1, wide: bool = False) -> list[Block]:
    """Return blocks of patches of twelve covers with noise: uint16, or int32 codes if ``wide``."""
    rng = np.random.default_rng(seed)
    covers = rng.integers(500, 9000, (12, bands))
    size = min(pixels, BLOCK_PIXELS)
    patches = covers[rng.integers(0, 12, -(-size // 64)).repeat(64)[:size]].T
    base = patches + rng.normal(0.0, 250.0, (bands, size))
    base = np.clip(base, 1, 65_535).astype(np.int32 if wide else np.uint16)
    if wide:
        base = base * 401 - 9_000_000
    shelf, blocks = Shelf(1 << 62), []
    for start in range(0, pixels, size):
        count = min(size, pixels - start)
        moved = np.roll(base, 64 * int(rng.integers(0, size)), axis=1)[:, :count]
        codes = np.ascontiguousarray(moved)
        codes += codes.dtype.type(len(blocks) % 7)
        scene = start * SCENES // pixels
        blocks.append(Block(scene, Window(0, 0, 1, count), shelf.put(codes), None))
    return blocks


def middles_of(blocks: list[Block]) -> tuple[np.ndarray, int]:
    """Return the mid-points of the bands, (bands,), and how far codes may be from them."""
    codes = blocks[0].codes.load()
    reach = 65_535 if codes.dtype == np.uint16 else 1 << 26
    return np.median(codes, axis=1).astype(np.int64), reach


def first_centres(blocks: list[Block], classes: int) -> np.ndarray:
    """Return centres on pixels of the first block, a little beside them, (classes, bands)."""
    codes = blocks[0].codes.load()
    places = np.linspace(0, codes.shape[1] - 1, classes).astype(int)
    return codes[:, places].T.astype(np.float64) + np.arange(classes)[:, None] / 7.0


def scores_of(centres: np.ndarray, scenes: int, middles: np.ndarray, reach: int) -> Scores:
    """Return integer scores of centres, whose partial sums stay below 2^53."""
    away = centres - middles
    scale = 2.0 ** np.floor(np.log2(2.0**52 / (3.0 * centres.shape[1] * float(reach) ** 2)))
    q = np.rint(2.0 * scale * away).astype(np.int64)
    n = np.rint(scale * (away**2).sum(axis=1)).astype(np.int64)
    return Scores(np.stack([q] * scenes), np.stack([n] * scenes), middles, np.full(scenes, scale))


def iterate(
    backend: Any, middles: np.ndarray, reach: int, centres: np.ndarray, count: int
) -> Iterator[Any]:
    """Take so many iterations of k-means; yield the scores and sums of each."""
    for _ in range(count):
        scores = scores_of(centres, SCENES, middles, reach)
        partials = backend.step(scores)
        yield scores, partials
        counts = partials.counts.sum(axis=0)
        means = partials.sums.sum(axis=0) / np.maximum(counts, 1)[:, None]
        centres = np.where((counts > 0)[:, None], means, centres)


# --- correctness ----------------------------------------------------------------------------------


class Passing(Cards):
    """Cards on which no block stays."""

    def _find_homes(self) -> None:
        self._homes = [-1] * len(self._blocks)


def check(cupy: Any, small: bool, limit: int | None) -> int:
    """Compare every step with NumPy's, to the bit; return the number of differences."""
    wrong = 0
    size = 3_000 if small else 300_000
    shapes = (
        [(6, 8), (3, 254)] if small else [(1, 2), (3, 254), (6, 8), (10, 50), (20, 9), (64, 99)]
    )
    for bands, classes in shapes:
        for wide in (False, True):
            blocks = spectra(size, bands, 1, wide) + spectra(size + 77, bands, 2, wide)
            for kind in (Cards, Passing):
                wrong += not _same(kind(cupy, os.cpu_count() or 2, limit), blocks, classes)
    print(f"check: {wrong} differences" if wrong else "check: every bit is NumPy's")
    return wrong


def _same(fast: Cards, blocks: list[Block], classes: int) -> bool:
    reference = NumpyBackend(1)
    start = first_centres(blocks, classes)
    start[classes // 2 :: 3] = start[0]  # ties, for every pixel
    runs = []
    for backend in (fast, reference):
        backend.prepare(blocks, SCENES, Monitor())
        steps = []
        for number, (scores, partials) in enumerate(
            iterate(backend, *middles_of(blocks), start, 4)
        ):
            if number == 3:  # dropped classes
                n = scores.n.copy()
                n[:, classes - 1] = NEVER
                q = np.where((n == NEVER)[:, :, None], 0, scores.q)
                partials = backend.step(replace(scores, q=q, n=n))
            labels = [backend.labels(i).tobytes() for i in range(len(blocks))]
            steps.append((partials, labels))
        rng = np.random.default_rng(3)
        bands = start.shape[1]
        yardstick = Yardstick(
            rng.random((SCENES, classes, bands)),
            rng.random((SCENES, bands)) / 65_535,
            np.full(bands, 4000),
            2.0**40,
            2.0**45,
        )
        steps.append((backend.measure(yardstick), []))
        runs.append(steps)
    same = all(
        mine[1] == other[1]
        and all(
            np.array_equal(value, getattr(other[0], name)) for name, value in vars(mine[0]).items()
        )
        for mine, other in zip(*runs)
    )
    stays = f"{fast.resident} of {len(blocks)} blocks stay"
    fast.close()
    codes = blocks[0].codes
    shape = f"{codes.shape[0]:3} bands, {classes:3} classes, {codes.dtype.name}"
    print(f"{'same bits' if same else 'DIFFERENT'}  {shape:32} {stays}", flush=True)
    return same


# --- times ----------------------------------------------------------------------------------------


@contextmanager
def events(cupy: Any, stream: Any) -> Iterator[list[float]]:
    """Time what is put on a stream: the list gets the seconds."""
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    taken: list[float] = []
    begin.record(stream)
    yield taken
    end.record(stream)
    end.synchronize()
    taken.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)


def timed(
    cupy: Any, action: Callable[[], None], repeats: int = REPEATS, stream: Any = None
) -> float:
    """Return the median seconds of an action on a stream, after two that do not count."""
    stream = stream or cupy.cuda.get_current_stream()
    samples = []
    for number in range(repeats + 2):
        with events(cupy, stream) as taken:
            action()
        if number > 1:
            samples += taken
    return float(np.median(samples))


FLOPS = """
extern "C" __global__ void flops(float *out, float a, float b, int count)
{
    float x[8];
    for (int i = 0; i < 8; ++i)
        x[i] = threadIdx.x + i;
    for (int turn = 0; turn < count; ++turn)
        for (int i = 0; i < 8; ++i)
            x[i] = x[i] * a + b;
    float sum = 0;
    for (int i = 0; i < 8; ++i)
        sum += x[i];
    if (sum == 12345.0f)
        *out = sum;
}
"""


def measure_card(cupy: Any) -> Card:
    """Measure copying on the card (bytes read and written), to it, and float32 operations."""
    size = min(1 << 30, cupy.cuda.runtime.memGetInfo()[0] // 8)
    source, target = cupy.zeros(size, cupy.uint8), cupy.empty(size, cupy.uint8)
    runtime, stream = cupy.cuda.runtime, cupy.cuda.get_current_stream()
    kinds = {"copy": 3, "upload": 1}
    copy = timed(
        cupy,
        lambda: runtime.memcpyAsync(
            target.data.ptr, source.data.ptr, size, kinds["copy"], stream.ptr
        ),
    )
    held = 256 << 20
    pinned = cupy.cuda.alloc_pinned_memory(held)
    upload = timed(
        cupy,
        lambda: runtime.memcpyAsync(target.data.ptr, pinned.ptr, held, kinds["upload"], stream.ptr),
    )
    kernel = cupy.RawKernel(FLOPS, "flops")
    blocks, turns = 132 * 64, 4096
    arguments = (target, np.float32(0.999), np.float32(0.001), np.int32(turns))
    flops = timed(cupy, lambda: kernel((blocks,), (256,), arguments))
    found = Card(2 * size / copy, held / upload, blocks * 256 * turns * 8 * 2 / flops)
    print(
        f"measured: copy {found.copy / 1e9:,.0f} GB/s (read and written), host to device "
        f"{found.upload / 1e9:.1f} GB/s, float32 {found.float32 / 1e12:.1f} Tflop/s\n"
    )
    return found


def settled(cupy: Any, blocks: list[Block], classes: int, limit: int | None) -> tuple[Any, Scores]:
    """Return a backend that holds the blocks, all labelled, and the scores that labelled them."""
    backend = Cards(cupy, os.cpu_count() or 2, limit)
    backend.prepare(blocks, SCENES, Monitor())
    start = first_centres(blocks, classes)
    scores = [scores for scores, _ in iterate(backend, *middles_of(blocks), start, 30)][-1]
    return backend, scores


def kernel_seconds(
    cupy: Any, backend: Any, scores: Scores, shape: KernelShape | None = None
) -> float:
    """Return the seconds of the kernel alone, on blocks that stay, by events."""
    card = backend._cards[0]
    shape = shape or backend._shape_for(scores.classes)
    card.list_blocks(shape.chunk)
    card.put("records", shape.scores(scores, backend._reaches))
    with card.device:
        return timed(
            cupy,
            lambda: [
                card.launch_round(shape, "assign_pixels", number)
                for number in range(card.rounds(shape))
            ],
            stream=card.stream,
        )


def one_iteration(cupy: Any, card: Card, pixels: int, rows: list[Row]) -> None:
    """Time an iteration in which hardly any pixel changes class, of several shapes."""
    for bands, classes, wide in (
        (6, 8, False),
        (6, 8, True),
        (6, 20, False),
        (6, 50, False),
        (10, 20, False),
        (10, 50, False),
    ):
        blocks = spectra(pixels, bands, 1, wide)
        backend, scores = settled(cupy, blocks, classes, None)
        if backend.resident < len(blocks):
            print(f"{bands} bands: only {backend.resident} of {len(blocks)} blocks fit; left out")
            backend.close()
            continue
        seconds = kernel_seconds(cupy, backend, scores)
        moved = pixels * (bands * blocks[0].codes.dtype.itemsize + 1)
        floors = {
            "copy bandwidth": moved / card.copy,
            "float32 rate": pixels * 2.0 * bands * classes / card.float32,
        }
        of = max(floors, key=lambda name: floors[name])
        target = 0.6 if (bands, classes, wide) == (6, 8, False) else 0.4
        share = floors[of] / seconds
        dtype = blocks[0].codes.dtype.name
        what = f"one iteration, {pixels / 1e6:.2f} M px × {bands} {dtype}, k = {classes}"
        rows.append(
            Row(what, "kernel", seconds, moved / 1e9, share, of, f"≥ {target}", share >= target)
        )
        print(rows[-1].text(), flush=True)
        whole = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            backend.step(scores)
            whole.append(time.perf_counter() - begin)
        rows.append(Row(what, "step, by the clock", float(np.median(whole))))
        print(rows[-1].text(), flush=True)
        backend.close()


def whole_job(cupy: Any, pixels: int, rows: list[Row], peers: bool) -> None:
    """Time 51 iterations from one start, beside peers on the same card, start and iterations."""
    blocks = spectra(pixels, 6)
    start, space = first_centres(blocks, 8), middles_of(blocks)
    what = f"{JOB_ITERATIONS} iterations, {pixels / 1e6:.2f} M px × 6, k = 8"
    begin = time.perf_counter()
    backend = Cards(cupy, os.cpu_count() or 2, None)
    backend.prepare(blocks, SCENES, Monitor())
    rows.append(Row(FILLING, "iikmc", time.perf_counter() - begin))
    print(rows[-1].text(), flush=True)
    samples = []
    for _ in range(5):
        backend._reset(0)
        begin = time.perf_counter()
        ended = list(iterate(backend, *space, start, JOB_ITERATIONS))
        samples.append(time.perf_counter() - begin)
    print("  seconds of each:", " ".join(f"{sample:.4f}" for sample in samples))
    job = float(np.median(samples[1:]))
    rows.append(Row(what, "iikmc", job, limit="< 50 ms on an H100", met=job < 0.05))
    print(rows[-1].text(), flush=True)
    reference = NumpyBackend(1)
    reference.prepare(blocks[:1], SCENES, Monitor())
    reference.step(ended[-1][0])
    assert np.array_equal(reference.labels(0), backend.labels(0)), "labels differ from NumPy's"
    backend.close()
    for name, run in PEERS.items() if peers else ():
        try:
            each = run(cupy, blocks, start)
        except Exception as error:  # not here, out of memory, of another interface: not our failure
            print(f"{what:44} {name:22} did not run ({type(error).__name__}: {error})", flush=True)
            continue
        cupy.get_default_memory_pool().free_all_blocks()
        ratio = each * JOB_ITERATIONS / job
        least = 100 if name == "CuPy one-hot" else 5
        rows.append(
            Row(
                what, name, each * JOB_ITERATIONS, 0.0, ratio, "iikmc's time", f"≥ {least}",
                ratio >= least,
            )
        )  # fmt: skip
        print(rows[-1].text(), flush=True)


def streamed(cupy: Any, card: Card, pixels: int, limit: int, rows: list[Row]) -> None:
    """Time an iteration of which most pixels pass through a card that is limited."""
    blocks = spectra(pixels, 6)
    backend, scores = settled(cupy, blocks, 8, limit)
    moved = sum((part.stop - part.start) * (6 * 2 + 1) for part in backend._passing)
    samples = []
    for _ in range(5):
        begin = time.perf_counter()
        backend.step(scores)
        samples.append(time.perf_counter() - begin)
    seconds = float(np.median(samples))
    share = moved / seconds / card.upload
    what = f"one iteration, {pixels / 1e6:.1f} M px × 6, {limit >> 20:,} MiB of the card"
    of = f"host to device ({backend.resident} of {len(blocks)} blocks stay)"
    rows.append(Row(what, "streamed", seconds, moved / 1e9, share, of, "≥ 0.8", share >= 0.8))
    print(rows[-1].text(), flush=True)
    backend.close()


def break_even(cupy: Any, started: float, pixels: int, rows: list[Row]) -> None:
    """Print from how many pixels the card is worth starting, against the engine numba here."""
    blocks = spectra(min(pixels, 8 * BLOCK_PIXELS), 6)
    count = sum(block.pixels for block in blocks)
    fill = next(row.seconds for row in rows if row.what == FILLING) / pixels
    job = next(row.seconds for row in rows if row.who == "iikmc" and row.what != FILLING)
    begin = time.perf_counter()
    backend = Cards(cupy, os.cpu_count() or 2, None)
    backend.prepare(blocks[:1], SCENES, Monitor())
    backend.step(scores_of(first_centres(blocks, 7), SCENES, *middles_of(blocks)))
    started += time.perf_counter() - begin  # a kernel not used before: compiled, if not on disk
    backend.close()
    try:
        kind = importlib.import_module("iikmc.core.backends.numba").NumbaBackend
    except ImportError as error:
        print(f"numba is not here ({error}): where the card begins to pay is not known")
        return
    numba = kind(os.cpu_count() or 2)
    numba.prepare(blocks, SCENES, Monitor())
    samples = []
    for _ in range(3):
        begin = time.perf_counter()
        list(iterate(numba, *middles_of(blocks), first_centres(blocks, 8), 20))
        samples.append((time.perf_counter() - begin) / 20 / count)
    numba.close()
    each, on_card = min(samples[1:]), job / JOB_ITERATIONS / pixels
    gain = 20 * (each - on_card) - fill
    where = f"{started / gain / 1e6:.1f} M pixels" if gain > 0 else "no size"
    print(
        f"starting the card {started:.2f} s, filling it {fill * 1e9:.2f} ns a pixel; an iteration "
        f"{each * 1e9:.3f} ns a pixel with numba, {on_card * 1e9:.4f} on the card: 20 iterations "
        f"of 6 bands, k = 8 are faster on the card from {where}"
    )


def tune(cupy: Any, pixels: int) -> None:
    """Print the kernel's time for other shapes than the one it chooses."""
    for bands, classes in ((6, 8), (6, 50), (10, 20), (10, 50)):
        blocks = spectra(pixels, bands)
        backend, scores = settled(cupy, blocks, classes, None)
        chosen = backend._shape_for(classes)
        print(f"{bands} bands, {classes} classes; chosen: {chosen}")
        found = {}
        for per_thread in (2, 4, 8):
            for threads in (128, 256):
                for chunk in (1 << 12, 1 << 13, 1 << 14):
                    for unroll in (1, 2, 4, 8):
                        for resident in (1, 3, 4, 6):
                            shape = chosen.but(
                                pixels=per_thread, threads=threads, chunk=chunk, unroll=unroll,
                                resident=resident * 256 // threads,
                            )  # fmt: skip
                            if chunk != chosen.chunk and (unroll, resident) != (4, 3):
                                continue
                            found[shape] = kernel_seconds(cupy, backend, scores, shape)
        print(f"  {kernel_seconds(cupy, backend, scores) * 1e3:.4f} ms as chosen")
        for shape in sorted(found, key=lambda shape: found[shape])[:8]:
            print(
                f"  {found[shape] * 1e3:.4f} ms: pixels={shape.pixels} threads={shape.threads} "
                f"chunk={shape.chunk} unroll={shape.unroll} resident={shape.resident}",
                flush=True,
            )
        backend.close()


# --- peers: seconds of one iteration, float32, the same start -------------------------------------

PEER_ITERATIONS, PEER_CHUNK = 10, 1 << 22


def _rows_of(blocks: list[Block]) -> np.ndarray:
    return np.concatenate([block.codes.load().T for block in blocks]).astype(np.float32)


def one_hot(cupy: Any, blocks: list[Block], start: np.ndarray) -> float:
    """k-means in CuPy as it is often written: all distances, then a one-hot matrix for the sums."""
    x = cupy.asarray(_rows_of(blocks))
    centres = cupy.asarray(start.astype(np.float32))
    classes = cupy.arange(len(start))

    def iteration() -> None:
        nonlocal centres
        sums, counts = cupy.zeros_like(centres), cupy.zeros(len(start), cupy.float32)
        for first in range(0, len(x), PEER_CHUNK):
            part = x[first : first + PEER_CHUNK]
            distances = ((part[:, None, :] - centres[None]) ** 2).sum(axis=2)
            hot = (distances.argmin(axis=1)[:, None] == classes).astype(cupy.float32)
            sums += hot.T @ part
            counts += hot.sum(axis=0)
        centres = sums / cupy.maximum(counts, 1)[:, None]

    seconds = timed(cupy, iteration, PEER_ITERATIONS)
    return seconds


def torch_cdist(cupy: Any, blocks: list[Block], start: np.ndarray) -> float:
    """k-means in PyTorch: cdist in chunks, then index_add for the sums."""
    torch = importlib.import_module("torch")
    x = torch.from_numpy(_rows_of(blocks)).cuda()
    centres = torch.from_numpy(start.astype(np.float32)).cuda()
    ones = torch.ones(PEER_CHUNK, device="cuda")

    def iteration() -> None:
        nonlocal centres
        sums = torch.zeros_like(centres)
        counts = torch.zeros(len(start), device="cuda")
        for first in range(0, len(x), PEER_CHUNK):
            part = x[first : first + PEER_CHUNK]
            labels = torch.cdist(part, centres).argmin(dim=1)
            sums.index_add_(0, labels, part)
            counts.index_add_(0, labels, ones[: len(part)])
        centres = sums / counts.clamp(min=1)[:, None]

    return _torch_seconds(torch, iteration)


def flash(cupy: Any, blocks: list[Block], start: np.ndarray) -> float:
    """flash-kmeans, called as its page says, with the same start."""
    torch = importlib.import_module("torch")
    run = importlib.import_module("flash_kmeans").batch_kmeans_Euclid
    x = torch.from_numpy(_rows_of(blocks)).cuda()[None]
    centres = torch.from_numpy(start.astype(np.float32)).cuda()[None]

    def iterations() -> None:
        run(x, len(start), max_iters=PEER_ITERATIONS, tol=0.0, init_centroids=centres)

    return _torch_seconds(torch, iterations, 3) / PEER_ITERATIONS


def _torch_seconds(torch: Any, action: Callable[[], None], repeats: int = PEER_ITERATIONS) -> float:
    samples = []
    for number in range(repeats + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        action()
        end.record()
        end.synchronize()
        if number > 1:
            samples.append(begin.elapsed_time(end) / 1e3)
    torch.cuda.empty_cache()
    return float(np.median(samples))


PEERS = {"CuPy one-hot": one_hot, "torch cdist": torch_cdist, "flash-kmeans": flash}


# --- the run --------------------------------------------------------------------------------------


def describe(cupy: Any) -> str:
    """Return the card, the driver and the versions that figures belong to."""
    runtime = cupy.cuda.runtime
    card = runtime.getDeviceProperties(0)
    name = card["name"].decode() if isinstance(card["name"], bytes) else card["name"]
    driver = Path("/proc/driver/nvidia/version")
    version = driver.read_text().splitlines()[0].split("  ")[1:2] if driver.exists() else ["?"]
    return (
        f"{runtime.getDeviceCount()} × {name}, {card['totalGlobalMem'] >> 20:,} MiB, sm_"
        f"{card['major']}{card['minor']}; driver {version[0]} (CUDA {runtime.driverGetVersion()}), "
        f"CuPy {cupy.__version__} (CUDA {runtime.runtimeGetVersion()}), NumPy {np.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores"
    )


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare with NumPy")
    parser.add_argument("--small", action="store_true", help="a small check, for sanitizers")
    parser.add_argument("--tune", action="store_true", help="also time other kernel shapes")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--limit-mb", type=int, help="memory to take of the card in the check")
    parser.add_argument("--pixels", type=int, default=JOB_PIXELS)
    parser.add_argument("--streamed-pixels", type=int, default=STREAMED_PIXELS)
    parser.add_argument("--streamed-limit-mb", type=int, default=STREAMED_LIMIT >> 20)
    parser.add_argument("--out", type=Path, help="write the rows to this file as JSON, too")
    given = parser.parse_args()
    begin = time.perf_counter()
    why = trouble()
    started = time.perf_counter() - begin
    if why is not None:
        print(f"There is no card to measure: {why}.")
        return 1
    cupy = importlib.import_module("cupy")
    print(describe(cupy))
    limit = given.limit_mb << 20 if given.limit_mb else None
    wrong = check(cupy, given.small, limit)
    if given.check or wrong:
        return int(wrong > 0)
    rows: list[Row] = []
    card = measure_card(cupy)
    cupy.get_default_memory_pool().free_all_blocks()
    one_iteration(cupy, card, given.pixels, rows)
    whole_job(cupy, given.pixels, rows, not given.no_peers)
    cupy.get_default_memory_pool().free_all_blocks()
    streamed(cupy, card, given.streamed_pixels, given.streamed_limit_mb << 20, rows)
    break_even(cupy, started, given.pixels, rows)
    if given.tune:
        tune(cupy, given.pixels)
    print("\n" + "\n".join(row.text() for row in rows))
    if given.out:
        given.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

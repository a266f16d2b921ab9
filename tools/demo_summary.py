"""Says in a few lines what the demo's run did and where its results are."""

import json
import sys
from pathlib import Path


def summary(folder: Path, seconds: float) -> str:
    """Lines made from qgis_process' answer and the model; ``seconds`` are qgis_process' own."""
    run = json.loads((folder / "run.json").read_text("utf-8"))
    results, messages = run["results"], run["log"]["info"]
    fit = json.loads((folder / "model.json").read_text("utf-8"))["fit"]
    dates = [scene["date"] for scene in fit["scenes"]]
    engine = next(line for line in messages if line.startswith("Engine"))
    if results["CONVERGED"]:
        outcome = "converged"
    else:
        outcome = f"not converged ({results['CHANGED_FRACTION']:.2%} of the pixels still changed)"
    return "\n".join(
        [
            "",
            f"Dates: {len(dates)}, {min(dates)} to {max(dates)}",
            f"Valid pixels: {results['VALID_PIXELS']:,.0f}",
            f"Classes: {results['CLASSES_FOUND']:.0f}, found in {results['ITERATIONS']:.0f} "
            f"iterations, {outcome}",
            f"{engine.rstrip('.')}; {seconds:.1f} s in qgis_process with its start",
            f"Look at: {folder}/overview.png    every date in one picture",
            f"         {folder}/report.html     signatures, areas, convergence",
            f"         {folder}/series.qgz      in QGIS, with the temporal controller",
            f"         {folder}/classes/        the layers; the model is {folder}/model.json",
        ]
    )


if __name__ == "__main__":
    print(summary(Path(sys.argv[1]), int(sys.argv[2]) / 1000))

#!/usr/bin/env bash
# Measures this engine and its peers, in an environment of their own in bench/environment.
# BENCH=full adds the series of 205 million pixels, BENCH=sweep is the kernel sweep alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=bench/environment
python=/usr/bin/python3 # the one that the plugin runs in
[[ -x $python ]] || python=python3

# Debian keeps venv in a package of its own, which setup.sh installs.
"$python" -c 'import ensurepip' 2>/dev/null || tools/setup.sh

fingerprint() { { pwd; "$python" --version; cat tools/bench.sh bench/requirements.txt; } | sha256sum; }

if [[ "$(cat "$environment/fingerprint" 2>/dev/null)" != "$(fingerprint)" ]]; then
    echo "bench: making $environment" >&2
    rm -rf "$environment"
    "$python" -m venv "$environment"
    while read -r requirement; do
        # A peer that cannot be had here is missing from the table, no more.
        "$environment/bin/python" -m pip install -qq "$requirement" \
            --constraint bench/requirements.txt || echo "bench: no $requirement here" >&2
    done < <(grep -v '^#' bench/requirements.txt)
    for packages in "$environment"/lib/python3*/site-packages; do
        ln -s "$PWD" "$packages/iikmc" # the checkout, whatever its folder is called
    done
    fingerprint >"$environment/fingerprint"
fi

# Compiled code is kept apart from that of the tests, which have another NumPy.
export NUMBA_CACHE_DIR="$PWD/$environment/numba"
exec "$environment/bin/python" bench/run.py "$@"

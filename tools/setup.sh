#!/usr/bin/env bash
# Installs what the demo and the tests need: QGIS and rasterio from Debian, the rest into .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

system_packages=(qgis python3-qgis python3-gdal python3-rasterio python3-matplotlib python3-venv g++)
python=/usr/bin/python3 # the only Python that can import qgis; the one on PATH may be another

installed() { dpkg-query -W -f='${Package} ${Version} ${db:Status-Status}\n' "$@" 2>/dev/null || true; }

# Changes with anything that the .venv was made from, the checkout's own place included.
fingerprint() {
    { pwd; installed "${system_packages[@]}" python3-numpy; cat tools/setup.sh pyproject.toml; } | sha256sum
}

if [[ -x .venv/bin/python && "$(cat .venv/fingerprint 2>/dev/null)" == "$(fingerprint)" ]]; then
    exit 0
fi

missing=()
for package in "${system_packages[@]}"; do
    installed "$package" | grep -q ' installed$' || missing+=("$package")
done

if ((${#missing[@]})); then
    if ! command -v apt-get >/dev/null; then
        echo "setup: no apt-get here. Automatic set-up needs Debian 12 or later; elsewhere install QGIS" \
            "3.22 or later and follow README.md. Missing: ${missing[*]}" >&2
        exit 1
    fi
    as_root=()
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            echo "setup: as root, run: apt-get install --no-install-recommends ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]} (a few minutes)"
    apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600)
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
fi

echo "setup: making .venv"
rm -rf .venv
"$python" -m venv --system-site-packages .venv

# QGIS, GDAL and rasterio were built against these; a newer copy in the .venv would break them.
"$python" - >.venv/constraints.txt <<'EOF'
import matplotlib, numpy, rasterio

for module in (matplotlib, numpy, rasterio):
    print(f"{module.__name__}=={module.__version__}")
EOF
.venv/bin/python -m pip install -qq --constraint .venv/constraints.txt \
    --editable '.[numba,report,test,lint]'

.venv/bin/python - <<'EOF'
import hypothesis, iikmc, numba, numpy, pytest, pytest_qgis, qgis.core, rasterio, sklearn

for module in (numpy, rasterio, qgis.core):
    assert module.__file__.startswith("/usr/lib/python3"), f"{module.__file__} is not the system's"
print(
    f"setup: QGIS {qgis.core.Qgis.QGIS_VERSION}, NumPy {numpy.__version__}, "
    f"rasterio {rasterio.__version__}, Numba {numba.__version__}, iikmc {iikmc.__version__}"
)
EOF
fingerprint >.venv/fingerprint

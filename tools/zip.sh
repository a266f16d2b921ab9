#!/usr/bin/env bash
# Packs the committed plugin as dist/iikmc.zip; .gitattributes says what stays out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! git rev-parse --verify --quiet HEAD >/dev/null; then
    echo "zip: the archive is made from the last commit, and this folder has none." >&2
    exit 1
fi
if [[ -n "$(git status --porcelain)" ]]; then
    echo "zip: there are changes that are not committed; they are not in the archive." >&2
fi

mkdir -p dist
git archive --format=zip --prefix=iikmc/ --output=dist/iikmc.zip HEAD
content="$(/usr/bin/python3 -m zipfile --list dist/iikmc.zip)"
for needed in LICENSE README.md __init__.py metadata.txt requirements.txt iikmc_plugin/icon.svg; do
    if ! grep -q "^iikmc/$needed " <<<"$content"; then
        rm dist/iikmc.zip
        echo "zip: the last commit has no $needed." >&2
        exit 1
    fi
done
echo "zip: dist/iikmc.zip ($(du -h dist/iikmc.zip | cut -f1)) of $(git rev-parse --short HEAD)"

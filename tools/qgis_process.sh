#!/usr/bin/env bash
# Runs qgis_process with this checkout as the plugin, in a profile of its own.
# Relative paths in the arguments are taken from where it is called.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
"$root/tools/setup.sh" >&2
source "$root/tools/qgis_env.sh"

# Debian's 3.22 wrapper script passes an option that the program does not know.
program=/usr/bin/qgis_process.bin
[[ -x $program ]] || program=qgis_process

# The plugin is enabled once per profile.
settings="$HOME/.local/share/QGIS/QGIS3/profiles/default/QGIS/QGIS3.ini"
if ! grep -qs '^iikmc=true' "$settings"; then
    if ! "$program" plugins enable iikmc >"$HOME/enable.log" 2>&1; then
        cat "$HOME/enable.log" >&2
        exit 1
    fi
fi

exec "$program" "$@"

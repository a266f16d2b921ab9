# Sourced: lets QGIS run without a display, under a private profile in .qgis, with this
# checkout as its plugin "iikmc" whatever the checkout's folder is called. Expects $root.
mkdir -p "$root/.qgis/home" "$root/.qgis/plugins" "$root/.qgis/run"
chmod 700 "$root/.qgis/run"
[[ -e $root/.qgis/plugins/iikmc ]] || ln -sfn ../.. "$root/.qgis/plugins/iikmc"

export HOME="$root/.qgis/home" XDG_RUNTIME_DIR="$root/.qgis/run"
unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME QGIS_CUSTOM_CONFIG_PATH
export QT_QPA_PLATFORM=offscreen QGIS_PLUGINPATH="$root/.qgis/plugins"
# QGIS embeds the system's Python: the .venv adds Numba to it.
for packages in "$root"/.venv/lib/python3*/site-packages; do
    export PYTHONPATH="$packages"
done
export PYTHONWARNINGS="ignore:setapi:DeprecationWarning"

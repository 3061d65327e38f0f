#!/bin/sh
# Builds the native MD5 module and installs it into an environment: install.sh PYTHON [UV]
# Ends well also where it cannot be built: the restore computes MD5 with hashlib then. Needs no network: setuptools is in
# the environment (Airflow needs it), and the module needs nothing.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=$1
uv=${2:-$(dirname -- "$python")/uv}

without() {
  echo "Native MD5 module: $1. The restore works with hashlib; see Install in README.md." >&2
  exit 0
}

compiler=${CC:-cc}
command -v "${compiler%% *}" >/dev/null 2>&1 || without "no C compiler"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source"
cp -r "$here"/*.c "$here"/*.h "$here"/setup.py "$here"/pyproject.toml "$here"/s3_restore_md5 "$folder/source"
python=$(CDPATH='' cd -- "$(dirname -- "$python")" && pwd)/$(basename -- "$python")
uv=$(CDPATH='' cd -- "$(dirname -- "$uv")" && pwd)/$(basename -- "$uv")
cd "$folder/source"
if ! "$python" setup.py --quiet bdist_wheel --dist-dir "$folder" >"$folder/log" 2>&1; then
  tail -n 5 "$folder/log" >&2
  without "it could not be built"
fi
"$uv" pip install --quiet --offline --no-deps --reinstall --python "$python" "$folder"/*.whl || without "it could not be installed"

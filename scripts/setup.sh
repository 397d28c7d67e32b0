#!/usr/bin/env bash
# Puts everything that Magpie needs into .venv/ at the root. Runs as often as you like: what is
# there already is not done again. Every refusal is one sentence with the command that helps.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
refuse() {
  printf 'setup: %s\n' "$*" >&2
  exit 2
}

# Installs need root; say the command instead of failing half-way.
system_install() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing system packages: $*"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"; } \
      >/dev/null 2>&1
  else
    return 1
  fi
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3 python3.12 python3.13; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  refuse "python: 3.11 or newer is needed, got none; run: sudo apt-get install python3.11 python3.11-venv"
}

check_disk() {
  local free_gb
  free_gb=$(df --output=avail -BG . | tail -n 1 | tr -dc 0-9)
  [ "$free_gb" -ge "${MAGPIE_SETUP_MIN_GB:-12}" ] ||
    refuse "disk: 12 GB free are needed (PyTorch brings CUDA), got $free_gb GB; free some, or move the checkout to a larger disk: mv '$PWD' /larger/disk/"
}

make_venv() {
  local python version
  python=$(find_python)
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    system_install "python$version-venv" && "$python" -c 'import venv, ensurepip' 2>/dev/null ||
      refuse "python$version: its venv module is missing; run: sudo apt-get install python$version-venv"
  fi
  say "making .venv with $python ($version)"
  "$python" -m venv .venv
}

# opencv-python needs the system's libGL; the headless build of the same version does not.
check_opencv() {
  local version error
  error=$(.venv/bin/python -c 'import cv2' 2>&1) && return
  case "$error" in
  *libGL* | *libgthread* | *libglib*) ;;
  *) refuse "cv2: it must import, got '$(tail -n 1 <<<"$error")'; run: rm -rf .venv && make setup" ;;
  esac
  version=$(.venv/bin/python -c 'import importlib.metadata as m; print(m.version("opencv-python"))')
  say "no libGL on this machine: putting opencv-python-headless $version in place of opencv-python"
  # Both write the same files, so both go, also where an earlier setup had put the headless one.
  .venv/bin/pip uninstall -qq -y opencv-python opencv-python-headless
  .venv/bin/pip install -q --no-deps "opencv-python-headless==$version"
  error=$(.venv/bin/python -c 'import cv2' 2>&1) ||
    refuse "cv2: it must import, got '$(tail -n 1 <<<"$error")'; run: sudo apt-get install libgl1 libglib2.0-0"
}

stamp=$(cat pyproject.toml constraints.txt scripts/setup.sh | sha256sum | cut -c1-16)
if [ -f ".venv/setup-$stamp" ] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

started=$SECONDS
if [ ! -x .venv/bin/pip ] || ! .venv/bin/python -c '' 2>/dev/null; then
  check_disk
  make_venv
fi
say "installing the packages of pyproject.toml (about 3 GB to fetch the first time)"
bar=off
[ -t 1 ] && bar=on
.venv/bin/pip install --disable-pip-version-check --progress-bar "$bar" -c constraints.txt \
  -e '.[dev]' | { grep --line-buffered -E '^(Collecting|Installing collected|Successfully)' || :; } |
  cut -c1-100 ||
  refuse "packages: they must install, got pip's error above; once its cause is gone, run: make setup"
check_opencv
rm -f .venv/setup-*
touch ".venv/setup-$stamp"
say "done in $((SECONDS - started)) s"

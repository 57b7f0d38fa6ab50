#!/bin/bash
# Prepares an app of Studio each time that it starts: variables, git identity, packages. Nothing here may keep the app from
# starting: what fails is in ~/.sagestack/log. SAGESTACK_* are assigned above, where this is composed.
set -uo pipefail

home="${HOME:-/home/sagemaker-user}"
mine="$home/.sagestack"
mkdir -p "$mine/log"

# Written even when there are none: the volume still has those of the last start.
set_variables() {
  printf '%s\n' "${SAGESTACK_EXPORTS:-}" >"$mine/environment.sh"
  printf '%s\n' "${SAGESTACK_VARIABLES:-{\}}" >"$mine/environment.json"
  # Terminals read .bashrc; kernels are started by a server that is not, and read their profile.
  # shellcheck disable=SC2016 # to be expanded there, not here
  local line='[ -f "$HOME/.sagestack/environment.sh" ] && . "$HOME/.sagestack/environment.sh"'
  grep -qxF "$line" "$home/.bashrc" 2>/dev/null || printf '%s\n' "$line" >>"$home/.bashrc"
  local startup="$home/.ipython/profile_default/startup"
  mkdir -p "$startup"
  cat >"$startup/00-sagestack.py" <<'PYTHON'
import json, os
try:
    with open(os.path.expanduser("~/.sagestack/environment.json")) as variables:
        os.environ.update(json.load(variables))
except (OSError, ValueError):
    pass
PYTHON
  # For what is installed below.
  # shellcheck source=/dev/null
  . "$mine/environment.sh"
}

set_git_identity() {
  [ -n "${SAGESTACK_GIT_USER_NAME:-}" ] || return 0
  git config --global user.name "$SAGESTACK_GIT_USER_NAME"
  git config --global user.email "${SAGESTACK_GIT_USER_EMAIL:-}"
}

# In the background: SageMaker ends an app whose script takes more than five minutes.
install_packages() {
  [ -n "${SAGESTACK_PACKAGES:-}" ] || return 0
  local python=/opt/conda/bin/python
  [ -x "$python" ] || python=python3
  local packages
  read -r -a packages <<<"$SAGESTACK_PACKAGES"
  {
    if "$python" -m pip install --no-input --disable-pip-version-check "${packages[@]}"; then
      echo "sagestack: installed ${packages[*]}"
    else
      echo "sagestack: could not install ${packages[*]}: see above"
    fi
  } >"$mine/log/packages.log" 2>&1 </dev/null &
  disown
  echo "sagestack: packages are being installed, see $mine/log/packages.log"
}

set_variables || echo "sagestack: the variables could not be set" >&2
set_git_identity || echo "sagestack: the git identity could not be set" >&2
install_packages || echo "sagestack: the packages could not be installed" >&2
exit 0

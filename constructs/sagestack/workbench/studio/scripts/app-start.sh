#!/bin/bash
# Prepares an app of Studio each time that it starts: variables, git identity, packages, example notebooks. Nothing here may keep
# the app from starting: what fails is in ~/.sagestack/log. SAGESTACK_* are assigned above, where this is composed.
set -uo pipefail

home="${HOME:-/home/sagemaker-user}"
mine="$home/.sagestack"
python=/opt/conda/bin/python
[ -x "$python" ] || python=python3

# Two of these may run, one that always does and one that somebody chose. The volume still has what the last start wrote; what is
# outside of it is new, so that the first of them finds no mark there.
begin() {
  local mark="${TMPDIR:-/tmp}/sagestack-app-started"
  if [ ! -e "$mark" ]; then
    rm -rf "$mine/environment.d" "$mine/log" "$mine/environment.json"
    # Where volumes had their variables earlier. Their .bashrc still reads it: empty, so that the line finds a file.
    [ ! -e "$mine/environment.sh" ] || : >"$mine/environment.sh"
    : >"$mark"
  fi
  mkdir -p "$mine/environment.d" "$mine/log"
}

set_variables() {
  local file="$mine/environment.d/${SAGESTACK_ORDER:-2}"
  printf '%s\n' "${SAGESTACK_EXPORTS:-}" >"$file.sh"
  printf '%s\n' "${SAGESTACK_VARIABLES:-{\}}" >"$file.json"
  # Terminals read .bashrc; kernels are started by a server that is not, and read their profile.
  # shellcheck disable=SC2016 # to be expanded there, not here
  local line='for each in "$HOME"/.sagestack/environment.d/*.sh; do [ -f "$each" ] && . "$each"; done; unset each'
  grep -qxF "$line" "$home/.bashrc" 2>/dev/null || printf '%s\n' "$line" >>"$home/.bashrc"
  local startup="$home/.ipython/profile_default/startup"
  mkdir -p "$startup"
  cat >"$startup/00-sagestack.py" <<'PYTHON'
import glob, json, os
for each in sorted(glob.glob(os.path.expanduser("~/.sagestack/environment.d/*.json"))):
    try:
        with open(each) as variables:
            os.environ.update(json.load(variables))
    except (OSError, ValueError):
        pass
PYTHON
  # For what is installed below.
  # shellcheck source=/dev/null
  . "$file.sh"
}

set_git_identity() {
  [ -n "${SAGESTACK_GIT_USER_NAME:-}" ] || return 0
  git config --global user.name "$SAGESTACK_GIT_USER_NAME"
  git config --global user.email "${SAGESTACK_GIT_USER_EMAIL:-}"
}

# In the background, as all that waits for others: SageMaker ends an app whose script takes more than five minutes.
install_packages() {
  [ -n "${SAGESTACK_PACKAGES:-}" ] || return 0
  local packages
  read -r -a packages <<<"$SAGESTACK_PACKAGES"
  {
    # Two of pip at once would write over each other.
    command -v flock >/dev/null && flock 9
    if "$python" -m pip install --no-input --disable-pip-version-check "${packages[@]}"; then
      echo "sagestack: installed ${packages[*]}"
    else
      echo "sagestack: could not install ${packages[*]}: see above"
    fi
  } >>"$mine/log/packages.log" 2>&1 9>"$mine/log/packages.lock" </dev/null &
  disown
  echo "sagestack: packages are being installed, see $mine/log/packages.log"
}

copy_examples() {
  [ -n "${SAGESTACK_EXAMPLES_URL:-}" ] || return 0
  printf '%s\n' "$SAGESTACK_COPY_EXAMPLES" >"$mine/copy_examples.py"
  SAGESTACK_EXAMPLES_URL="$SAGESTACK_EXAMPLES_URL" SAGESTACK_VOLUME="$home" SAGESTACK_HOME="$mine" \
    "$python" "$mine/copy_examples.py" >>"$mine/log/examples.log" 2>&1 </dev/null &
  disown
  echo "sagestack: the example notebooks are being copied to $home/examples, see $mine/log/examples.log"
}

begin || echo "sagestack: there is no place for what this does in $mine" >&2
set_variables || echo "sagestack: the variables could not be set" >&2
set_git_identity || echo "sagestack: the git identity could not be set" >&2
install_packages || echo "sagestack: the packages could not be installed" >&2
copy_examples || echo "sagestack: the example notebooks could not be copied" >&2
exit 0
